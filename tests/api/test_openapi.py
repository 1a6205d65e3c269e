"""The OpenAPI document holds together, and says what the API does."""

import io
import json
import re

import jsonschema_rs
import pytest

from api.errors import RequestError
from api.harmony.envelope import PREFIX
from shared.formats import FORMATS
from tests.api.conftest import Api, make_api

#: Headers that come only where there is reason for them.
OF_SOME_ANSWERS = {"Retry-After", "Link", "Preference-Applied", "Idempotent-Replayed"}
METHODS = {"get", "post", "put", "delete", "head", "patch"}


@pytest.fixture
def document(api: Api):
    return api.client.get("/openapi.json").json


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolve(document, schema):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def faults(document, schema, value, place="#"):
    """Check a value against a schema: the part of JSON Schema that pydantic writes."""
    schema = resolve(document, schema)
    if "anyOf" in schema:
        if not any(not list(faults(document, one, value, place)) for one in schema["anyOf"]):
            yield f"{place}: fits none of {schema['anyOf']}"
        return
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    kind = schema.get("type")
    if kind == "null":
        if value is not None:
            yield f"{place}: not null"
        return
    if kind and not isinstance(value, kinds[kind]):
        yield f"{place}: {value!r} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is not in {schema['enum']}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{place}/{name} is missing" for name in schema.get("required", []) if name not in value)
        for name, inner in value.items():
            if name in known:
                yield from faults(document, known[name], inner, f"{place}/{name}")
            elif not schema.get("additionalProperties"):
                yield f"{place}/{name} is not described"
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from faults(document, schema.get("items", {}), inner, f"{place}/{index}")


def test_the_document_has_the_form_of_openapi(document):
    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    seen = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(seen) == len(set(seen))
    schemes = document["components"]["securitySchemes"]
    assert {name for one in document["security"] for name in one} == schemes.keys()
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= schemas
    for path, method, operation in operations(document):
        assert method in METHODS
        assert operation["summary"], path
        named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
        assert operation["responses"]
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d|default", status)
            assert response["description"]


def test_every_route_is_described_and_no_other(api: Api, document):
    own = {"/openapi.json", "/docs"}
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in api.client.application.url_map.iter_rules()
        for method in rule.methods - {"OPTIONS", "HEAD"}
        if rule.rule not in own and not rule.endpoint.startswith("swagger")
    }
    described = {(path, method) for path, method, _ in operations(document)}
    assert described - routes == {("/v1/jobs/{job_id}/result", "head")}
    assert routes <= described


def test_errors_are_described_as_problem_documents(document):
    for path, _, operation in operations(document):
        if path.startswith(PREFIX):
            continue
        for status, response in operation["responses"].items():
            if status == "default" or (status >= "400" and path not in ("/readyz", "/health")):
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}


def test_harmonys_routes_describe_errors_in_its_envelope(document):
    for path, _, operation in operations(document):
        if path.startswith(PREFIX):
            errors = {status: one for status, one in operation["responses"].items() if not status.startswith("2")}
            assert {"default", "401", "403", "429", "503"} <= set(errors)
            for status, response in errors.items():
                schema = response["content"]["application/json"]["schema"]
                name = "Unauthorized" if status == "401" else "HarmonyError"
                assert schema == {"$ref": f"#/components/schemas/{name}"}


def test_every_code_is_named_where_it_can_come(document):
    text = str([operation["responses"] for _, _, operation in operations(document)])
    kinds = [kind for kind in leaves(RequestError) if not kind.__module__.startswith("api.harmony")]
    codes = {kind.code for kind in kinds} - {"job_not_found"}
    assert {code for code in codes if code not in text} == set()


def leaves(kind):
    below = kind.__subclasses__()
    return [leaf for one in below for leaf in leaves(one)] or [kind]


def test_a_job_is_sent_as_a_form_or_as_json(document):
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    form = resolve(document, content["multipart/form-data"]["schema"])
    assert form["required"] == ["file"]
    assert form["properties"]["file"]["contentMediaType"] == "application/octet-stream"
    assert {"stages", "mode", "seed", "priority", "samples", "metadata"} <= set(form["properties"])
    assert {"output.format", "output.sample_rate"} <= set(form["properties"])
    # A list would come twice; an empty field is one that nobody has filled in.
    assert form["properties"]["stages"]["enum"] == ["restore,vocode", "restore", "vocode", ""]
    body = resolve(document, content["application/json"]["schema"])
    assert body["required"] == ["input"]
    assert "key" in resolve(document, body["properties"]["input"])["properties"]


def test_a_result_is_of_any_output_format_or_a_mel(document):
    types = {form.media_type for form in FORMATS.values()} | {"application/x-npy"}
    for method in ("get", "head"):
        responses = document["paths"]["/v1/jobs/{job_id}/result"][method]["responses"]
        assert set(responses["200"]["content"]) == set(responses["206"]["content"]) == types


def test_a_form_of_what_the_document_suggests_is_a_job(api: Api, document):
    """Swagger fills its form with examples and defaults, and null where a field may be null."""
    form = resolve(document, {"$ref": "#/components/schemas/SubmitForm"})
    fields = {}
    for name, described in form["properties"].items():
        assert "null" not in json.dumps(described), f"{name}: a form has no null"
        suggested = described.get("example", described.get("default"))
        if suggested is not None:
            fields[name] = suggested if isinstance(suggested, str) else json.dumps(suggested)
    assert {"stages", "mode", "output.format", "metadata"} <= set(fields)
    assert api.submit(**fields)["options"] == api.submit()["options"]


def test_the_json_that_the_document_suggests_is_a_job(api: Api, document):
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]
    example = body["content"]["application/json"]["example"]
    api.store.put(example["input"]["key"], b"abc")
    assert api.client.post("/v1/jobs", json=example).status_code == 202


def test_what_the_api_answers_is_what_the_document_says(api: Api, document):
    def check(answer, path, method="get"):
        response = document["paths"][path][method]["responses"][str(answer.status_code)]
        content = response["content"][answer.mimetype]
        assert list(faults(document, content["schema"], answer.json)) == []
        assert set(response.get("headers", {})) <= set(answer.headers.keys()) | OF_SOME_ANSWERS

    job = "/v1/jobs/{job_id}"
    data = {"file": (io.BytesIO(b"abc"), "a.wav"), "output.format": "flac"}
    sent = api.client.post("/v1/jobs", data=data)
    job_id = sent.json["id"]
    check(sent, "/v1/jobs", "post")
    check(api.client.get(f"/v1/jobs/{job_id}/result"), f"{job}/result")
    check(api.client.post("/v1/jobs", data={"file": "x"}, content_type="multipart/form-data"), "/v1/jobs", "post")
    api.succeed(job_id)
    check(api.client.get(f"/v1/jobs/{job_id}"), job)
    check(api.client.get("/v1/jobs"), "/v1/jobs")
    check(api.client.get("/v1/jobs?limit=0"), "/v1/jobs")
    check(api.client.post(f"/v1/jobs/{job_id}/cancel"), f"{job}/cancel", "post")
    check(api.client.get("/v1/jobs/x"), job)
    failed = api.submit()["id"]
    api.fail(failed)
    check(api.client.get(f"/v1/jobs/{failed}"), job)
    check(api.client.get(f"/v1/jobs/{failed}", headers={"Prefer": "wait=5"}), job)
    again = f"/v1/jobs/{failed}/retry"
    made = api.client.post(again, headers={"Idempotency-Key": "a"})
    check(made, f"{job}/retry", "post")
    check(api.client.post(f"/v1/jobs/{made.json['id']}/cancel"), f"{job}/cancel", "post")
    check(api.client.post(again, headers={"Idempotency-Key": ""}), f"{job}/retry", "post")
    check(api.client.post(again, json={"mode": 7}), f"{job}/retry", "post")
    check(api.client.post(f"/v1/jobs/{job_id}/retry"), f"{job}/retry", "post")
    full = make_api(api.settings.model_copy(update={"max_open_interactive": 1, "max_open_bulk": 1}), api.store)
    full.submit()
    check(full.client.post("/v1/jobs", data={"file": (io.BytesIO(b"abc"), "a.wav")}), "/v1/jobs", "post")
    for path in ("/healthz", "/readyz", "/version", "/health"):
        check(api.client.get(path), path)


def test_what_the_settings_and_the_catalog_say_stands_in_the_document(api: Api, document):
    small = make_api(api.settings.model_copy(update={"max_duration_seconds": 1.0}), api.store)
    told = small.client.get("/openapi.json").json["components"]["schemas"]
    assert told["JobRequest"]["properties"]["samples"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 44100,
    }
    schemas = document["components"]["schemas"]
    assert schemas["UploadRequest"]["properties"]["bytes"]["maximum"] == api.settings.max_upload_bytes
    names = json.dumps(schemas["JobOptions"]["allOf"])
    assert "voicefixer-restorer" in names
    assert "voicefixer-vocoder" in names


def test_no_parameter_may_be_null_and_a_key_of_a_request_is_told_beside_the_routes(document):
    parameters = [one for _, _, operation in operations(document) for one in operation.get("parameters", [])]
    assert len(parameters) > 40
    assert "null" not in json.dumps([one["schema"] for one in parameters])
    assert "Idempotency-Key" not in {one["name"] for one in parameters}
    assert document["components"]["parameters"]["Idempotency-Key"]["in"] == "header"
    assert "Idempotency-Key" in document["paths"]["/v1/jobs"]["post"]["description"]


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, True),
        ({"stages": ["restore"], "output": {"format": "npy", "channels": 2}}, True),
        ({"stages": ["vocode"], "samples": 5}, True),
        ({"output": {"format": "flac", "sample_rate": 96_000, "bit_depth": 24}}, True),
        ({"webhook": "http://93.184.215.14/", "webhook_events_filter": ["job.failed"]}, True),
        ({"restorer": "voicefixer-restorer"}, True),
        ({"samples": 5}, False),
        ({"stages": []}, False),
        ({"stages": ["vocode", "restore"]}, False),
        ({"stages": ["vocode"], "mode": 1}, False),
        ({"stages": ["restore"], "output": {"format": "wav"}}, False),
        ({"output": {"format": "npy"}}, False),
        ({"output": {"format": "flac", "sample_rate": 96_001}}, False),
        ({"output": {"format": "mp3", "bit_depth": 16}}, False),
        ({"output": {"sample_rate": 999}}, False),
        ({"webhook_events_filter": ["job.failed"]}, False),
        ({"restorer": "another"}, False),
        ({"seed": 2**63}, False),
        ({"mode": True}, False),
    ],
)
def test_the_document_and_the_service_agree_on_what_goes_together(api: Api, document, options, allowed):
    named = {"$ref": "#/components/schemas/JobOptions", "components": document["components"]}
    assert jsonschema_rs.validator_for(named).is_valid(options) is allowed
    answer = api.client.post("/v1/batches", json={"open": True, "options": options})
    assert answer.status_code == (202 if allowed else 422), answer.text
