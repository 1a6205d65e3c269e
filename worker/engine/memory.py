"""What an error tells of the device, and how a batch for which memory ran out lets go of what it held."""

import traceback

import torch

from worker.models.errors import ModelError

_WORDS = ("out of memory", "alloc_failed", "can't allocate memory")


class MemoryExhausted(ModelError):
    """A single window does not fit into the memory of the device."""

    code = "model_out_of_memory"

    def __init__(self) -> None:
        super().__init__(
            "the device has too little memory for one window: free some, take a lower VFQ_PRECISION, "
            "or make windows smaller (VFQ_CORE_FRAMES)"
        )


class NoRoom(ModelError):
    """A model does not fit into the memory of the device, beside what is there."""

    code = "model_out_of_memory"

    def __init__(self) -> None:
        super().__init__(
            "the device has too little memory for it: free some, take a lower precision, load fewer models, "
            "or name another device"
        )


def ran_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there was no memory, of the device or of the machine.

    Libraries below torch (cuBLAS, cuDNN) and its own CPU allocator say it in the words of a `RuntimeError` alone.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def lost_device(error: BaseException) -> bool:
    """Tell whether an error means that nothing more can be computed in this process.

    After such an error (a failed kernel, a card that fell off its bus) every later call of CUDA fails too.
    """
    return isinstance(error, RuntimeError) and "cuda error" in str(error).lower() and not ran_out_of_memory(error)


def let_go(error: BaseException) -> None:
    """Forget the variables of the calls that failed: their tensors would live as long as the error does."""
    linked: BaseException | None = error
    while linked is not None:
        traceback.clear_frames(linked.__traceback__)
        linked.__traceback__ = None
        linked = linked.__context__
