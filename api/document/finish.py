"""The last touches: what this service is set up to take, what goes together, and how a key is sent."""

from typing import Any

from api.document import options
from api.document.output import Schema
from api.idempotency import ONCE
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
            _parameters(item.get(method, {}), document["components"])
    _limit(document["components"]["schemas"], settings)
    _join(document["components"]["schemas"], catalog)
    return document


def _parameters(operation: dict[str, Any], components: dict[str, Any]) -> None:
    """Tell what a parameter may be; the key that has a request served once is told beside the operations.

    Who makes requests of the document alone would send one key with many requests, and rightly be refused (422).
    """
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        _without_null(parameter["schema"])
    for parameter in [one for one in parameters if one["name"] == ONCE]:
        parameters.remove(parameter)
        components.setdefault("parameters", {})[ONCE] = parameter
        operation["description"] += (
            f"\n\nWith the header `{ONCE}` (see `components/parameters`) the same request is served once."
        )


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
    schemas["SubmitForm"]["properties"]["samples"]["anyOf"][0]["maximum"] = most


def _join(schemas: dict[str, Schema], catalog: Catalog) -> None:
    """Say which fields go together."""
    schemas["OutputRequest"]["allOf"] = options.of_output()
    for name in ("JobOptions", "JobRequest"):
        schemas[name]["allOf"] = options.of_json(catalog)
    schemas["OptionChanges"]["allOf"] = options.of_changes(catalog)
    form = schemas["SubmitForm"]
    form["allOf"] = options.of_form(catalog)
    form["properties"]["file"]["contentMediaType"] = "application/octet-stream"  # OpenAPI 3.1: it is a file
    schemas["BatchRequest"]["allOf"] = [options.FILTER]
    of_batch = schemas["BatchRequest"]["properties"]
    of_batch["options"] |= _or_null({"$ref": "#/components/schemas/JobOptions"}, of_batch["options"])
    of_batch["metadata"] |= _or_null({"type": "object"}, of_batch["metadata"])
    once = "|".join(event.replace(".", r"\.") for event in JOB_EVENTS)
    form["properties"]["webhook_events_filter"]["anyOf"][0]["pattern"] = f"^({once})(,({once}))*$"


def _or_null(schema: Schema, field: Schema) -> Schema:
    """Let a field be null, too, which counts as left out."""
    for name in ("type", "additionalProperties"):
        field.pop(name, None)
    return {"anyOf": [schema, {"type": "null"}]}
