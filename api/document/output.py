"""What goes together in the form of a result, as JSON Schema says it: the rules of `shared.formats.check_output`."""

from typing import Any

from shared.formats import FLAC_PLAIN_RATES, FORMATS, MAX_CHANNELS, MAX_RATE, MIN_RATE, Format

Schema = dict[str, Any]

#: Of a WAV, and of whatever the input's format is.
_DEPTHS = (16, 24, 32)


def forms() -> list[Schema]:
    """Give the properties of each form that audio or a mel can have; `format` is left out of the first."""
    return [_form(None), *(_form(form) for form in FORMATS.values()), _mel()]


def _form(form: Format | None) -> Schema:
    named = {"const": form.name} if form else {"type": "null"}
    return {"format": named, "sample_rate": _rate(form), "bit_depth": _depth(form), "channels": _channels(form)}


def _mel() -> Schema:
    nothing = {"type": "null"}
    return {"format": {"const": "npy"}, "sample_rate": nothing, "bit_depth": nothing, "channels": _channels(None)}


def _rate(form: Format | None) -> Schema:
    if form and form.rates:
        return {"enum": [*form.rates, "input", None]}
    top = form.max_rate if form else MAX_RATE
    rates: list[Schema] = [{"type": "integer", "minimum": MIN_RATE, "maximum": top}]
    if form and form.name == "flac":
        rates = [
            {"type": "integer", "minimum": MIN_RATE, "maximum": FLAC_PLAIN_RATES},
            {"type": "integer", "minimum": FLAC_PLAIN_RATES + 1, "maximum": top, "multipleOf": 10},
        ]
    return {"anyOf": [*rates, {"enum": ["input", None]}]}


def _depth(form: Format | None) -> Schema:
    return {"enum": [*(form.bit_depths if form else _DEPTHS), None]}


def _channels(form: Format | None) -> Schema:
    top = form.max_channels if form else MAX_CHANNELS
    return {"anyOf": [{"type": "integer", "minimum": 1, "maximum": top}, {"enum": ["input", "mono", None]}]}
