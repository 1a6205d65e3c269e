"""The `config.yml` of Harmony Speech Engine: which models, on which devices.

What has no meaning here is passed over with a note; what nobody can mean is refused with its line.
"""

import stat
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from shared.catalog.lines import Document, NotYaml, read_yaml
from shared.catalog.model import CHAIN, STAGE_OF, WEIGHT_FREE, Catalog, ModelEntry
from shared.errors import SettingsError
from shared.jobs import MOST_NAME
from shared.settings import Precision, Settings

#: What that engine serves and this service does not: entries of these types are passed over.
ELSEWHERE = frozenset(
    {
        "HarmonySpeechEncoder",
        "HarmonySpeechSynthesizer",
        "HarmonySpeechVocoder",
        "OpenVoiceV1Synthesizer",
        "OpenVoiceV1ToneConverter",
        "OpenVoiceV1ToneConverterEncoder",
        "OpenVoiceV2ToneConverter",
        "OpenVoiceV2ToneConverterEncoder",
        "MeloTTSSynthesizer",
        "FasterWhisper",
        "SileroVAD",
        "KittenTTSSynthesizer",
        "ChatterboxTTS",
        "ChatterboxTurboTTS",
        "ChatterboxMultilingualTTS",
        "ChatterboxVC",
        "ChatterboxEmbedding",
    }
)
_PRECISIONS: dict[str, Precision] = {
    "half": "fp16",
    "float16": "fp16",
    "fp16": "fp16",
    "float": "fp32",
    "float32": "fp32",
    "fp32": "fp32",
    "auto": "fp32",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "tf32": "tf32",
}
_WITHOUT_MEANING = (
    "language",
    "voices",
    "watermark",
    "trust_remote_code",
    "download_dir",
    "code_revision",
    "enforce_eager",
)
_LARGEST = 2**20
Loading = Literal["eager", "lazy"]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DeviceConfig(_Block):
    """Where a model runs."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$")


class ModelConfig(_Block):
    """One entry of `model_configs`."""

    name: str = Field(min_length=1, max_length=MOST_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")
    model: str | None = Field(None, min_length=1)
    model_type: str
    max_batch_size: int | None = Field(None, ge=1, le=1024)
    device_config: DeviceConfig
    dtype: str | None = None
    revision: str | None = Field(None, min_length=1)
    seed: int = Field(0, ge=0, lt=2**63)
    load_format: Literal["auto", "pt"] = "auto"
    loading: Loading | None = None
    language: Any = None
    voices: Any = None
    watermark: Any = None
    trust_remote_code: Any = None
    download_dir: Any = None
    code_revision: Any = None
    enforce_eager: Any = None

    @field_validator("dtype")
    @classmethod
    def _is_known(cls, dtype: str | None) -> str | None:
        if dtype is not None and dtype.lower() not in _PRECISIONS:
            raise ValueError(f"must be one of {', '.join(_PRECISIONS)}")
        return dtype

    @field_validator("model_type")
    @classmethod
    def _is_served(cls, model_type: str) -> str:
        if model_type not in STAGE_OF:
            meant = get_close_matches(model_type, STAGE_OF, n=1)
            hint = f"; did you mean {meant[0]}?" if meant else ""
            raise ValueError(f"must be one of {', '.join(STAGE_OF)}{hint}")
        return model_type

    @field_validator("name")
    @classmethod
    def _is_not_the_chain(cls, name: str) -> str:
        if name == CHAIN:
            raise ValueError(f"{CHAIN} is what the chain of a restorer and a vocoder is called; take another name")
        return name


class ConfigFile(_Block):
    """The whole file. `loading` is the default of its entries."""

    model_configs: Annotated[list[ModelConfig], Field(min_length=1)]
    loading: Loading = "eager"


def read_config(path: Path, settings: Settings) -> Catalog:
    """Read a file; what an entry leaves out is as the settings say.

    Raises:
        SettingsError: names every line at fault and what is wrong there.
    """
    document = _document(path)
    notes: list[str] = []
    kept = _without_others(document.value, notes)
    try:
        config = ConfigFile.model_validate(document.value if kept is None else kept.value)
    except ValidationError as error:
        places = {} if kept is None else kept.numbers
        raise _refused(path, (_explain(problem, document, places) for problem in error.errors())) from None
    numbers = range(len(config.model_configs)) if kept is None else kept.numbers.values()
    lines = [document.line(("model_configs", number)) for number in numbers]
    _refuse_twice(path, config.model_configs, lines)
    entries = [
        _entry(path, one, line, config.loading, settings, notes)
        for one, line in zip(config.model_configs, lines, strict=True)
    ]
    return Catalog(tuple(entries), tuple(f"{path}: {note}" for note in notes))


def _document(path: Path) -> Document:
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # opening a pipe could wait for ever
            raise SettingsError(
                f"VFQ_CONFIG (--config): {path} is a pipe or a device; several processes read it, so it must be a file"
            )
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise SettingsError(f"VFQ_CONFIG (--config): {path} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise SettingsError(f"VFQ_CONFIG (--config): {path} is larger than {_LARGEST} bytes; it is no config.yml")
    try:
        return read_yaml(data.decode())
    except UnicodeDecodeError:
        raise SettingsError(f"VFQ_CONFIG (--config): {path} is not text in UTF-8") from None
    except NotYaml as error:
        raise SettingsError(f"VFQ_CONFIG (--config): {path}: {error}") from None


class _Kept:
    """The file without the entries that are for others. `numbers`: of an entry here → of the same in the file."""

    def __init__(self, value: dict[str, Any], numbers: dict[int, int]) -> None:
        self.value = value
        self.numbers = numbers


def _without_others(value: Any, notes: list[str]) -> _Kept | None:
    entries = value.get("model_configs") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        return None
    others = [number for number, one in enumerate(entries) if _is_for_others(one)]
    if others:
        kinds = ", ".join(sorted({entries[number]["model_type"] for number in others}))
        notes.append(f"{len(others)} entries are passed over, for this service restores speech and no more ({kinds})")
    kept = [number for number in range(len(entries)) if number not in others]
    return _Kept({**value, "model_configs": [entries[number] for number in kept]}, dict(enumerate(kept)))


def _is_for_others(entry: Any) -> bool:
    kind = entry.get("model_type") if isinstance(entry, dict) else None
    return isinstance(kind, str) and kind in ELSEWHERE


def _explain(problem: ErrorDetails, document: Document, places: dict[int, int]) -> str:
    path = list(problem["loc"])
    if len(path) > 1 and isinstance(path[1], int):
        path[1] = places.get(path[1], path[1])
    line = document.line(tuple(path))
    where = f"line {line}: " + ("".join(f"{part}: " for part in path[-1:] if isinstance(part, str)))
    text = problem["msg"].removeprefix("Value error, ")
    return where + _in_words(problem, path, text[0].lower() + text[1:])


def _in_words(problem: ErrorDetails, path: list[str | int], text: str) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        meant = get_close_matches(str(path[-1]), _keys_beside(path), n=1)
        return f"there is no such key; did you mean {meant[0]}?" if meant else "there is no such key"
    if kind == "missing":
        return "is missing"
    if kind == "too_short" and path == ["model_configs"]:
        return "names no VoiceFixerRestorer and no VoiceFixerVocoder, so that there is nothing to serve"
    if kind == "model_type":
        return "must be a block of keys"
    if kind == "string_type":
        return f"must be text, not {problem['input']!r}; put it in quotes"
    if kind == "string_pattern_mismatch" and path[-1] == "device":
        return f"must be auto, cpu, cuda or cuda:N, not {problem['input']!r}"
    return text


def _keys_beside(path: list[str | int]) -> Iterable[str]:
    """Give the keys that may stand where this one does: in a device's block, in an entry, or at the top."""
    block: type[BaseModel] = (
        DeviceConfig if "device_config" in path[:-1] else ModelConfig if len(path) > 1 else ConfigFile
    )
    return block.model_fields


def _why(settings: Settings) -> str:
    if settings.precision != "fp32":
        return "VFQ_PRECISION says so"
    return (
        "VoiceFixer's weights are float32, and Harmony Speech Engine's default, bfloat16, would change what comes out"
    )


def _refused(path: Path, faults: Iterable[str]) -> SettingsError:
    return SettingsError(f"VFQ_CONFIG (--config): {path}: {'; '.join(faults)}")


def _refuse_twice(path: Path, entries: list[ModelConfig], lines: list[int]) -> None:
    first: dict[str, int] = {}
    for entry, line in zip(entries, lines, strict=True):
        if entry.name in first:
            raise _refused(
                path, [f"line {line}: name: {entry.name!r} is that of the entry of line {first[entry.name]}"]
            )
        first[entry.name] = line


def _entry(
    path: Path, one: ModelConfig, line: int, loading: Loading, settings: Settings, notes: list[str]
) -> ModelEntry:
    given = one.model_fields_set
    if one.model is None and one.model_type not in WEIGHT_FREE:
        raise _refused(path, [f"line {line}: model: is missing: a hub repository, or a folder with its checkpoint"])
    if ignored := [key for key in _WITHOUT_MEANING if key in given]:
        notes.append(f"line {line}, {one.name}: without meaning here and passed over: {', '.join(ignored)}")
    if one.dtype is None:
        notes.append(f"line {line}, {one.name}: no dtype, so it computes in {settings.precision}: {_why(settings)}")
    return ModelEntry(
        name=one.name,
        model_type=one.model_type,
        weights=one.model if one.model_type not in WEIGHT_FREE else None,
        revision=one.revision,
        device=settings.device if "device" in settings.model_fields_set else one.device_config.device,
        precision=settings.precision if one.dtype is None else _PRECISIONS[one.dtype.lower()],
        max_batch_size=one.max_batch_size or settings.max_batch_size,
        seed=one.seed,
        lazy=(one.loading or loading) == "lazy",
    )
