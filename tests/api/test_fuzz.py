"""Requests as no client means them, to a real process: documented answers, bounded memory, nothing left behind."""

import json

import pytest

from api.errors import MOST_NAMED, Unprocessable
from api.http.strictjson import NamedTwice, parse
from bench.fuzz.door import fuzz_door, judge
from bench.fuzz.http import crafted, form, part


def test_damaged_requests_are_answered_and_leave_nothing(tmp_path):
    tally = fuzz_door(250, 7, tmp_path / "found", tmp_path / "data", most=len(crafted()) + 300)
    assert tally.findings == []
    assert tally.inputs == len(crafted()) + 300
    assert {"202", "400 malformed_form", "413 form_too_large", "422 invalid_request"} <= tally.endings.keys()


@pytest.mark.parametrize(
    ("status", "body", "good"),
    [
        (202, b'{"id": "x"}', True),
        (400, b"<html>", False),
        (501, b'{"code": "not_implemented"}', True),
        (422, b'{"code": "file_missing"}', True),
        (400, b'{"code": "file_missing"}', False),
        (422, b'{"code": "never_heard_of"}', False),
        (503, b'{"code": "queue_unavailable"}', True),
        (500, b'{"code": "internal_error"}', False),
        (500, b"<html>", False),
        (302, b"", False),
    ],
)
def test_an_answer_that_is_not_documented_is_a_finding(status, body, good):
    assert (judge(status, body) == "") is good


def test_a_name_that_stands_twice_among_a_hundred_thousand_is_found_at_once():
    # Each was once compared with all others: a megabyte of them kept the whole process busy for minutes.
    names = ",".join(f'"{number:x}":1' for number in range(110_000))
    with pytest.raises(NamedTwice, match="'z'"):
        parse(f'{{{names},"z":1,"z":2}}')


def test_of_thousands_of_unknown_fields_a_hundred_are_named(api):
    body = json.dumps({f"k{number}": 1 for number in range(60_000)})
    answer = api.client.post("/v1/jobs", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (422, Unprocessable.code)
    assert len(answer.json["errors"]) == MOST_NAMED
    assert len(answer.data) < 20_000


def test_deep_json_in_a_field_is_told_and_not_followed(api):
    body = form(part(b"options", b"[" * 200_000), part(b"file", b"x", b'filename="a.wav"'))
    answer = api.client.post("/v1/jobs", data=body, content_type="multipart/form-data; boundary=----x")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")
    assert api.objects() == []
