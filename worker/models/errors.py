"""What can go wrong with a model: each error has a stable `code` and says what to do about it."""

from collections.abc import Sequence


class ModelError(Exception):
    """Anything that a model or its checkpoint refuses."""

    code = "model_error"


class InputError(ModelError):
    """Samples, mels or conditions that a stage cannot take."""

    code = "model_input_invalid"


class UnknownModelTypeError(ModelError):
    """A model type that the registry does not have."""

    code = "model_type_unknown"


class DeviceUnavailableError(ModelError):
    """A device that does not exist here."""

    code = "device_unavailable"


class BackendUnavailableError(ModelError):
    """A backend that is not here, or that does not run on the device."""

    code = "backend_unavailable"


class PrecisionUnavailableError(ModelError):
    """A precision that the chosen backend does not have on this machine."""

    code = "precision_unavailable"


class WeightsUnavailableError(ModelError):
    """A checkpoint that is neither here nor to be fetched."""

    code = "weights_unavailable"


class ModelNotServed(ModelError):
    """A job names a model that this worker does not have, although its service let the job in."""

    code = "model_unknown"

    def __init__(self, stage: str, name: str | None) -> None:
        which = f"no model called {name!r}" if name else "no model"
        super().__init__(
            f"a worker has {which} for the stage {stage}; give all workers and the API the same VFQ_CONFIG (--config)"
        )


class ModelNotLoaded(ModelError):
    """A model of the catalog cannot be loaded; the message names it and says what to do. Its code is the cause's."""

    def __init__(self, name: str, cause: ModelError, *, advice: str = "") -> None:
        self.cause = cause
        self.code = cause.code
        super().__init__(f"{name} cannot be loaded: {cause}" + (f" {advice}" if advice else ""))


class CheckpointError(ModelError):
    """A checkpoint file that cannot be used. `file` is its path."""

    code = "checkpoint_invalid"

    def __init__(self, file: str, reason: str) -> None:
        self.file = file
        super().__init__(f"{file}: {reason}")


class CheckpointUnreadableError(CheckpointError):
    """Not a whole checkpoint: missing, empty, truncated, text, or holding more than tensors."""

    code = "checkpoint_unreadable"


class CheckpointMismatchError(CheckpointError):
    """A readable checkpoint of something else: other keys or other shapes."""

    code = "checkpoint_mismatch"

    def __init__(
        self,
        file: str,
        *,
        expected: int,
        found: int,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        wrong: Sequence[str] = (),
        advice: str = "",
    ) -> None:
        self.expected, self.found = expected, found
        self.missing, self.unexpected, self.wrong = tuple(missing), tuple(unexpected), tuple(wrong)
        parts = [f"expected {expected} tensors and found {found}"]
        parts += [_first(text, keys) for text, keys in self._lists() if keys]
        super().__init__(file, "; ".join(parts) + "." + (f" {advice}" if advice else ""))

    def _lists(self) -> list[tuple[str, tuple[str, ...]]]:
        return [("missing", self.missing), ("unexpected", self.unexpected), ("wrong shape or type", self.wrong)]


class CheckpointHashError(CheckpointError):
    """Well-formed weights that are not the published ones."""

    code = "checkpoint_not_published"


class CheckpointChangedError(CheckpointError):
    """A file that somebody wrote into while it was in use."""

    code = "checkpoint_changed"


def _first(text: str, keys: Sequence[str], count: int = 3) -> str:
    shown = ", ".join(keys[:count])
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return f"{len(keys)} {text}: {shown}{more}"
