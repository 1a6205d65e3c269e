"""The plan of a job: what the split found out, and all that later steps go by."""

from functools import cached_property, lru_cache

from pydantic import BaseModel, ConfigDict

from shared.catalog import ModelEntry
from shared.formats import OutputPlan
from shared.jobs import Stage
from shared.receipt import Sound
from shared.settings import Settings
from worker.chunks import Geometry, Window, plan_windows
from worker.models.constants import PAD, frame_count


class Plan(BaseModel):
    """One job's plan, kept as JSON in its record while it runs.

    Attributes:
        attempt: the split's attempt; the working objects carry it in their keys.
        channels: of the working audio and of the result.
        samples: of the working audio, per channel, at 44.1 kHz.
        source_rate, source_samples: of the recording; the result's length follows from them.
        frames: mel frames; a recording of up to 1,024 samples is cut as if zeros followed it.
        source_key: the object that the split read: what was sent, or what it has fetched.
        seed: that of the job and of its restorer.
        restorer, vocoder: names of the models, by which all pieces go; none: the defaults, in a plan of before.
        noise: whether the split measured the recording's noise.
        output: the result's form; none where the result is a mel.
        source: what the recording is and measures, for the receipt.
    """

    model_config = ConfigDict(frozen=True)

    attempt: int
    stages: tuple[Stage, ...]
    mode: int
    seed: int
    channels: int
    samples: int
    frames: int
    source_rate: int
    source_samples: int
    core: int
    context: int
    halo: int
    fade: int
    filename: str
    source_key: str = ""
    restorer: str | None = None
    vocoder: str | None = None
    noise: bool = False
    output: OutputPlan | None = None
    source: Sound | None = None

    @property
    def geometry(self) -> Geometry:
        """Sizes of the windows."""
        return Geometry(core=self.core, context=self.context, halo=self.halo, fade=self.fade)

    @cached_property
    def windows(self) -> list[Window]:
        """The windows, in order."""
        return plan_windows(self.frames, self.geometry)

    @property
    def extended_samples(self) -> int:
        """Samples with the zeros that let a very short recording be reflected at its ends; a mel that came has none."""
        return extended(self.samples) if "restore" in self.stages else self.samples


@lru_cache(maxsize=64)
def read_plan(text: str) -> Plan:
    """Read a plan's JSON; a process that does many pieces of a job does it once."""
    return Plan.model_validate_json(text)


def geometry_for(settings: Settings, *, mode: int, before: Plan | None) -> Geometry:
    """Sizes of a job's windows: as the settings say, but a job that is split again is cut as *before*."""
    if before is not None:
        return before.geometry
    fade = settings.fade_frames if mode == 2 else 0
    return Geometry(settings.core_frames, settings.context_frames, settings.halo_frames, fade)


def wants_noise(restorer: ModelEntry | None) -> bool:
    """Whether a restorer goes by the recording's noise, which takes long to measure."""
    return restorer is not None and restorer.model_type == "SpectralGateRestorer"


def extended(samples: int) -> int:
    """Length from which a reflection of 1,024 samples can be taken."""
    return max(samples, PAD + 1)


def frames_of(samples: int) -> int:
    """Mel frames of a recording of so many samples, the zeros of a very short one counted in."""
    return frame_count(extended(samples))
