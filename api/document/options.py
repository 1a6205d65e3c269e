"""What goes together in the options of a job, as JSON Schema says it: the rules of `shared.jobs.JobOptions`."""

from api.document.output import Schema, forms
from shared.catalog import Catalog
from shared.formats import FORMATS
from shared.jobs import Stage

_NOTHING: Schema = {"type": "null"}
_EMPTY: Schema = {"const": ""}
_FILLED: Schema = {"type": "string", "minLength": 1}
_AUDIO: Schema = {"properties": {"format": {"enum": [*FORMATS, None]}}}
_MEL: Schema = {"properties": {"format": {"enum": ["npy", None]}, "sample_rate": _NOTHING, "bit_depth": _NOTHING}}
#: Of each choice of stages, what its other fields may be.
_STAGES: dict[tuple[Stage, ...], Schema] = {
    ("restore", "vocode"): {"samples": _NOTHING, "output": _AUDIO},
    ("restore",): {"samples": _NOTHING, "vocoder": _NOTHING, "output": _MEL},
    ("vocode",): {"mode": {"const": 0}, "restorer": _NOTHING, "output": _AUDIO},
}
_FIRST = next(iter(_STAGES))
#: A filter of events is for a webhook.
FILTER: Schema = {
    "anyOf": [
        {"properties": {"webhook_events_filter": _NOTHING}},
        {"properties": {"webhook": {"type": "string"}}, "required": ["webhook"]},
    ]
}


def of_output() -> list[Schema]:
    """Give the rules of an output: its format decides on the rest."""
    return [{"anyOf": [_named(one, "format") for one in forms()]}]


def of_json(catalog: Catalog) -> list[Schema]:
    """Give the rules of a job's options in JSON: its stages, for which there are models, decide on the rest."""
    return [{"anyOf": _by_stages(catalog)}, FILTER]


def of_changes(catalog: Catalog) -> list[Schema]:
    """Give the rules of what is changed of a job: whether it goes together is seen when the job's own are there."""
    stages = [list(stages) for stages in _STAGES if catalog.serves(stages)]
    return [{"properties": {"stages": {"enum": stages}, **_names(catalog)}}]


def of_form(catalog: Catalog) -> list[Schema]:
    """Give those of a form: it has no null, no lists, and the fields of the output among its own."""
    no_filter = {"properties": {"webhook_events_filter": _EMPTY}}
    return [
        {"anyOf": [_in_form(one) for one in _by_stages(catalog)]},
        {"anyOf": [_in_form({"properties": _flat(one)}) for one in forms()]},
        {"anyOf": [no_filter, {"properties": {"webhook": _FILLED}, "required": ["webhook"]}]},
    ]


def _by_stages(catalog: Catalog) -> list[Schema]:
    found = []
    for stages, rules in _STAGES.items():
        if catalog.serves(stages):
            one: Schema = {"properties": {"stages": {"const": list(stages)}, **_names(catalog), **rules}}
            found.append(one if stages == _FIRST else {**one, "required": ["stages"]})
    return found


def _names(catalog: Catalog) -> Schema:
    models: dict[str, Stage] = {"restorer": "restore", "vocoder": "vocode"}
    return {field: {"enum": [*(one.name for one in catalog.of(stage)), None]} for field, stage in models.items()}


def _named(properties: Schema, key: str) -> Schema:
    must = {} if properties[key] == _NOTHING else {"required": [key]}
    return {"properties": properties, **must}


def _flat(properties: Schema) -> Schema:
    return {f"output.{name}": schema for name, schema in properties.items()}


def _in_form(rule: Schema) -> Schema:
    required = rule.get("required", [])
    properties: Schema = {}
    for name, schema in rule["properties"].items():
        if name == "output":
            properties |= {one: _as_text(inner) for one, inner in _flat(schema["properties"]).items()}
        else:
            properties[name] = _as_text(schema, may_be_empty=name not in required)
    return {**rule, "properties": properties}


def _as_text(schema: Schema, *, may_be_empty: bool = False) -> Schema:
    """Say the same of a form's field: what is null in JSON is empty in a form, and a list is names with commas."""
    if schema == _NOTHING:
        return _EMPTY
    if "const" in schema:
        value = schema["const"]
        text = ",".join(value) if isinstance(value, list) else value
        return {"enum": [text, ""]} if may_be_empty else {"const": text}
    if "enum" in schema:
        return {"enum": ["" if one is None else one for one in schema["enum"]]}
    return {"anyOf": [_as_text(one) for one in schema["anyOf"]]} if "anyOf" in schema else schema
