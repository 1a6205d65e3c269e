"""The receipt that a worker leaves beside a result, against files and figures of others."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile

from bench.signals import speech_like
from shared.catalog import read_catalog
from shared.jobs import Status
from shared.keys import receipt_key, source_key
from shared.receipt import Receipt
from shared.settings import Settings
from tests.support.standins import StandInRestorer, StandInVocoder
from tests.worker.audio.made import by_ffmpeg
from worker.models.griffin_lim import GriffinLimVocoder
from worker.models.spectral_gate import SpectralGateRestorer

RATE = 44_100
SAMPLE = Path(__file__).parents[2] / "samples" / "degraded-speech.wav"


def wav(samples, rate=RATE, subtype="PCM_16", form="WAV"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=form)
    return file.getvalue()


def speech(seconds, channels=1):
    voice = speech_like(int(seconds * RATE), 2).reshape(-1, 1)
    return np.repeat(voice, channels, axis=1).astype(np.float32)


def receipt(worker, job) -> Receipt:
    done = worker.records.get(job)
    assert done.error is None, done.error
    return Receipt.model_validate_json(worker.store.read(done.receipt_key))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Mute(StandInVocoder):
    def vocode(self, mel, spans):
        return 0 * super().vocode(mel, spans)


class Roaring(StandInVocoder):
    def vocode(self, mel, spans):
        made = super().vocode(mel, spans)
        noise = np.random.default_rng(0).uniform(-0.99, 0.99, made.shape).astype(np.float32)
        return made * 0 + made.new_tensor(noise)


@pytest.fixture
def baseline(bench):
    """The weight-free models, in windows of the usual size."""
    sizes = {"core_frames": 3008, "context_frames": 640, "halo_frames": 580}
    worker = bench(restorer=SpectralGateRestorer(), vocoder=GriffinLimVocoder(16), **sizes)
    worker.ctx.catalog = read_catalog(Settings(restorer="SpectralGateRestorer"))
    return worker


def test_a_good_result_is_not_marked_and_its_receipt_tells_all(baseline):
    worker = baseline
    data = SAMPLE.read_bytes()
    job = worker.submit(data, filename="tape.wav", output={"bit_depth": 24}, mode=0, metadata={"shelf": "A 12"})
    worker.run()
    found, result = receipt(worker, job), worker.result(job)
    assert not found.check.needs_review
    assert found.check.reasons == []
    assert worker.records.get(job).output.needs_review is False
    assert (found.job_id, found.software.name) == (job, "voicefixer-queue")
    assert found.created_at < found.written_at
    for side, content, depth in ((found.source, data, 16), (found.result, result, 24)):
        audio, rate = soundfile.read(io.BytesIO(content), always_2d=True)
        assert (side.sha256, side.bytes) == (sha256(content), len(content))
        assert (side.format, side.codec, side.bit_depth) == ("wav", f"pcm_{depth}", depth)
        assert (side.samples, side.channels, side.sample_rate) == (len(audio), audio.shape[1], rate)
        assert side.seconds == pytest.approx(len(audio) / rate, abs=1e-6)
        assert side.levels.loudness_lufs == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(audio), abs=0.15)
        peak = 20 * np.log10(np.abs(audio).max())
        assert side.levels.channel_peaks_dbfs == [pytest.approx(peak, abs=0.01)]
        assert peak <= side.levels.true_peak_dbtp < peak + 1
    assert (found.source.filename, found.result.filename) == ("tape.wav", "tape-restored.wav")
    assert found.result.levels.noise_floor_dbfs < found.source.levels.noise_floor_dbfs - 10
    assert found.parameters.model_dump(exclude={"output"}) == {
        "stages": ["restore", "vocode"],
        "mode": 0,
        "seed": 0,
        "samples": None,
        "gain_db": 0.0,
    }
    assert found.parameters.output.bit_depth == 24
    assert [(model.stage, model.model_type, model.weights_sha256, model.device) for model in found.models] == [
        ("restore", "SpectralGateRestorer", [], "cpu"),
        ("vocode", "GriffinLimVocoder", [], "cpu"),
    ]
    spent = found.seconds
    assert all(seconds > 0 for seconds in (spent.split, spent.restore, spent.vocode, spent.stitch))
    assert spent.vocode == pytest.approx(found.models[1].seconds)


@pytest.mark.parametrize("form", ["wav", "flac", "aiff", "ogg", "mp3"])
def test_hash_and_form_are_those_of_the_finished_file(bench, form):
    worker = bench()
    job = worker.submit(wav(speech(3, 2)), output={"format": form, "sample_rate": 48_000})
    worker.run()
    found, data = receipt(worker, job).result, worker.result(job)
    info = soundfile.info(io.BytesIO(data))
    assert (found.sha256, found.bytes, found.format) == (sha256(data), len(data), form)
    assert (found.codec, found.samples, found.sample_rate) == (info.subtype.lower(), info.frames, 48_000)
    assert found.samples == worker.records.get(job).output.samples


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("matroska", "flac")])
def test_a_source_is_hashed_as_it_was_sent(bench, container, codec):
    worker = bench()
    data = by_ffmpeg(speech(3), RATE, container, codec) + b"and what follows"
    job = worker.submit(data, filename="a.m4a")
    worker.run()
    found = receipt(worker, job).source
    assert (found.sha256, found.bytes, found.codec) == (sha256(data), len(data), codec)
    assert found.sample_rate == RATE


def test_a_source_is_measured_before_it_is_mixed_down(bench):
    worker = bench()
    both = np.concatenate([speech(3), 0.25 * speech(3)], axis=1)
    job = worker.submit(wav(both, subtype="FLOAT"), output={"channels": "mono"})
    worker.run()
    found = receipt(worker, job)
    assert (found.source.channels, found.result.channels) == (2, 1)
    left, right = found.source.levels.channel_peaks_dbfs
    assert left - right == pytest.approx(12.04, abs=0.02)


def test_the_gain_is_told_and_the_levels_are_those_after_it(bench):
    class Loud(StandInVocoder):
        def vocode(self, mel, spans):
            return super().vocode(mel, spans) * 0 + 2.0

    worker = bench(vocoder=Loud())
    job = worker.submit(wav(speech(2)), output={"bit_depth": 16})
    worker.run()
    found = receipt(worker, job)
    assert found.parameters.gain_db == -6.02
    assert found.result.levels.channel_peaks_dbfs == [0.0]
    assert "clipping" in [reason.code for reason in found.check.reasons], "a flat line at full scale"


def test_mels_have_receipts_too(bench):
    worker = bench()
    job = worker.submit(wav(speech(5, 2)), stages="restore")
    worker.run()
    mel, found = worker.result(job), receipt(worker, job)
    assert (found.result.sha256, found.result.bytes, found.result.format) == (sha256(mel), len(mel), "npy")
    assert (found.result.frames, found.result.samples, found.result.levels) == (5 * RATE // 441 + 1, None, None)
    assert found.result.mel_peak == pytest.approx(float(np.load(io.BytesIO(mel)).max()))
    assert (found.seconds.vocode, [model.stage for model in found.models]) == (None, ["restore"])
    assert not found.check.needs_review

    job = worker.submit(mel, filename="mel.npy", stages="vocode")
    worker.run()
    found = receipt(worker, job)
    assert (found.source.sha256, found.source.bytes, found.source.channels) == (sha256(mel), len(mel), 2)
    assert (found.source.frames, found.source.levels) == (5 * RATE // 441 + 1, None)
    assert found.result.levels.loudness_lufs is not None
    assert found.seconds.restore is None


@pytest.mark.parametrize(("vocoder", "code"), [(Mute(), "silence"), (Roaring(), "noise")])
def test_a_result_that_cannot_be_right_is_marked(bench, vocoder, code):
    worker = bench(vocoder=vocoder)
    job = worker.submit(wav(speech(4)))
    worker.run()
    found, done = receipt(worker, job), worker.records.get(job)
    assert found.check.needs_review
    assert code in [reason.code for reason in found.check.reasons]
    assert (done.status, done.output.needs_review) == (Status.SUCCEEDED, True)


def test_times_are_in_the_receipt_and_not_in_the_result(bench):
    worker = bench()
    jobs = [worker.submit(wav(speech(3))) for _ in range(2)]
    worker.run()
    one, other = (receipt(worker, job) for job in jobs)
    assert one.result == other.result
    assert one.source == other.source
    assert one.written_at != other.written_at


def test_only_the_receipt_of_the_attempt_that_counts_stays(bench, monkeypatch):
    worker = bench()
    job = worker.submit(wav(speech(1)))
    while worker.next().kind != "stitch":
        worker.step()
    message = worker.waiting[0]
    succeed = worker.records.succeed

    def late(job_id, claim, output):
        if claim.attempt == 1:
            worker.step_elsewhere(message)
        return succeed(job_id, claim, output)

    monkeypatch.setattr(worker.records, "succeed", late)
    worker.step()
    worker.sweep()
    assert worker.objects(job) == ["end.json", "receipt.2.json", "result.2", "source"]
    assert receipt(worker, job).job_id == job


def test_a_late_receipt_is_swept(bench):
    worker = bench()
    job = worker.submit(wav(speech(1)))
    worker.run()
    worker.store.put(receipt_key(job, 7), b"{}")
    worker.client.zadd("w:tidy", {job: 0})
    worker.sweep()
    assert worker.objects(job) == ["end.json", "receipt.1.json", "result.1", "source"]


def test_seconds_add_up_by_model_and_leave_nothing_in_the_record(bench):
    worker = bench()
    job = worker.submit(wav(speech(5)))
    worker.step()
    efforts = {effort.kind: effort for effort in worker.records.efforts(job)}
    assert list(efforts) == ["split"]
    worker.step()
    one = worker.records.efforts(job)
    worker.step()
    two = worker.records.efforts(job)
    assert [effort.kind for effort in two] == ["restore", "split"]
    assert two[0].label["model_type"] == StandInRestorer.model_type
    assert two[0].seconds > one[0].seconds
    worker.run()
    assert worker.records.efforts(job) == []
    assert not [key for key in worker.client.keys("*") if "won" in key or "spent" in key]
    fields = worker.client.hkeys(f"w:job:{{{job}}}")
    assert not [field for field in fields if "spent" in field]


def test_models_of_several_workers_are_all_told(bench):
    worker = bench()
    job = worker.submit(wav(speech(5)))
    worker.step()
    worker.step()
    other = StandInRestorer()
    other.weights = {"vf.ckpt": "ab" * 32}
    worker.ctx.engine = bench(restorer=other).ctx.engine
    worker.run()
    found = [model for model in receipt(worker, job).models if model.stage == "restore"]
    assert sorted(model.weights_sha256 for model in found) == [[], ["ab" * 32]]
    shown = next(model for model in worker.records.get(job).models if model.stage == "restore")
    assert shown.weights == "sha256:abababababab"


def test_a_job_split_by_an_older_worker_succeeds_without_a_receipt(bench):
    worker = bench()
    job = worker.submit(wav(speech(1)))
    worker.step()
    key = f"w:job:{{{job}}}:won"
    plan = json.loads(worker.client.hget(key, "plan"))
    del plan["source"]
    worker.client.hset(key, "plan", json.dumps(plan))
    worker.run()
    assert worker.records.get(job).status is Status.SUCCEEDED
    assert worker.objects(job) == ["end.json", "result.1", "source"]
    assert worker.store.head(source_key(job))
