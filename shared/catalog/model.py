"""The models that a service has, by name."""

from collections.abc import Collection
from dataclasses import dataclass

from shared.errors import InvalidRequest
from shared.jobs import Stage
from shared.settings import Precision, Settings

#: What stands for a restorer and a vocoder, one after the other.
CHAIN = "voicefixer"
#: What the models are called where no file names them; where one does, the defaults of their stages.
RESTORER = "voicefixer-restorer"
VOCODER = "voicefixer-vocoder"
_USUAL: dict[Stage, str] = {"restore": RESTORER, "vocode": VOCODER}

STAGE_OF: dict[str, Stage] = {
    "VoiceFixerRestorer": "restore",
    "SpectralGateRestorer": "restore",
    "VoiceFixerVocoder": "vocode",
    "GriffinLimVocoder": "vocode",
}
WEIGHT_FREE = frozenset({"SpectralGateRestorer", "GriffinLimVocoder"})


class ModelUnknown(InvalidRequest):
    """There is no model of this name, or none for the stage."""

    code = "model_unknown"


@dataclass(frozen=True)
class ModelEntry:
    """
    A model as a worker loads it.

    Attributes:
        name: by which requests ask for it
        model_type: one of `STAGE_OF`
        weights: hub repository or folder; None for those that the settings name, and for a model without weights
        revision: of the repository; None for the settings'
        device: auto, cpu, cuda or cuda:N
        precision: what its network computes in
        max_batch_size: most windows in one pass
        seed: added to that of a job in mode 2
        lazy: whether it is loaded when it is asked for first

    """

    name: str
    model_type: str
    weights: str | None = None
    revision: str | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    max_batch_size: int = 1
    seed: int = 0
    lazy: bool = False

    @property
    def stage(self) -> Stage:
        """What it does of a job."""
        return STAGE_OF[self.model_type]

    @property
    def needs_weights(self) -> bool:
        """Whether it is loaded from a checkpoint."""
        return self.model_type not in WEIGHT_FREE


@dataclass(frozen=True)
class Catalog:
    """
    All models of a service, in the order of its file.

    Attributes:
        entries: no two of one name
        notes: what whoever starts the service should know of its file

    """

    entries: tuple[ModelEntry, ...]
    notes: tuple[str, ...] = ()

    def of(self, stage: Stage) -> tuple[ModelEntry, ...]:
        """Give the models of a stage."""
        return tuple(entry for entry in self.entries if entry.stage == stage)

    def stages(self) -> tuple[Stage, ...]:
        """Give the stages for which there is a model."""
        return tuple(stage for stage in _USUAL if self.of(stage))

    def default(self, stage: Stage) -> ModelEntry:
        """Give the model of a stage that is taken where none is named: of the usual name, or else the first.

        Raises:
            ModelUnknown: if there is none.
        """
        found = self.of(stage)
        if not found:
            raise ModelUnknown(f"This service has no model for the stage {stage}.")
        return next((entry for entry in found if entry.name == _USUAL[stage]), found[0])

    def find(self, stage: Stage, name: str | None) -> ModelEntry:
        """Give the model of a stage that a request names, or the default.

        Raises:
            ModelUnknown: if there is none.
        """
        if not name:
            return self.default(stage)
        found = next((entry for entry in self.of(stage) if entry.name == name), None)
        if found is None:
            names = ", ".join(entry.name for entry in self.of(stage)) or "none"
            raise ModelUnknown(f"There is no model of this name for the stage {stage}; there are: {names}.")
        return found

    def named(self, name: str) -> ModelEntry | None:
        """Give the model of a name, whatever its stage."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def serves(self, stages: Collection[Stage]) -> bool:
        """Whether there is a model for each of these stages."""
        return set(stages) <= set(self.stages())

    def in_flight(self, settings: Settings) -> int:
        """Give the chunks of one job that are in the queues at once: two batches of the largest size, or more."""
        return max([settings.in_flight, *(2 * entry.max_batch_size for entry in self.entries)])
