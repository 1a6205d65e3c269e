"""Several models in one engine: by name, on the model threads of their devices, never in one batch."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch

from tests.support.standins import StandInRestorer
from worker.engine import Engine, RestoreItem
from worker.engine.devices import Devices
from worker.engine.once import Once
from worker.engine.places import Host
from worker.engine.served import serve_restorer
from worker.models.constants import padded_length
from worker.models.errors import ModelNotServed
from worker.models.interface import RestoreCondition
from worker.models.plain import PlainBackend

WINDOW = RestoreItem(np.ones(padded_length(4), np.float32), RestoreCondition())


class Scaling(StandInRestorer):
    """Multiplies; notes the sizes of its batches, and waits until it is let through."""

    def __init__(self, factor):
        self.factor, self.sizes = factor, []
        self.begun, self.open = threading.Event(), threading.Event()
        self.open.set()

    def restore(self, padded, conditions):
        self.sizes.append(len(padded))
        self.begun.set()
        assert self.open.wait(5)
        return self.factor * super().restore(padded, conditions)


@pytest.fixture
def serving():
    """Make an engine of restorers, each with its device and its largest batch; none is loaded yet."""
    engines = []

    def make(models, *, max_wait_ms=2000.0):
        devices, loads = Devices(max_wait_ms=max_wait_ms), []
        for _, device, _ in models.values():
            most = max(size for _, other, size in models.values() if other == device)
            devices.open(torch.device(device), threads=1, most=most, place=Host())

        def load(name, model, device, most):
            loads.append(name)
            there = devices.open(torch.device(device), threads=1, most=most)
            return serve_restorer(model, PlainBackend(), there, most=most)

        restorers = {name: Once(partial(load, name, *one)) for name, one in models.items()}
        engines.append(Engine(devices, restorers=restorers))
        return engines[-1], loads

    yield make
    for engine in engines:
        engine.close()


def level(engine, name=None):
    return engine.restore([WINDOW], name)[0].max()


def test_models_are_found_by_name_and_the_first_is_meant_by_none(serving):
    engine, loads = serving({"a": (Scaling(2), "cpu", 1), "b": (Scaling(3), "cpu", 1)})
    assert loads == []
    assert [level(engine), level(engine, "a"), level(engine, "b"), level(engine, "b")] == [2, 2, 3, 3]
    assert loads == ["a", "b"]


@pytest.mark.parametrize(("stage", "name"), [("restore", "c"), ("vocode", "a"), ("vocode", None)])
def test_a_model_that_is_not_served_is_an_error_that_says_what_to_do(serving, stage, name):
    engine, _ = serving({"a": (Scaling(2), "cpu", 1)})
    with pytest.raises(ModelNotServed, match=rf"{name or 'no model'}.*{stage}.*VFQ_CONFIG"):
        engine.coming(stage, name)


def test_a_batch_mixes_no_models_and_is_as_large_as_its_own_model_allows(serving):
    two, three = Scaling(2), Scaling(3)
    engine, _ = serving({"a": (two, "cpu", 2), "b": (three, "cpu", 3)})
    assert engine.at_once == 3
    two.open.clear()
    with ThreadPoolExecutor(12) as pool:
        held = pool.submit(level, engine, "a")
        assert two.begun.wait(5)
        asked = [pool.submit(level, engine, name) for name in "ababababab"]
        batcher = engine._devices._open["cpu"].batcher
        until = time.monotonic() + 5
        while len(batcher._waiting) < 10 and time.monotonic() < until:
            time.sleep(0.01)
        two.open.set()
        assert [one.result(5) for one in asked] == [2, 3] * 5
        assert held.result(5) == 2
    assert two.sizes == [1, 2, 2, 1]
    assert three.sizes == [3, 2]


def test_devices_compute_beside_each_other(serving):
    slow, quick = Scaling(2), Scaling(3)
    engine, _ = serving({"a": (slow, "cpu", 1), "b": (quick, "meta", 4)})
    assert engine.at_once == 5
    slow.open.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(level, engine, "a")
        assert slow.begun.wait(5)
        assert level(engine, "b") == 3
        assert engine.busy_seconds() > 0, "the other one still computes"
        slow.open.set()
        assert held.result(5) == 2
    assert engine.alive()


def test_what_comes_to_one_device_keeps_no_other_waiting(serving):
    engine, _ = serving({"a": (Scaling(2), "cpu", 2), "b": (Scaling(3), "meta", 2)}, max_wait_ms=600_000.0)
    with engine.coming("restore", "a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(level, engine, "b").result(5) == 3


def test_a_lost_model_thread_of_any_device_is_told(serving):
    class Broken(StandInRestorer):
        def restore(self, padded, conditions):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    engine, _ = serving({"a": (Scaling(2), "cpu", 1), "b": (Broken(), "meta", 1)})
    threading.Thread(target=engine.restore, args=([WINDOW], "b"), daemon=True).start()  # nobody answers it
    until = time.monotonic() + 5
    while engine.alive() and time.monotonic() < until:
        time.sleep(0.01)
    assert not engine.alive()
    assert level(engine, "a") == 2
