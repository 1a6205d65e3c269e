"""The last touches: what this service is set up to take, what goes together, and how a key is sent."""

from typing import Any

from api.document import options
from api.document.output import Schema
from shared.catalog import Catalog
from shared.formats import WORKING_RATE
from shared.settings import Settings
from shared.webhooks.events import JOB_EVENTS

#: How a key is sent; without one, callers of the same machine come in while there is none.
_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer vfq_…"},
    "key": {"type": "apiKey", "in": "header", "name": "Api-Key"},
}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}, {}]
_METHODS = ("get", "post", "put", "delete", "head", "patch")


def finished(document: dict[str, Any], settings: Settings, catalog: Catalog) -> dict[str, Any]:
    """Complete what flask-openapi3 has put together; *document* is changed."""
    document["security"] = _SECURITY
    document["components"]["securitySchemes"] = _SCHEMES
    for item in document["paths"].values():
        for method in _METHODS:
            for parameter in item.get(method, {}).get("parameters", []):
                _without_null(parameter["schema"])
    _limit(document["components"]["schemas"], settings)
    _join(document["components"]["schemas"], catalog)
    return document


def _without_null(schema: Schema) -> None:
    """A query or a header has no null: what is not said is left out."""
    kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        schema |= kinds[0]
    elif kinds:
        schema["anyOf"] = kinds
    if schema.get("default", "") is None:
        del schema["default"]


def _limit(schemas: dict[str, Schema], settings: Settings) -> None:
    """Say what the settings allow."""
    schemas["UploadRequest"]["properties"]["bytes"]["maximum"] = settings.max_upload_bytes
    most = int(settings.max_duration_seconds * WORKING_RATE)
    for name in ("JobOptions", "JobRequest", "OptionChanges"):
        schemas[name]["properties"]["samples"]["anyOf"][0]["maximum"] = most
    schemas["SubmitForm"]["properties"]["samples"]["maximum"] = most


def _join(schemas: dict[str, Schema], catalog: Catalog) -> None:
    """Say which fields go together."""
    schemas["OutputRequest"]["allOf"] = options.of_output()
    for name in ("JobOptions", "JobRequest"):
        schemas[name]["allOf"] = options.of_json(catalog)
    schemas["OptionChanges"]["allOf"] = options.of_changes(catalog)
    form = schemas["SubmitForm"]
    form["allOf"] = options.of_form(catalog)
    of_batch = schemas["BatchRequest"]["properties"]
    of_batch["options"] |= _or_null({"$ref": "#/components/schemas/JobOptions"}, of_batch["options"])
    of_batch["metadata"] |= _or_null({"type": "object"}, of_batch["metadata"])
    once = "|".join(event.replace(".", r"\.") for event in JOB_EVENTS)
    form["properties"]["webhook_events_filter"]["pattern"] = f"^({once})(,({once}))*$"


def _or_null(schema: Schema, field: Schema) -> Schema:
    """Let a field be null, too, which counts as left out."""
    for name in ("type", "additionalProperties"):
        field.pop(name, None)
    return {"anyOf": [schema, {"type": "null"}]}
