"""VoiceFixer's analysis module: degraded samples → clean mel (arXiv:2109.13731)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial

import torch
from torch import Tensor

from worker.models.constants import SAMPLE_RATE, frame_count
from worker.models.denoiser import from_log, to_log
from worker.models.errors import InputError
from worker.models.folding import copy_tensors, with_tensors
from worker.models.frontend import MelFrontEnd, build_front_end, centre_pad
from worker.models.interface import Backend, Hashes, RestoreCondition
from worker.models.mode2 import in_training_manner
from worker.models.networks import RestorerNetwork, blank_network, trained
from worker.models.plain import PlainBackend
from worker.models.validate import check_audio, check_conditions, check_padded, check_sample_rate

Tensors = Mapping[str, Tensor]
Opened = Callable[[], AbstractContextManager[Tensors]]
"""Gives tensors to copy; raises at the end if they may not be what they were."""
_PREFIX = "generator."


class VoiceFixerRestorer:
    """The restorer, ready for inference on its backend."""

    model_type = "VoiceFixerRestorer"

    def __init__(
        self,
        front_end: MelFrontEnd,
        tensors: Tensors,
        *,
        originals: Opened | None = None,
        backend: Backend | None = None,
        hashes: Hashes = dict,
    ) -> None:
        """Take the network's tensors under its own names; they are copied to the backend's device.

        `originals` gives them again when mode 2 is asked for first, so that nobody has to keep them until then.
        `hashes` is asked when the network is ready, and may take its time or refuse.
        """
        self.backend = backend or PlainBackend()
        self.front_end = front_end.to(self.backend.device).eval()
        self.runner = self.backend.run_restorer(trained(tensors), hashes)
        self.weights = dict(hashes())
        self._originals = originals or (lambda: nullcontext(tensors))
        self._drawn: tuple[RestorerNetwork, torch.Generator] | None = None

    @classmethod
    def from_tensors(
        cls,
        tensors: Tensors,
        *,
        again: Opened | None = None,
        backend: Backend | None = None,
        hashes: Hashes = dict,
    ) -> "VoiceFixerRestorer":
        """Build from the tensors of a strictly checked `vf.ckpt`, which are copied to the backend's device.

        `again` gives the file's tensors once more, for mode 2; without it, those given here are kept.
        """
        front_end = build_front_end(
            real=tensors["f_helper.stft.conv_real.weight"],
            imag=tensors["f_helper.stft.conv_imag.weight"],
            triangles=tensors["mel.fb"],
        )
        originals = None if again is None else partial(_own_of, again)
        return cls(front_end, _own(tensors), originals=originals, backend=backend, hashes=hashes)

    @cached_property
    def unfolded(self) -> RestorerNetwork:
        """The network as trained, which mode 2 runs; made when it is asked for first.

        Raises `CheckpointChangedError`: its file was written into since the model was loaded.
        """
        with self._originals() as tensors:
            copied = copy_tensors(tensors, self.device)
        return with_tensors(blank_network(), copied)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.backend.device

    @torch.inference_mode()
    def restore(self, padded: Tensor, conditions: Sequence[RestoreCondition]) -> Tensor:
        """Restore windows `[B, 441·(F−1) + 2048]` to linear mels `[B, 1, F, 128]`; see `interface.Restorer`.

        The items of mode 2 run one by one, because their statistics are their own. Raises `InputError`.
        """
        check_padded(padded, conditions)
        return self._restore_mel(self.front_end(padded.to(self.device)), conditions)

    @torch.inference_mode()
    def forward(self, audio: Tensor, *, sample_rate: int = SAMPLE_RATE, mode: int = 0, seed: int = 0) -> Tensor:
        """Restore whole files `[B, 1, N]` to linear mels `[B, 1, N//441 + 1, 128]`, in mode 0 or 2.

        Raises `InputError`, also for mode 1: its band limit is applied to the samples before they come here.
        """
        check_sample_rate(sample_rate)
        check_audio(audio)
        conditions = [RestoreCondition(mode=mode, seed=seed)] * audio.shape[0]
        check_conditions(conditions, audio.shape[0])
        if mode == 1:
            raise InputError("Mode 1 is mode 0 on band-limited samples: limit the band first, then ask for mode 0.")
        mel = self.front_end(centre_pad(audio[:, 0].to(self.device)))
        return self._restore_mel(mel, conditions)[:, :, : frame_count(audio.shape[2])]

    def _restore_mel(self, mel: Tensor, conditions: Sequence[RestoreCondition]) -> Tensor:
        drawn = [item for item, condition in enumerate(conditions) if condition.mode == 2]
        plain = [item for item, condition in enumerate(conditions) if condition.mode != 2]
        restored = torch.empty_like(mel)
        if plain:
            restored[plain] = self._restore_plain(mel[plain])
        for item in drawn:
            restored[item : item + 1] = self._draw(mel[item : item + 1], conditions[item].seed)
        return restored

    def _restore_plain(self, mel: Tensor) -> Tensor:
        clean = self.runner.denoise(mel)
        return from_log(self.runner.refine(mel, clean) + to_log(clean))

    def _draw(self, mel: Tensor, seed: int) -> Tensor:
        if self._drawn is None:
            twin = with_tensors(blank_network(), self.unfolded.state_dict())
            self._drawn = twin, in_training_manner(twin)
        network, generator = self._drawn
        generator.manual_seed(seed)
        restored: Tensor = network(mel)
        return restored


def _own(tensors: Tensors) -> dict[str, Tensor]:
    """What belongs to the network, under its own names."""
    return {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items() if key.startswith(_PREFIX)}


@contextmanager
def _own_of(opened: Opened) -> Iterator[Tensors]:
    with opened() as tensors:
        yield _own(tensors)
