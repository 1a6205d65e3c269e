import io
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch

from shared.catalog import read_catalog
from shared.jobs import Status
from shared.records import Piece
from shared.settings import Settings
from tests.support.standins import StandInRestorer, StandInVocoder
from worker.models.griffin_lim import GriffinLimVocoder
from worker.models.spectral_gate import SpectralGateRestorer

RATE = 44_100


def wav(samples, rate=RATE, subtype="FLOAT", form="WAV"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=form)
    return file.getvalue()


def noise(samples, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


def decoded(data):
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)


@pytest.mark.parametrize("samples", [1, 440, 1024, 1025, 50_000, 441 * 256, 441 * 256 - 1, 300_123])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_windows_give_what_one_window_gives(bench, samples, channels):
    data = wav(noise(samples, channels))
    small, whole = bench(), bench(core_frames=64 * 100)
    results = []
    for worker in (small, whole):
        job = worker.submit(data)
        worker.run()
        audio, rate = decoded(worker.result(job))
        assert (audio.shape, rate) == ((samples, channels), RATE)
        results.append(audio)
    np.testing.assert_array_equal(*results)


def test_working_objects_are_gone_when_the_job_is_over(bench):
    worker = bench()
    job = worker.submit(wav(noise(200_000)))
    worker.run()
    assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]


def test_every_task_may_run_twice(bench):
    once, twice = bench(), bench()
    data = wav(noise(200_000, 2))
    results = []
    for worker in (once, twice):
        job = worker.submit(data)
        while worker.waiting:
            if worker is twice:
                worker.waiting.appendleft(worker.waiting[0])
                worker.step()
            worker.step()
        results.append(worker.result(job))
        assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]
    assert results[0] == results[1]
    assert once.sent == twice.sent


def test_two_attempts_at_one_piece_leave_one_object(bench, monkeypatch):
    """Both begin before either ends: the second to finish finds that it does not count and cleans up."""
    worker = bench()
    job = worker.submit(wav(noise(200_000)))
    worker.step()
    message = worker.waiting[0]
    piece = message.piece
    complete = worker.records.complete

    def late(job_id, claim, *, model, spent):
        if claim.attempt == 1:
            worker.step_elsewhere(message)
        return complete(job_id, claim, model=model, spent=spent)

    monkeypatch.setattr(worker.records, "complete", late)
    worker.step()
    monkeypatch.undo()
    assert worker.records.winners(job, [piece]) == [2]
    assert [key for key in worker.objects(job) if key.startswith("work/restore/0.")] == ["work/restore/0.2"]
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED


def test_windows_done_in_any_order_give_the_same_bytes(bench):
    data = wav(noise(400_000))
    results = []
    for order in (0, -1):
        worker = bench()
        job = worker.submit(data)
        while worker.waiting:
            worker.step(order)
        results.append(worker.result(job))
    assert results[0] == results[1]


def test_restore_alone_and_vocode_alone_make_the_chain(bench):
    data = wav(noise(300_000, 2))
    worker = bench()
    chain, mel_job = worker.submit(data), worker.submit(data, stages="restore")
    worker.run()
    mel = worker.result(mel_job)
    assert np.load(io.BytesIO(mel)).shape == (2, 300_000 // 441 + 1, 128)
    assert np.load(io.BytesIO(mel)).dtype == np.float32
    vocoded = worker.submit(mel, filename="mel.npy", stages="vocode", samples=300_000, output={"bit_depth": 32})
    worker.run()
    np.testing.assert_array_equal(decoded(worker.result(vocoded))[0], decoded(worker.result(chain))[0])


@pytest.mark.parametrize("samples", [1, 440, 441, 881, 882, 1024, 1025])
def test_the_mel_of_a_very_short_recording_can_be_vocoded(bench, samples):
    """A mel that was sent is as long as its samples: nothing was extended."""
    worker = bench(restorer=SpectralGateRestorer(), vocoder=GriffinLimVocoder(1))
    worker.ctx.catalog = read_catalog(Settings(restorer="SpectralGateRestorer"))
    restored = worker.submit(wav(noise(samples)), stages="restore")
    worker.run()
    vocoded = worker.submit(worker.result(restored), stages="vocode", samples=samples)
    worker.run()
    assert decoded(worker.result(vocoded))[0].shape == (samples, 1)


def test_a_mel_may_be_asked_for_by_its_format(bench):
    worker = bench()
    job = worker.submit(wav(noise(50_000, 2)), stages="restore", output={"format": "npy", "channels": "mono"})
    worker.run()
    assert np.load(io.BytesIO(worker.result(job))).shape == (1, 50_000 // 441 + 1, 128)


def test_vocode_alone_is_441_samples_a_frame_but_the_last(bench):
    worker = bench()
    mel = io.BytesIO()
    np.save(mel, np.ones((300, 128)))
    job = worker.submit(mel.getvalue(), stages="vocode")
    worker.run()
    assert decoded(worker.result(job))[0].shape == (441 * 299, 1)


def test_a_mel_may_come_as_a_restorer_gives_it(bench):
    """`[B, 1, T, 128]`: each item is a channel."""
    worker = bench()
    mel = np.random.default_rng(3).random((2, 1, 300, 128), np.float32)
    results = []
    for array in (mel, mel[:, 0]):
        file = io.BytesIO()
        np.save(file, array)
        job = worker.submit(file.getvalue(), stages="vocode", output={"bit_depth": 32})
        worker.run()
        results.append(decoded(worker.result(job))[0])
    assert results[0].shape == (441 * 299, 2)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("array", "code", "words"),
    [
        (np.ones((10, 80), np.float32), "mel_invalid", "128"),
        (np.ones(128, np.float32), "mel_invalid", "128"),
        (np.ones((9, 10, 128), np.float32), "mel_invalid", "channels"),
        (np.ones((0, 128), np.float32), "mel_invalid", "frame"),
        (np.ones((1, 128), np.float32), "mel_invalid", "samples"),
        (np.full((10, 128), np.nan, np.float32), "mel_invalid", "NaN"),
        (np.full((10, 128), -1, np.float32), "mel_invalid", "negative"),
        (np.ones((10, 128), np.int16), "mel_unreadable", "floating point"),
        (np.array([{"a": 1}], dtype=object), "mel_unreadable", "floating point"),
        (np.ones((10, 128), [("a", "<f4")]), "mel_unreadable", "floating point"),
        (np.asfortranarray(np.ones((10, 128), np.float32)), "mel_unreadable", "ascontiguousarray"),
        (np.float32(1), "mel_invalid", "[]"),
        (np.ones((1, 2, 10, 128), np.float32), "mel_invalid", "[C, 1, T, 128]"),
        (np.ones((1, 1, 1, 10, 128), np.float32), "mel_invalid", "[1, 1, 1, 10, 128]"),
        (np.full((10, 128), 1e300), "mel_invalid", "infinite"),
        (np.full((10, 128), 1e30), "mel_invalid", "above"),
    ],
)
def test_a_mel_that_cannot_be_vocoded_says_why(bench, array, code, words):
    worker = bench()
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    job = worker.submit(file.getvalue(), stages="vocode")
    worker.run()
    error = worker.records.get(job).error
    assert error.code == code
    assert words in error.message
    assert worker.objects(job) == ["end.json", "source"]


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_a_mel_that_is_no_array_is_unreadable(bench, data):
    worker = bench()
    job = worker.submit(data, stages="vocode")
    worker.run()
    assert worker.records.get(job).error.code == "mel_unreadable"


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': (",
        "(" * 230,
        "{[]: 1}",
        "{1: 2, 'a': 3}",
        "-" * 200 + "1",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 128)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (%s, 128)}" % 10**150,
        "{'descr': ('<f4', (128,)), 'fortran_order': False, 'shape': (3,)}",
    ],
)
def test_a_header_that_means_harm_is_unreadable(bench, header):
    worker = bench()
    job = worker.submit(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode(), stages="vocode")
    worker.run()
    assert worker.records.get(job).error.code == "mel_unreadable"


def test_a_mel_cut_short_is_unreadable(bench):
    worker = bench()
    file = io.BytesIO()
    np.save(file, np.ones((300, 128), np.float32))
    job = worker.submit(file.getvalue()[:-1], stages="vocode")
    worker.run()
    assert worker.records.get(job).error.code == "mel_unreadable"


def test_a_longer_recording_than_allowed_fails_with_the_limit(bench):
    worker = bench(max_duration_seconds=2)
    good, bad = worker.submit(wav(noise(2 * RATE))), worker.submit(wav(noise(2 * RATE + 1)))
    worker.run()
    assert worker.records.get(good).status is Status.SUCCEEDED
    assert worker.records.get(bad).error.code == "audio_too_long"
    assert "2 s" in worker.records.get(bad).error.message


def test_a_mono_request_mixes_down_before_the_models(bench):
    worker = bench()
    job = worker.submit(wav(noise(100_000, 2)), output={"channels": "mono"})
    worker.run()
    assert decoded(worker.result(job))[0].shape == (100_000, 1)


def test_resampling_that_would_clip_gets_one_gain_for_the_whole_file(bench):
    class Loud(StandInVocoder):
        def vocode(self, mel, spans):
            return super().vocode(mel, spans).sign() * 0.999

    worker = bench(vocoder=Loud())
    job = worker.submit(wav(noise(60_000)), output={"sample_rate": 48_000, "bit_depth": 16})
    worker.run()
    assert worker.records.get(job).output.gain_db < 0
    audio = decoded(worker.result(job))[0]
    assert np.abs(audio).max() <= 1.0
    assert len(audio) == (60_000 * 48_000 + 22_050) // 44_100


def test_a_job_canceled_in_the_middle_stops_and_frees_its_objects(bench):
    worker = bench()
    job = worker.submit(wav(noise(900_000)))
    for _ in range(4):
        worker.step()
    assert worker.records.cancel(job) is Status.CANCELED, "no worker has a piece of it in hand"
    worker.sweep()
    assert worker.records.get(job).status is Status.CANCELED
    assert worker.objects(job) == ["end.json", "source"]
    assert Piece("stitch") not in worker.sent


def test_a_step_that_breaks_again_and_again_fails_its_job_and_the_next_one_runs(bench):
    class Broken(StandInRestorer):
        def restore(self, padded, conditions):
            if padded.abs().max() > 0.9:
                raise RuntimeError("secret detail of a library")
            return super().restore(padded, conditions)

    worker = bench(restorer=Broken())
    bad, good = worker.submit(wav(np.ones(50_000))), worker.submit(wav(noise(50_000)))
    worker.run()
    error = worker.records.get(bad).error
    assert (error.code, error.attempts) == ("chunk_failed", 3)
    assert "RuntimeError" in error.cause
    assert "secret" not in error.message + error.cause
    assert worker.objects(bad) == ["end.json", "source"]
    assert worker.records.get(good).status is Status.SUCCEEDED


class BadMel(StandInRestorer):
    def restore(self, padded, conditions):
        return super().restore(padded, conditions) * -1


class BadSamples(StandInVocoder):
    def vocode(self, mel, spans):
        return super().vocode(mel, spans) * float("nan")


@pytest.mark.parametrize(
    ("models", "stages", "stage"),
    [
        ({"restorer": BadMel()}, "restore", "restore"),
        ({"restorer": BadMel()}, "restore,vocode", "restore"),
        ({"vocoder": BadSamples()}, "restore,vocode", "vocode"),
    ],
)
def test_a_model_that_gives_no_numbers_fails_the_job_at_its_stage(bench, models, stages, stage):
    worker = bench(**models)
    job = worker.submit(wav(noise(50_000)), stages=stages)
    worker.run()
    error = worker.records.get(job).error
    assert (error.code, error.stage) == ("model_output_invalid", stage)


def test_cancelling_is_seen_while_the_band_is_limited(bench, monkeypatch):
    worker = bench()
    job = worker.submit(wav(noise(50_000)), mode=1)

    read = []
    stream = worker.store.stream

    def cancelled(key, *args, **kwargs):
        worker.records.cancel(job)
        read.append(key.rpartition("/")[2])
        return stream(key, *args, **kwargs)

    monkeypatch.setattr(worker.store, "stream", cancelled)
    worker.run()
    assert read == ["raw.1"], "the first of two passes is not finished"
    assert worker.records.get(job).status is Status.CANCELED
    assert worker.objects(job) == ["end.json", "source"]


def test_mode_2_windows_are_cross_faded(bench):
    class Levels(StandInRestorer):
        """Every window is another constant, as if its statistics were its own."""

        def restore(self, padded, conditions):
            seeds = [condition.seed for condition in conditions]
            assert all(condition.mode == 2 for condition in conditions)
            level = [10.0 ** (1 + seed // (8 * 1_000_003) % 2) for seed in seeds]
            return super().restore(padded, conditions) * 0 + torch.tensor(level)[:, None, None, None]

    worker = bench(restorer=Levels())
    job = worker.submit(wav(noise(200_000)), mode=2, stages="restore")
    worker.run()
    level = np.log10(np.load(io.BytesIO(worker.result(job)))[0, :, 0])
    assert level[0] == pytest.approx(1, abs=1e-4)
    assert level[128] == pytest.approx(1.5, abs=0.02)
    assert level[128 + 40] == pytest.approx(2, abs=1e-4)
    assert np.abs(np.diff(level)).max() < 0.02


def test_memory_does_not_follow_the_rates(bench):
    """A block at 1 kHz holds 44 times its samples at the working rate, a window 4 times its own at 192 kHz."""
    worker = bench(core_frames=64 * 47)
    job = worker.submit(wav(noise(34_000, 8), 1_000, "PCM_16"), output={"sample_rate": 192_000})
    peaks = {}
    while worker.waiting:
        kind = worker.next().kind
        tracemalloc.start()
        worker.step()
        peaks[kind] = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
    assert worker.records.get(job).output.samples == 34 * 192_000
    window = 3008 * 441 * 8 * 4 / 2**20
    assert peaks["split"] < 2 * window
    assert peaks["stitch"] < 2.5 * window


def test_the_noise_is_measured_for_the_restorer_that_goes_by_it(bench):
    worker = bench(restorer=SpectralGateRestorer())
    job = worker.submit(wav(noise(100_000)))
    worker.step()
    assert not any("noise" in name for name in worker.objects(job))
    worker.ctx.catalog = read_catalog(Settings(restorer="SpectralGateRestorer"))
    other = worker.submit(wav(noise(100_000)))
    worker.step(at=len(worker.waiting) - 1)
    assert "work/noise.1" in worker.objects(other)
    worker.run()
    assert worker.records.get(other).status is Status.SUCCEEDED
    error = worker.records.get(job).error
    assert (error.code, error.stage) == ("noise_unknown", "restore")
    assert "VFQ_RESTORER" in error.message
