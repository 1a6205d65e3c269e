"""Harmony's routes tell errors in its envelope and take its headers; all others tell problem documents."""

import io
import socket

import pytest

from api.http.problems import MEDIA_TYPE
from shared.access import KeyShelf
from tests.api.conftest import Api, make_api
from tests.api.test_keys import key

CONVERT = "/v1/audio/convert"


def told(answer, status, kind) -> dict:
    assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
    error = answer.json
    assert (error["object"], error["type"], error["param"], error["code"]) == ("error", kind, None, status)
    assert len(error["message"]) > 15
    return error


def test_who_has_no_key_is_told_in_both_ways(api: Api):
    key(api)
    for headers in ({}, {"Api-Key": "x"}, {"Authorization": "Bearer vfq_k000000000000_" + "a" * 43}):
        answer = api.client.post(CONVERT, json={}, headers=headers)
        error = told(answer, 401, "AuthenticationError")
        assert list(error) == ["object", "message", "type", "param", "code", "error"]
        assert error["error"] == "Unauthorized"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert api.client.get("/v1/jobs", headers=headers).mimetype == MEDIA_TYPE


def test_either_header_alone_opens_and_both_do(api: Api):
    token = key(api)["Authorization"].removeprefix("Bearer ")
    one, other = {"Api-Key": token}, {"Authorization": f"Bearer {token}"}
    for headers in (one, other, one | other):
        assert api.client.get(f"{CONVERT}/models", headers=headers).status_code == 200
        told(api.client.post(CONVERT, json={}, headers=headers), 404, "NotFoundError")


def test_a_key_that_may_not_submit_is_told(api: Api):
    token = KeyShelf(api.store).create("reader", ("read",))[1]
    headers = {"Api-Key": token.text}
    told(api.client.post(CONVERT, json={}, headers=headers), 403, "PermissionDeniedError")
    assert api.client.get(f"{CONVERT}/models", headers=headers).status_code == 200


def test_what_is_not_there_is_told_by_its_address(api: Api):
    told(api.client.get("/v1/audio/speech"), 404, "NotFoundError")
    told(api.client.get(CONVERT), 405, "MethodNotAllowedError")
    assert api.client.get("/v1/nothing").mimetype == MEDIA_TYPE


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/vnd.x+json"}, 404),
        ({}, 404),
    ],
)
def test_types_of_bodies(api: Api, headers, status):
    kind = {415: "UnsupportedMediaTypeError", 404: "NotFoundError"}[status]
    told(api.client.post(CONVERT, data=b"{}", headers=headers), status, kind)


def test_a_service_that_is_full_or_away_says_so_and_keeps_nothing(api: Api):
    full = make_api(api.settings.model_copy(update={"max_open_interactive": 1, "max_open_bulk": 1}), api.store)
    full.submit()
    before = api.objects()
    answer = full.client.post(CONVERT, json={"model": "voicefixer", "source_audio": "UklGRg=="})
    told(answer, 429, "RateLimitError")
    assert int(answer.headers["Retry-After"]) > 0
    busy = make_api(api.settings.model_copy(update={"api_watchers": 0}), api.store)
    answer = busy.client.post(CONVERT, json={"model": "voicefixer", "source_audio": "UklGRg=="})
    told(answer, 503, "ServiceUnavailableError")
    assert answer.headers["Retry-After"] == "1"
    away = make_api(api.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}), api.store)
    told(away.client.post(CONVERT, json={"model": "voicefixer"}), 503, "ServiceUnavailableError")
    assert api.objects() == before != []


class Watched(io.BytesIO):
    """A body that knows whether it was read."""

    read_of_it = 0

    def read(self, *args):
        self.read_of_it += 1
        return super().read(*args)

    def readinto(self, *args):
        self.read_of_it += 1
        return super().readinto(*args)


def test_a_body_is_not_taken_for_nothing(api: Api):
    full = make_api(api.settings.model_copy(update={"max_open_interactive": 1}), api.store)
    full.submit()
    body = Watched(b'{"model": "voicefixer", "source_audio": "UklGRg=="}')
    told(full.client.post(CONVERT, input_stream=body), 429, "RateLimitError")
    assert not body.read_of_it


def test_a_fault_of_ours_tells_no_more_than_that(api: Api, monkeypatch):
    def broken(*_):
        raise RuntimeError("redis://secret@host")

    monkeypatch.setattr("api.harmony.routes.convert", broken)
    error = told(api.client.post(CONVERT, json={}), 500, "InternalServerError")
    assert "secret" not in str(error)


def test_a_caller_may_pause_again_once_its_answer_comes(api: Api):
    """While it waits, one that is not heard of for half a minute is gone; a slow reader of a large answer is not."""
    hasty = make_api(api.settings.model_copy(update={"convert_seconds": 0.1}), api.store)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        answer = hasty.client.post(
            CONVERT,
            json={"model": "voicefixer", "source_audio": "UklGRg=="},
            environ_overrides={"gunicorn.socket": connection},
        )
        told(answer, 504, "TimeoutError")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        connection.close()


def test_numbers_are_taken_as_json_has_them(api: Api):
    for rate, status in ((44100.0, 400), (44100.5, 400), ("44100", 400), (True, 400)):
        body = {"model": "voicefixer", "source_audio": "", "output_options": {"sample_rate": rate}}
        error = told(api.client.post(CONVERT, json=body), status, "BadRequestError")
        assert ("source_audio is empty" in error["message"]) is (rate == 44100.0)
