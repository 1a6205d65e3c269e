import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from tests.support.standins import StandInRestorer, StandInVocoder
from worker.chunks import Geometry
from worker.engine import RestoreItem, VocodeItem, engine_of
from worker.engine.batcher import Batcher
from worker.engine.memory import MemoryExhausted, lost_device, ran_out_of_memory
from worker.engine.places import Cuda, Host
from worker.engine.served import label_of, usual_sizes
from worker.engine.usual import usual_items
from worker.models.constants import padded_length
from worker.models.interface import MelSpan, RestoreCondition
from worker.models.plain import PlainBackend


@pytest.fixture
def make():
    made = []

    def batcher(**options):
        made.append(Batcher(**{"max_wait_ms": 200, **options}))
        return made[-1]

    yield batcher
    for one in made:
        one.close()


@pytest.fixture
def batcher(make):
    return make()


def submit(batcher, key, run, items, most=4):
    return batcher.submit(((key, run, item) for item in items), most=most)


class Gate:
    """A run that waits until it is let through."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def run(self, items):
        self.begun.set()
        assert self.open.wait(5)
        return items


def test_equal_keys_share_a_batch_and_others_do_not(batcher):
    sizes, gate = [], Gate()
    held = submit(batcher, "held", gate.run, [0])
    gate.begun.wait(5)

    def double(items):
        sizes.append(len(items))
        return [2 * item for item in items]

    futures = [submit(batcher, n % 2, double, [n])[0] for n in range(8)]
    gate.open.set()
    assert [future.result(5) for future in futures] == [2 * n for n in range(8)]
    assert sizes == [4, 4]
    assert held[0].result(5) == 0


def test_one_bad_item_fails_alone(batcher):
    def strict(items):
        if "bad" in items:
            raise ValueError("bad item")
        return items

    futures = submit(batcher, "k", strict, ["a", "bad", "b"])
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
        list(pool.map(lambda n: submit(batcher, n, note, [n])[0].result(), range(12)))
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_two_model_threads_compute_two_batches_at_once(make):
    batcher = make(threads=2)
    meeting = threading.Barrier(2, timeout=5)

    def meet(items):
        meeting.wait()
        return items

    futures = submit(batcher, "a", meet, [1]) + submit(batcher, "b", meet, [2])
    assert [future.result(5) for future in futures] == [1, 2]


def test_a_batch_waits_for_what_is_on_its_way(make):
    batcher, sizes, about = make(max_wait_ms=5000), [], threading.Event()

    def note(items):
        sizes.append(len(items))
        return items

    def come():
        with batcher.coming():
            about.set()
            time.sleep(0.05)
            return submit(batcher, "k", note, [2])[0].result(5)

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(come)
        about.wait(5)
        assert submit(batcher, "k", note, [1])[0].result(4) == 1
        assert late.result(5) == 2
    assert sizes == [2]


def test_a_batch_waits_for_nothing_when_nothing_comes(make):
    batcher = make(max_wait_ms=600_000)
    with batcher.coming():
        assert submit(batcher, "k", list, [1, 2])[0].result(5) == 1
    with pytest.raises(OSError, match="unread"), batcher.coming():
        raise OSError("unread")
    assert submit(batcher, "k", list, [3])[0].result(5) == 3


def test_a_batch_does_not_wait_for_ever(make):
    batcher = make(max_wait_ms=10)
    with ThreadPoolExecutor(1) as pool, batcher.coming():
        assert pool.submit(lambda: submit(batcher, "k", list, [1])[0].result(5)).result(5) == 1


class Small:
    """A device with room for so many items."""

    def __init__(self, room, error=torch.OutOfMemoryError):
        self.room, self.error, self.sizes, self.released = room, error, [], 0

    def run(self, items):
        self.sizes.append(len(items))
        if len(items) > self.room:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [10 * item for item in items]

    def enter(self):
        pass

    def release(self):
        self.released += 1


def test_a_batch_without_memory_is_halved_and_the_size_that_fits_is_remembered(make):
    device = Small(room=2)
    batcher = make(place=device)
    futures = submit(batcher, "k", device.run, range(8), most=8)
    assert [future.result(5) for future in futures] == [10 * n for n in range(8)]
    assert device.sizes == [8, 4, 2, 2, 4, 2, 2]
    assert device.released == 3
    device.sizes.clear()
    assert [future.result(5) for future in submit(batcher, "k", device.run, range(5), most=8)] == [0, 10, 20, 30, 40]
    assert device.sizes == [2, 2, 1]
    [
        future.result(5)
        for future in submit(batcher, "other", lambda items: device.sizes.append(len(items)) or items, range(8), most=8)
    ]
    assert device.sizes[-1] == 8


def test_a_window_that_does_not_fit_alone_fails_with_what_to_do(make):
    device = Small(room=0, error=lambda text: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    batcher = make(place=device)
    for future in submit(batcher, "k", device.run, [1, 2]):
        with pytest.raises(MemoryExhausted, match="VFQ_CORE_FRAMES"):
            future.result(5)
    assert MemoryExhausted.code == "model_out_of_memory"


def test_what_a_batch_without_memory_held_is_gone_before_the_next_try(make):
    held, alive = [], []

    class Device(Small):
        def release(self):
            gc.collect()
            alive.append([one for one in held if one() is not None])

    def run(items):
        tensor = torch.zeros(8)
        held.append(weakref.ref(tensor))
        if len(items) > 1:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            except RuntimeError as error:
                raise RuntimeError("the wrapped CUDA out of memory") from error
        return items

    batcher = make(place=Device(1))
    assert [future.result(5) for future in submit(batcher, "k", run, [1, 2])] == [1, 2]
    assert alive == [[]]


def test_a_lost_device_ends_its_thread_and_fails_no_job(make):
    batcher = make()

    def broken(items):
        raise RuntimeError("CUDA error: an illegal memory access was encountered, says /home/somebody/libcuda.so")

    with capture_logs() as lines:
        futures = submit(batcher, "k", broken, [1, 2])
        deadline = time.monotonic() + 5
        while batcher.alive() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert not batcher.alive()
    assert not any(future.done() for future in futures)
    [line] = [line for line in lines if line["log_level"] == "error"]
    assert line["reason"] == "RuntimeError"
    assert "somebody" not in str(line), "the library's words are for who looks closer"
    assert [line["log_level"] for line in lines if "exc_info" in line] == ["debug"]


@pytest.mark.parametrize(
    ("error", "no_memory", "lost"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried…"), True, False),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True, False),
        (MemoryError(), True, False),
        (RuntimeError("CUDA error: unspecified launch failure"), False, True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, False),
        (ValueError("out of memory"), False, False),
    ],
)
def test_errors_tell_what_is_wrong_with_the_device(error, no_memory, lost):
    assert (ran_out_of_memory(error), lost_device(error)) == (no_memory, lost)


def test_a_closing_batcher_finishes_what_it_has():
    made, gate = Batcher(), Gate()
    futures = submit(made, "k", gate.run, [1, 2])
    closer = threading.Thread(target=made.close)
    closer.start()
    gate.open.set()
    closer.join(5)
    assert [future.result(0) for future in futures] == [1, 2]
    with pytest.raises(RuntimeError, match="closed"):
        submit(made, "k", list, [1])


def test_a_busy_batcher_tells_for_how_long(batcher):
    assert batcher.busy_seconds() == 0
    gate = Gate()
    future = submit(batcher, "k", gate.run, [1])[0]
    gate.begun.wait(5)
    assert batcher.busy_seconds() > 0
    gate.open.set()
    future.result(5)


def items_of(*frames):
    rng = np.random.default_rng(0)
    windows = [rng.standard_normal(padded_length(count)).astype(np.float32) for count in frames]
    return [RestoreItem(window, RestoreCondition()) for window in windows]


SPAN = MelSpan(first_frame=0, total_frames=9, total_samples=9 * 441 - 1, start=0, stop=441)


class HostStreams:
    """What the CUDA place uses, on a CPU: it poisons pinned memory, as another batch might, and counts."""

    def __init__(self):
        self.entered, self.waits, self.releases, self.lent = 0, 0, 0, []

    def enter(self):
        self.entered += 1

    def pinned(self, shape):
        for old in self.lent:
            old.fill_(float("nan"))
        self.lent = [torch.full(shape, float("nan"))]
        return self.lent[0]

    def wait(self):
        self.waits += 1

    def release(self):
        self.releases += 1


@pytest.mark.parametrize("on_cuda", [False, True])
def test_the_engine_keeps_items_and_answers_together(on_cuda):
    streams = HostStreams()
    place = Cuda(torch.device("cpu"), streams=streams) if on_cuda else Host()
    engine = engine_of(restorer=StandInRestorer(), vocoder=StandInVocoder(), max_batch_size=3, place=place)
    items = items_of(5, 9, 5, 5, 9)
    mels = engine.restore(items)
    alone = [StandInRestorer().restore(torch.from_numpy(item.padded)[None], [])[0, 0].numpy() for item in items]
    again = engine.restore(items)
    for mel, other, wanted in zip(mels, again, alone, strict=True):
        np.testing.assert_array_equal(mel, wanted)
        np.testing.assert_array_equal(other, wanted)
    assert [len(audio) for audio in engine.vocode([VocodeItem(mels[1], SPAN)])] == [441]
    engine.close()
    if on_cuda:
        assert streams.entered == 1
        assert streams.waits >= 5


def test_a_label_names_model_weights_backend_precision_and_device():
    restorer = StandInRestorer()
    backend = PlainBackend()
    backend.precision = "bf16"
    assert label_of(restorer, backend) == "StandInRestorer - torch fp32 cpu"
    restorer.weights = {"b": "f" * 64, "a": "0" * 64}
    assert label_of(restorer, backend) == f"StandInRestorer sha256:{'0' * 64}+{'f' * 64} torch bf16 cpu"
    engine = engine_of(restorer=restorer, backend=backend)
    assert engine.model_label("restore") == label_of(restorer, backend)
    engine.close()


def test_warming_up_computes_every_usual_size_on_every_thread():
    class Noting(StandInRestorer):
        def __init__(self):
            self.seen = []

        def restore(self, padded, conditions):
            self.seen.append((threading.current_thread().name, len(padded)))
            return super().restore(padded, conditions)

    noting = Noting()
    engine = engine_of(restorer=noting, vocoder=StandInVocoder(), max_batch_size=6, threads=2)
    engine.warm_up([*items_of(4), VocodeItem(np.ones((9, 128), np.float32), SPAN)])
    engine.close()
    assert sorted(noting.seen) == sorted((f"model-{n}", size) for n in (0, 1) for size in (6, 4, 2, 1))
    assert usual_sizes(1) == [1]
    assert usual_sizes(8) == [8, 4, 2, 1]


def test_the_usual_windows_are_those_of_a_long_file():
    restored, first, inner = usual_items(Geometry(core=3008, context=640, halo=580), ("restore", "vocode"))
    assert len(restored.padded) == padded_length(3008 + 2 * 640)
    assert [len(item.mel) for item in (first, inner)] == [3588, 4168]
    assert {item.span.stop - item.span.start for item in (first, inner)} == {3008 * 441}
    assert all((item.mel >= 0).all() for item in (first, inner))


def test_a_model_thread_computes_on_its_share_of_the_cores():
    seen = []

    class Noting(StandInRestorer):
        def restore(self, padded, conditions):
            seen.append(torch.get_num_threads())
            return super().restore(padded, conditions)

    engine = engine_of(restorer=Noting(), threads=2, place=Host(threads=1))
    engine.restore(items_of(4))
    engine.close()
    assert seen == [1]
