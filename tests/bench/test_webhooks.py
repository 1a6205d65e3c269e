"""The judge of `make webhooks` sees what is wrong."""

import pytest

from bench.webhooks.judge import judge, missing

STATES = {"a": "succeeded"}


def line(**more):
    fields = {
        "place": "job",
        "how": "taken",
        "id": "msg_a_3_hook",
        "type": "job.succeeded",
        "timestamp": "2026-11-25T09:00:00Z",
        "at": 1.0,
        "job": "a",
        "status": "succeeded",
        "sequence": 3,
        "body": "{}",
    }
    return fields | more


GOOD = [line(), line(place="endpoint", id="msg_a_3_we")]


def test_what_is_right_is_good():
    found = judge(GOOD, STATES)
    assert found.good
    assert (found.again, found.jobs, found.requests) == (0, {"succeeded": 1}, {"taken": 2})
    assert judge([*GOOD, line()], STATES).again == 1
    early = line(id="msg_a_2_hook", sequence=2, status="processing")
    assert judge([*GOOD, early], STATES).good, "what comes late is told by its sequence"


@pytest.mark.parametrize(
    "lines",
    [
        GOOD[:1],
        [GOOD[0], line(place="endpoint", how="error")],
        [*GOOD, line(sequence=4, id="msg_a_4_hook", status="failed")],
        [*GOOD, line(id="msg_other")],
        [*GOOD, line(body="{ }")],
        [*GOOD, {"place": "job", "how": "unverified"}],
        [*GOOD, {"place": "", "how": "followed"}],
    ],
)
def test_what_is_wrong_is_not(lines):
    assert not judge(lines, STATES).good


def test_an_end_that_was_refused_is_missing():
    assert missing([line(how="late")], ["a"]) == ["job a", "endpoint a"]
