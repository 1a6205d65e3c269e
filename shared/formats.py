"""Which audio formats a result may have, what each can hold, and which one a recording gets by default.

The limits are those of libsndfile 1.2.2 (tried, not read): its Vorbis encoder ends the process above 200 kHz, so
what is not in these tables must never reach an encoder.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from shared.errors import InvalidRequest

MIN_RATE = 1_000
MAX_RATE = 768_000
MAX_CHANNELS = 8
WORKING_RATE = 44_100
"""The rate that the models work at, and the least rate of a result unless another is asked for."""
FLAC_PLAIN_RATES = 65_535
"""FLAC codes rates up to here in Hz; above, only multiples of 10 Hz."""


@dataclass(frozen=True)
class Format:
    """A format that a result may have. Empty `bit_depths`: a lossy codec, which has none."""

    name: str
    title: str
    media_type: str
    extension: str
    bit_depths: tuple[int, ...]
    max_channels: int
    max_rate: int
    rates: tuple[int, ...] = ()
    """The only rates, where a format knows just a few."""


MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
FORMATS = {
    form.name: form
    for form in (
        Format("wav", "WAV", "audio/wav", "wav", (16, 24, 32), MAX_CHANNELS, MAX_RATE),
        Format("flac", "FLAC", "audio/flac", "flac", (16, 24), MAX_CHANNELS, 655_350),
        Format("aiff", "AIFF", "audio/aiff", "aiff", (16, 24), MAX_CHANNELS, MAX_RATE),
        Format("ogg", "Ogg Vorbis", "audio/ogg", "ogg", (), MAX_CHANNELS, 200_000),
        Format("mp3", "MP3", "audio/mpeg", "mp3", (), 2, 48_000, MPEG_RATES),
    )
}


@dataclass(frozen=True)
class SourceFacts:
    """What the decoder found: `container` and `codec` in lower case, `bit_depth` of a lossless codec."""

    container: str
    codec: str
    sample_rate: int
    channels: int
    bit_depth: int | None = None
    floating: bool = False
    lossy: bool = False
    video: bool = False


class OutputAsked(Protocol):
    """What a caller may ask of the result; `None` follows the input (`shared.jobs.OutputRequest`)."""

    @property
    def format(self) -> str | None: ...  # noqa: D102
    @property
    def sample_rate(self) -> int | Literal["input"] | None: ...  # noqa: D102
    @property
    def bit_depth(self) -> int | None: ...  # noqa: D102
    @property
    def channels(self) -> int | Literal["input", "mono"] | None: ...  # noqa: D102


@dataclass(frozen=True)
class OutputPlan:
    """The form of a result, complete: `bit_depth` 16 and 24 are integers, 32 is float, `None` is lossy."""

    format: str
    sample_rate: int
    bit_depth: int | None
    channels: int

    @property
    def media_type(self) -> str:
        """For `Content-Type`."""
        return FORMATS[self.format].media_type

    @property
    def extension(self) -> str:
        """For the file's name, without the dot."""
        return FORMATS[self.format].extension


@dataclass(frozen=True)
class Problem:
    """Why an output cannot be: the field at fault and a sentence for the caller."""

    field: str
    message: str


class OutputNotPossible(InvalidRequest):
    """The asked form of the result cannot hold this recording; `problems` names the fields."""

    code: ClassVar[str] = "output_not_possible"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problem.message for problem in problems))


def check_output(
    format: str | None = None,  # noqa: A002  the field's own name
    sample_rate: int | Literal["input"] | None = None,
    bit_depth: int | None = None,
    channels: int | Literal["input", "mono"] | None = None,
) -> list[Problem]:
    """List what is impossible about an output as far as it is known; `None` and `"input"` are not judged."""
    rate = None if sample_rate == "input" else sample_rate
    count = 1 if channels == "mono" else None if channels == "input" else channels
    if format is not None and format not in FORMATS:
        return [Problem("format", f"There is no output format {format}; choose one of {', '.join(FORMATS)}.")]
    form = None if format is None else FORMATS[format]
    found = (_rate_problem(form, rate), _depth_problem(form, bit_depth), _channel_problem(form, count))
    return [problem for problem in found if problem is not None]


def default_output(source: SourceFacts, asked: OutputAsked) -> OutputPlan:
    """Complete what was asked by what the recording is.

    Left out, the rate is 44.1 kHz or the input's if that is higher; the channels are the input's; the format is the
    input's if it is WAV, FLAC or AIFF, otherwise FLAC, or WAV where only that holds what was asked; the depth is
    the next that the format has (16 for lossy input). Raises `OutputNotPossible`.
    """
    if unknown := check_output(asked.format):
        raise OutputNotPossible(unknown)
    channels = _channels(source, asked)
    rate = source.sample_rate if asked.sample_rate == "input" else asked.sample_rate
    form = FORMATS[asked.format] if asked.format else _default_format(source, asked, rate)
    rate = rate or _default_rate(form, max(source.sample_rate, WORKING_RATE))
    depth = asked.bit_depth or _default_depth(form, source)
    problems = check_output(form.name, rate, depth, channels)
    if problems:
        raise OutputNotPossible(problems)
    return OutputPlan(format=form.name, sample_rate=rate, bit_depth=depth, channels=channels)


def _rate_problem(form: Format | None, rate: int | None) -> Problem | None:
    top = MAX_RATE if form is None else form.max_rate
    title = "Audio" if form is None else form.title
    if rate is None:
        return None
    if form is not None and form.rates and rate not in form.rates:
        known = ", ".join(str(one) for one in form.rates)
        return Problem("sample_rate", f"{title} cannot have {rate} Hz; it knows {known}.")
    if not MIN_RATE <= rate <= top:
        return Problem("sample_rate", f"{title} output is between {MIN_RATE} and {top} Hz; {rate} is not.")
    if form is not None and _exact_rate(form, rate) != rate:
        return Problem("sample_rate", f"FLAC above {FLAC_PLAIN_RATES} Hz holds multiples of 10 Hz; {rate} is none.")
    return None


def _depth_problem(form: Format | None, depth: int | None) -> Problem | None:
    if depth is None:
        return None
    if form is not None and not form.bit_depths:
        return Problem("bit_depth", f"{form.title} is lossy and has no bit depth; leave bit_depth out.")
    depths = (16, 24, 32) if form is None else form.bit_depths
    if depth in depths:
        return None
    title = "Output" if form is None else form.title
    more = " (32-bit float needs format wav)" if depth == 32 else ""
    return Problem("bit_depth", f"{title} has {' or '.join(map(str, depths))} bits, not {depth}{more}.")


def _channel_problem(form: Format | None, channels: int | None) -> Problem | None:
    top = MAX_CHANNELS if form is None else form.max_channels
    if channels is None or 1 <= channels <= top:
        return None
    title = "Output" if form is None else form.title
    return Problem("channels", f"{title} has 1 to {top} channels, not {channels}; another format or mono will do.")


def _channels(source: SourceFacts, asked: OutputAsked) -> int:
    if asked.channels in ("mono", 1):
        return 1
    if asked.channels in (None, "input", source.channels):
        return source.channels
    message = f"The recording has {source.channels} channels; the result can have as many, or 1, not {asked.channels}."
    raise OutputNotPossible([Problem("channels", message)])


def _default_format(source: SourceFacts, asked: OutputAsked, rate: int | None) -> Format:
    own = {"wav": "wav", "rf64": "wav", "w64": "wav", "aiff": "aiff", "flac": "flac"}
    form = FORMATS["flac" if source.video else own.get(source.container, "flac")]
    wanted = rate or max(source.sample_rate, WORKING_RATE)
    return FORMATS["wav"] if check_output(form.name, wanted, asked.bit_depth) else form


def _default_rate(form: Format, wanted: int) -> int:
    """The highest rate of the format that is no higher than wanted."""
    if form.rates:
        return max(rate for rate in form.rates if rate <= wanted)
    return _exact_rate(form, min(wanted, form.max_rate))


def _exact_rate(form: Format, rate: int) -> int:
    return rate - rate % 10 if form.name == "flac" and rate > FLAC_PLAIN_RATES else rate


def _default_depth(form: Format, source: SourceFacts) -> int | None:
    if not form.bit_depths:
        return None
    depth = 16 if source.lossy or source.video or source.bit_depth is None else source.bit_depth
    return next((one for one in form.bit_depths if one >= depth), form.bit_depths[-1])
