"""The soak's verdicts: what it counts, what it lets pass, and what not. The soak itself is no test."""

import json
from dataclasses import replace

import pytest

import bench.chaos.__main__ as command
from bench.chaos.oracle import Outcome, unexplained_keys, unexplained_objects
from bench.chaos.recordings import make_kinds
from bench.chaos.report import Found, harmed, judge, shortcomings, summary, table
from bench.chaos.schedule import Amounts, draw
from bench.chaos.soak import GEOMETRY
from shared.jobs import Status
from shared.keys import chunk_key, ending_key, manifest_key, receipt_key, result_key, source_key
from shared.settings import load_settings

JOB, OTHER = "a" * 32, "b" * 32
GOOD = Outcome(JOB, "short", Status.SUCCEEDED, endings=1, results=1, sha256="s")
WELL = Found(
    accepted=100,
    unacknowledged=1,
    succeeded=101,
    failed={},
    lost=0,
    stuck=0,
    wrong=0,
    twice=0,
    calls=1300,
    needed=1000,
    recovery=[9.0, 15.0, 60.0],
)


def judged(*outcomes, **given):
    return judge(outcomes, {JOB}, results={"short": "s"}, needed={"short": 6}, calls=6, **given)


def test_a_job_that_ended_once_and_right_counts_as_succeeded():
    found = judged(GOOD)
    assert (found.accepted, found.succeeded, found.needed, harmed(found)) == (1, 1, 6, 0)
    assert shortcomings(replace(found, recovery=[1.0])) == []


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (Outcome(JOB), "lost"),
        (replace(GOOD, status=Status.PROCESSING, endings=0, results=0), "stuck"),
        (replace(GOOD, status=Status.CANCELING, endings=0, results=0), "stuck"),
        (replace(GOOD, sha256="t"), "wrong"),
        (replace(GOOD, sha256=""), "wrong"),
        (replace(GOOD, endings=2), "twice"),
        (replace(GOOD, results=2), "twice"),
    ],
)
def test_harm_to_a_job_is_counted_and_fails_the_run(outcome, counted):
    found = replace(judged(outcome), recovery=[1.0])
    harm = {name: getattr(found, name) for name in ("lost", "stuck", "wrong", "twice")}
    assert harm == {**dict.fromkeys(harm, 0), counted: 1}
    assert harmed(found) == 1
    assert shortcomings(found)


def test_a_failed_job_is_told_with_its_reason_and_fails_the_run():
    found = judged(replace(GOOD, status=Status.FAILED, error="chunk_failed its worker died", sha256=""))
    assert found.failed == {"failed: chunk_failed its worker died": 1}
    assert "1 × failed: chunk_failed its worker died" in table(found)
    assert any("chunk_failed" in one for one in shortcomings(found))


def test_a_job_whose_sender_got_no_answer_is_counted_apart_and_must_end_right_too():
    found = judged(GOOD, replace(GOOD, job_id=OTHER, sha256="t"))
    assert (found.accepted, found.unacknowledged, found.wrong, found.needed) == (1, 1, 1, 12)


@pytest.mark.parametrize(
    ("change", "short"),
    [
        ({}, []),
        ({"recovery": [9.0, 15.1, 16.0]}, ["recovery: 15.1 s"]),
        ({"recovery": []}, ["recovery: None s"]),
        ({"calls": 1301}, ["calls: 1301 of 1000 needed"]),
        ({"leftovers": ["vfq:leases"]}, ["leftovers: 1"]),
        ({"accepted": 0, "succeeded": 0}, ["no job succeeded"]),
    ],
)
def test_what_is_required_is_required(change, short):
    assert shortcomings(replace(WELL, **change)) == short


def test_a_run_is_told_as_a_table_and_as_json():
    told = json.loads(json.dumps(summary(replace(WELL, leftovers=["vfq:leases"]))))
    assert told["recovery"] == {"deaths": 3, "median": 15.0, "worst": 60.0}
    assert told["leftovers"] == 1
    assert "vfq:leases" in table(replace(WELL, leftovers=["vfq:leases"]))
    assert "not seen" in table(replace(WELL, recovery=[]))


@pytest.mark.parametrize(
    ("arguments", "lost", "status"), [([], 0, 0), ([], 1, 1), (["--plain"], 0, 1), (["--plain"], 1, 0)]
)
def test_without_leases_harm_is_what_a_run_is_to_show(monkeypatch, capsys, arguments, lost, status):
    monkeypatch.setattr(command, "soak", lambda asked: replace(WELL, lost=lost))
    assert command.main(arguments) == status
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["bench"], told["mode"], told["passed"]) == ("chaos", "plain" if arguments else "leases", status == 0)


def test_what_a_service_at_rest_keeps_in_redis_is_explained_and_all_else_is_not():
    kept = [f"v:job:{{{JOB}}}{part}" for part in ("", ":doc")]
    kept += [
        "v:jobs:local:succeeded",
        "v:jobs:local:expired",
        "v:labels",
        "v:stored",
        "v:ended",
        "v:events",
        "v:stats",
        "v:seq",
        "v:seen",
    ]
    kept += [
        "v:pulse",
        "v:workers:audio",
        "v:lead:sweeper",
        "v:turn:orphans",
        "v:_kombu.binding.0-interactive.1-first.0-stitch",
    ]
    left = [f"v:job:{{{JOB}}}{part}" for part in (":won", ":tries", ":out")] + [f"v:job:{{{OTHER}}}"]
    left += ["v:leases", "v:later", "v:sent:bulk:split", "v:open:bulk", "v:deadlines", "v:tidy", "v:gone", "v:unacked"]
    left += ["v:unacked_index", "v:jobs:local:processing", "v:0-interactive.1-first.0-stitch", "another:jobs"]
    assert unexplained_keys(kept + left, {JOB}, "v:") == sorted(left)


def test_of_a_job_that_is_over_only_recording_manifest_ending_and_results_are_explained():
    kept = [source_key(JOB), manifest_key(JOB), ending_key(JOB), result_key(JOB, 3), receipt_key(JOB, 3)]
    left = [chunk_key(JOB, "restore", 0, 1), source_key(OTHER), result_key(OTHER, 1), result_key(JOB, 1) + ".part", "x"]
    assert unexplained_objects(kept + left, {JOB}) == sorted(left)


def test_a_schedule_is_the_seeds_and_spreads_all_that_is_asked_for():
    amounts = Amounts(kills=50)
    events = draw(7, 240.0, amounts)
    assert events == draw(7, 240.0, amounts) != draw(8, 240.0, amounts)
    assert events == sorted(events, key=lambda event: event.at)
    assert all(0 < event.at < 240 for event in events)
    acts = [event.act for event in events]
    counts = [acts.count("kill a worker"), acts.count("kill Redis"), sum("storage" in act for act in acts)]
    assert counts == [50, 3, 3]
    assert {"storage refuses", "storage is silent"} <= set(acts)


def test_every_kind_of_job_is_another_recording_of_several_windows():
    kinds = make_kinds(1, load_settings(**GEOMETRY))
    assert len({kind.name for kind in kinds}) == len({kind.form for kind in kinds}) == len(kinds) >= 5
    assert all(kind.calls >= 4 for kind in kinds)
    assert [kind.form for kind in kinds] == [kind.form for kind in make_kinds(1, load_settings(**GEOMETRY))]
