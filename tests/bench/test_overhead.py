"""The bench of the queue's cost runs the service for real; how fast it is, is not asked here."""

import json

import numpy as np

from bench.alone import plan_of, restore_alone
from bench.overhead import chunks_of, main
from bench.standins import costless_engine
from shared.settings import RestorerType, Settings, VocoderType
from worker.models.registry import RESTORERS, VOCODERS


def test_it_measures_jobs_and_chunks_through_the_whole_service(capsys):
    status = main(["--jobs", "4", "--clients", "2", "--seconds", "70", "--rounds", "1"])
    *table, line = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert len(table) == 3
    assert told["jobs_per_second"]["median"] > 0
    assert told["chunks_per_second"]["70"]["median"] > 0
    assert {"redis", "api", "audio", "models 1", "clients"} == set(told["jobs_per_second"]["cpu_ms"])
    assert status == (0 if told["passed"] else 1)


def test_networks_that_cost_nothing_are_no_choice_of_users():
    offered = {*RESTORERS, *VOCODERS, *RestorerType.__args__, *VocoderType.__args__}
    assert not [name for name in offered if "Costless" in name]


def test_the_engine_alone_passes_every_window_once():
    engine = costless_engine(Settings(), ("restore", "vocode"))
    seen = []
    restore, vocode = engine.restore, engine.vocode
    engine.restore = lambda items: seen.append("restore") or restore(items)
    engine.vocode = lambda items: seen.append("vocode") or vocode(items)
    audio = np.zeros(75 * 44_100, np.float32)
    assert restore_alone(engine, audio, plan_of(len(audio), Settings())) > 0
    engine.close()
    assert seen == ["restore"] * chunks_of(75) + ["vocode"] * chunks_of(75)
