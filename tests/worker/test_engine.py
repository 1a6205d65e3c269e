import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.support.standins import StandInRestorer, StandInVocoder
from worker.engine import Engine, RestoreItem, VocodeItem
from worker.engine.batcher import Batcher
from worker.models.constants import padded_length
from worker.models.interface import MelSpan, RestoreCondition


@pytest.fixture
def batcher():
    made = Batcher(max_batch_size=4, max_wait_ms=200)
    yield made
    made.close()


def test_equal_keys_share_a_batch_and_others_do_not(batcher):
    sizes = []

    def double(items):
        sizes.append(len(items))
        return [2 * item for item in items]

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(lambda n: batcher.submit(n % 2, double, [n])[0].result(), n) for n in range(8)]
        assert [job.result(5) for job in jobs] == [2 * n for n in range(8)]
    assert sorted(sizes) == [4, 4]


def test_one_bad_item_fails_alone(batcher):
    def strict(items):
        if "bad" in items:
            raise ValueError("bad item")
        return items

    futures = batcher.submit("k", strict, ["a", "bad", "b"])
    assert futures[0].result(5) == "a"
    assert futures[2].result(5) == "b"
    with pytest.raises(ValueError, match="bad item"):
        futures[1].result(5)


def test_all_work_is_done_on_one_thread(batcher):
    threads = set()

    def note(items):
        threads.add(threading.current_thread())
        return items

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: batcher.submit(n, note, [n])[0].result(), range(12)))
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_a_closing_batcher_finishes_what_it_has():
    made = Batcher(max_batch_size=1)
    gate = threading.Event()
    futures = made.submit("k", lambda items: [gate.wait(5) for _ in items], [1, 2])
    closer = threading.Thread(target=made.close)
    closer.start()
    gate.set()
    closer.join(5)
    assert [future.result(0) for future in futures] == [True, True]
    with pytest.raises(RuntimeError, match="closed"):
        made.submit("k", list, [1])


def test_a_busy_batcher_tells_for_how_long(batcher):
    assert batcher.busy_seconds() == 0
    begun, gate = threading.Event(), threading.Event()

    def hold(items):
        begun.set()
        gate.wait(5)
        return items

    future = batcher.submit("k", hold, [1])[0]
    begun.wait(5)
    assert batcher.busy_seconds() > 0
    gate.set()
    future.result(5)


def test_the_engine_keeps_items_and_answers_together():
    engine = Engine(restorer=StandInRestorer(), vocoder=StandInVocoder(), max_batch_size=3, max_wait_ms=20)
    rng = np.random.default_rng(0)
    windows = [rng.standard_normal(padded_length(frames)).astype(np.float32) for frames in (5, 9, 5, 5, 9)]
    mels = engine.restore([RestoreItem(window, RestoreCondition()) for window in windows])
    alone = [StandInRestorer().restore(torch.from_numpy(window)[None], [])[0, 0].numpy() for window in windows]
    for mel, wanted in zip(mels, alone, strict=True):
        np.testing.assert_array_equal(mel, wanted)
    span = MelSpan(first_frame=0, total_frames=9, total_samples=9 * 441 - 1, start=0, stop=441)
    assert [len(audio) for audio in engine.vocode([VocodeItem(mels[1], span)])] == [441]
    assert engine.model_label("restore") == "StandInRestorer"
    engine.close()
