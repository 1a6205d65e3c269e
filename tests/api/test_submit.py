import io
import json

import pytest

from shared.jobs import Manifest
from shared.keys import manifest_key, source_key
from tests.api.conftest import Api


def post(api: Api, **data):
    return api.client.post("/v1/jobs", data=data, content_type="multipart/form-data")


def recording(data=b"RIFF....", name="speech.wav"):
    return io.BytesIO(data), name


def refused(api: Api, answer, status, code, *pointers):
    """The answer is this problem, and nothing is left of the job."""
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert [error["pointer"] for error in answer.json.get("errors", [])] == list(pointers)
    assert api.objects() == []
    assert api.client.get("/v1/jobs").json["jobs"] == []
    assert api.waiting() == 0


def test_a_recording_becomes_a_queued_job_with_its_manifest_in_storage(stored_api: Api):
    answer = post(stored_api, file=recording(b"abc", "Größe.wav"), mode="1", metadata='{"take": null}')
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}" == job["urls"]["self"]
    assert answer.headers["Retry-After"] == "1"
    assert (job["status"], job["queue_position"]) == ("queued", 1)
    assert job["input"] == {"filename": "Größe.wav", "bytes": 3}
    assert (job["options"]["mode"], job["metadata"]) == (1, {"take": None})
    assert (job["output"], job["error"], job["models"]) == (None, None, [])
    assert job["created_at"].endswith("Z")
    assert stored_api.objects(job["id"]) == [manifest_key(job["id"]), source_key(job["id"])]
    assert stored_api.store.read(source_key(job["id"])) == b"abc"
    kept = Manifest.model_validate_json(stored_api.store.read(manifest_key(job["id"])))
    assert kept == stored_api.job(job["id"]).manifest
    assert stored_api.waiting() == 1


def test_options_come_as_single_fields(api: Api):
    answer = post(
        api,
        file=recording(),
        **{
            "stages": "restore, vocode",
            "mode": "2",
            "seed": "7",
            "priority": "bulk",
            "deadline_seconds": "90.5",
            "output.format": "flac",
            "output.sample_rate": "input",
            "output.bit_depth": "24",
            "output.channels": "1",
        },
    )
    assert answer.json["options"] == {
        "stages": ["restore", "vocode"],
        "mode": 2,
        "seed": 7,
        "priority": "bulk",
        "deadline_seconds": 90.5,
        "restorer": None,
        "vocoder": None,
        "samples": None,
        "output": {"format": "flac", "sample_rate": "input", "bit_depth": 24, "channels": 1},
        "webhook": None,
        "webhook_events_filter": None,
    }
    assert api.waiting("bulk") == 1


def test_options_come_as_one_json_object_beside_single_fields(api: Api):
    options = {"stages": ["restore"], "output": {"channels": "mono"}}
    job = post(api, file=recording(), options=json.dumps(options), **{"output.format": "npy"}).json
    assert job["options"]["stages"] == ["restore"]
    assert job["options"]["output"] == {"format": "npy", "sample_rate": None, "bit_depth": None, "channels": "mono"}


def test_stages_come_as_a_json_list_too(api: Api):
    job = post(api, file=recording(name="mel.npy"), stages='["vocode"]', samples="441").json
    assert (job["options"]["stages"], job["options"]["samples"]) == (["vocode"], 441)


def test_an_empty_field_counts_as_left_out(api: Api):
    names = ("mode", "stages", "samples", "metadata", "options", "output", "output.format", "deadline_seconds")
    job = post(api, file=recording(), **dict.fromkeys(names, " ")).json
    assert job["options"] == api.submit()["options"]


def test_a_job_without_a_deadline_gets_the_service_s(api: Api):
    job = api.submit()
    assert job["options"]["deadline_seconds"] == api.settings.deadline_seconds == 7 * 86_400
    api.store.put("incoming/a", b"abcd")
    asked = {"input": {"key": "incoming/a"}}
    given = [api.client.post("/v1/jobs", json=asked | more).json for more in ({}, {"deadline_seconds": 90})]
    assert [one["options"]["deadline_seconds"] for one in given] == [7 * 86_400, 90]
    for one in (job, *given):
        kept = Manifest.model_validate_json(api.store.read(manifest_key(one["id"])))
        assert kept.options.deadline_seconds == one["options"]["deadline_seconds"]
        until = api.redis.zscore("vfq:deadlines", one["id"])
        assert until == pytest.approx(kept.created_at + kept.options.deadline_seconds, abs=0.001)


def test_options_may_be_attached_as_a_file(api: Api):
    job = post(api, file=recording(), options=recording(b'{"mode": 1}', "options.json")).json
    assert job["options"]["mode"] == 1


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"mode": "1", "options": '{"mode": 1}'}, ["#/mode"]),
        ({"mode": ["1", "2"]}, ["#/mode"]),
        ({"output": '{"format": "wav"}', "output.format": "wav"}, ["#/output/format"]),
        ({"options": '{"mode": 1, "mode": 1}'}, ["#/options"]),
        ({"metadata": ["{}", "{}"]}, ["#/metadata"]),
        ({"colour": "red"}, ["#/colour"]),
        ({"output.colour": "red"}, ["#/output.colour"]),
        ({"options": '{"colour": 1, "output": {"a/b~": 1}}'}, ["#/output/a~1b~0", "#/colour"]),
        ({"options": "[]"}, ["#/options"]),
        ({"metadata": "{"}, ["#/metadata"]),
        ({"metadata": '{"a": NaN}'}, ["#/metadata"]),
        ({"metadata": '{"a": 1e999}'}, ["#/metadata"]),
        ({"metadata": '{"a": "\\ud800"}'}, ["#/metadata"]),
        ({"metadata": '{"a": ' + "[" * 40 + "]" * 40 + "}"}, ["#/metadata"]),
        ({"metadata": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"}, ["#/metadata"]),
        ({"metadata": '{"a": "' + "x" * 4090 + '"}'}, ["#/metadata"]),
        ({"mode": "3"}, ["#/mode"]),
        ({"mode": "one"}, ["#/mode"]),
        ({"seed": "-1"}, ["#/seed"]),
        ({"deadline_seconds": "0"}, ["#/deadline_seconds"]),
        ({"deadline_seconds": "soon"}, ["#/deadline_seconds"]),
        ({"deadline_seconds": "Infinity"}, ["#/deadline_seconds"]),
        ({"deadline_seconds": "1e9"}, ["#/deadline_seconds"]),
        ({"stages": "vocode,restore"}, ["#"]),
        ({"stages": "vocode", "samples": "99999999999999"}, ["#/samples"]),
        ({"output.format": "mp4"}, ["#/output/format"]),
        ({"output.format": "mp3", "output.sample_rate": "96000"}, ["#/output/sample_rate"]),
        ({"output.format": "flac", "output.bit_depth": "32"}, ["#/output/bit_depth"]),
        ({"output.format": "mp3", "output.channels": "6"}, ["#/output/channels"]),
        ({"output.sample_rate": "fast"}, ["#/output/sample_rate"]),
        ({"output.sample_rate": "9" * 5000}, ["#/output/sample_rate"]),
    ],
)
def test_options_that_cannot_be_are_refused_with_their_place(api: Api, fields, pointers):
    refused(api, post(api, file=recording(), **fields), 422, "invalid_request", *pointers)


def test_all_faults_are_told_at_once(api: Api):
    fields = {"mode": "5", "priority": "urgent", "output.bit_depth": "12"}
    answer = post(api, file=recording(), **fields)
    refused(api, answer, 422, "invalid_request", "#/mode", "#/priority", "#/output/bit_depth")
    assert answer.json["errors"][0]["detail"] == "input should be 0, 1 or 2"


def test_a_form_without_a_file_is_refused(api: Api):
    refused(api, post(api, mode="1"), 422, "file_missing")


def test_a_file_without_a_name_is_refused(api: Api):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\nabc\r\n--x--\r\n'
    answer = api.client.post("/v1/jobs", data=body, content_type="multipart/form-data; boundary=x")
    refused(api, answer, 422, "file_missing")


def test_a_file_sent_as_plain_text_is_refused(api: Api):
    refused(api, post(api, file="abc"), 422, "file_missing")


def test_two_files_are_refused(api: Api):
    refused(api, post(api, file=[recording(), recording()]), 422, "invalid_request", "#/file")


def test_a_file_of_another_name_is_refused(api: Api):
    refused(api, post(api, file=recording(), audio=recording()), 422, "invalid_request", "#/audio")


def test_an_empty_file_is_refused(api: Api):
    refused(api, post(api, file=recording(b"")), 422, "file_empty")


def test_a_file_at_the_limit_is_taken_and_one_byte_more_is_not(api: Api):
    most = api.settings.max_upload_bytes
    refused(api, post(api, file=recording(b"x" * (most + 1))), 413, "upload_too_large")
    assert post(api, file=recording(b"x" * most)).status_code == 202


def test_a_body_far_over_the_limit_is_refused_before_it_is_read(api: Api):
    class Unreadable:
        def read(self, *_size):
            raise AssertionError("the body was read")

    answer = api.client.post(
        "/v1/jobs",
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"wsgi.input": Unreadable(), "CONTENT_LENGTH": str(10**12)},
    )
    refused(api, answer, 413, "upload_too_large")
    assert answer.headers["Connection"] == "close"


def test_fields_as_large_as_files_are_refused(api: Api):
    refused(api, post(api, file=recording(), metadata="x" * (2 * 1024 * 1024)), 413, "form_too_large")


def test_many_parts_are_refused(api: Api):
    answer = post(api, file=recording(), **{f"f{number}": "1" for number in range(101)})
    refused(api, answer, 413, "form_too_large")


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("multipart/form-data", b"--x--", "malformed_form"),
        ("multipart/form-data; boundary=x", b"", "malformed_form"),
        ("multipart/form-data; boundary=x", b"no form at all", "malformed_form"),
        ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\nabc\r\n--x--", "malformed_form"),
        ("multipart/form-data; boundary=x", b"--x\r\n\xff: b\r\n\r\nabc\r\n--x--", "malformed_form"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            "upload_incomplete",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\nabc\r\n--x--',
            "malformed_form",
        ),
    ],
)
def test_a_broken_form_is_refused(api: Api, content_type, body, code):
    stream = io.BytesIO(body)
    answer = api.client.post("/v1/jobs", input_stream=stream, content_length=len(body), content_type=content_type)
    refused(api, answer, 400, code)


def test_a_field_that_is_no_text_is_refused(api: Api):
    body = b'--x\r\nContent-Disposition: form-data; name="mode"\r\n\r\n\xff\r\n--x--'
    answer = api.client.post("/v1/jobs", data=body, content_type="multipart/form-data; boundary=x")
    refused(api, answer, 422, "invalid_request", "#/mode")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "audio/wav", ""])
def test_other_types_of_body_are_refused(api: Api, content_type):
    refused(api, api.client.post("/v1/jobs", data=b"x", content_type=content_type), 415, "unsupported_media_type")


def test_an_encoded_body_is_refused(api: Api):
    answer = api.client.post("/v1/jobs", json={}, headers={"Content-Encoding": "gzip"})
    refused(api, answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("C:\\\\fakepath\\\\a.wav", "a.wav"),  # doubled: in a quoted string a backslash escapes
        ("../../etc/passwd", "passwd"),
        ("..", "recording"),
        (" . ", "recording"),
        ("/", "recording"),
        ("a\u202eb\x7f\u2028.wav", "a\u202eb.wav"),
        ("n" * 300 + ".wav", "n" * 251 + ".wav"),
    ],
)
def test_a_file_name_is_kept_without_its_path_and_control_characters(api: Api, given, kept):
    assert api.submit(filename=given)["input"]["filename"] == kept


def test_an_object_in_storage_becomes_a_job(stored_api: Api):
    stored_api.store.put("incoming/tape 1/a.wav", b"abcd")
    body = {"input": {"key": "incoming/tape 1/a.wav"}, "stages": ["restore"], "metadata": {"a": 1}}
    answer = stored_api.client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json
    assert job["input"] == {"filename": "a.wav", "bytes": 4, "key": "incoming/tape 1/a.wav"}
    assert stored_api.objects(job["id"]) == [manifest_key(job["id"])]
    assert stored_api.waiting() == 1


@pytest.mark.parametrize(
    ("body", "status", "code", "pointers"),
    [
        (b"", 400, "invalid_json", []),
        (b"{", 400, "invalid_json", []),
        (b"\xff", 400, "invalid_json", []),
        (b"[]", 400, "invalid_json", []),
        (b'"a"', 400, "invalid_json", []),
        (b'{"input": {"key": "incoming/a"}, "seed": ' + b"9" * 5000 + b"}", 400, "invalid_json", []),
        (b'{"seed": 1, "seed": 1}', 422, "invalid_request", ["#"]),
        (b"{}", 422, "invalid_request", ["#/input"]),
        (b'{"input": {}}', 422, "invalid_request", ["#/input"]),
        (b'{"input": {"key": null, "url": null}}', 422, "invalid_request", ["#/input"]),
        (b'{"input": "a.wav"}', 422, "invalid_request", ["#/input"]),
        (b'{"input": {"key": "incoming/a", "url": "http://a.example/"}}', 422, "invalid_request", ["#/input"]),
        (b'{"input": {"key": "incoming/a", "path": "x"}}', 422, "invalid_request", ["#/input/path"]),
        (b'{"input": {"url": 5}}', 422, "invalid_request", ["#/input/url"]),
        (b'{"input": {"url": "http://a.example/' + b"a" * 5000 + b'"}}', 422, "invalid_request", ["#/input/url"]),
        (b'{"input": {"key": "incoming/a"}, "mode": 9}', 422, "invalid_request", ["#/mode"]),
        (b'{"input": {"key": "incoming/a"}, "mode": false}', 422, "invalid_request", ["#/mode"]),
        (b'{"input": {"key": "incoming/a"}, "seed": "1"}', 422, "invalid_request", ["#/seed"]),
        (
            b'{"input": {"key": "incoming/a"}, "output": {"channels": true}}',
            422,
            "invalid_request",
            ["#/output/channels"],
        ),
        (b'{"input": {"key": "incoming/a"}, "deadline_seconds": "9"}', 422, "invalid_request", ["#/deadline_seconds"]),
        (b'{"input": {"key": "incoming/none"}}', 404, "input_missing", ["#/input/key"]),
        (b'{"input": {"key": "jobs/a/source"}}', 403, "input_not_allowed", ["#/input/key"]),
        (b'{"input": {"key": "incoming/../jobs/a"}}', 403, "input_not_allowed", ["#/input/key"]),
        (b'{"input": {"key": "incoming"}}', 403, "input_not_allowed", ["#/input/key"]),
        (b'{"input": {"key": ""}}', 403, "input_not_allowed", ["#/input/key"]),
        (b'{"metadata": "' + b"x" * 1024 * 1024 + b'"}', 413, "form_too_large", []),
    ],
)
def test_json_that_names_no_job_is_refused(api: Api, body, status, code, pointers):
    answer = api.client.post("/v1/jobs", data=body, content_type="application/json")
    refused(api, answer, status, code, *pointers)


def test_objects_that_are_empty_or_too_large_are_refused(api: Api):
    api.store.put("incoming/empty", b"")
    api.store.put("incoming/large", bytes(api.settings.max_upload_bytes + 1))
    for name, code in (("empty", "file_empty"), ("large", "input_too_large")):
        answer = api.client.post("/v1/jobs", json={"input": {"key": f"incoming/{name}"}})
        assert (answer.status_code, answer.json["code"]) == (422, code)
