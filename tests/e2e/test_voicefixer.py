"""VoiceFixer's own networks, with random weights from the stock files, through the whole service on S3.

They are those of a config.yml as Harmony Speech Engine's users have it, with more restorers beside them.
"""

import io

import numpy as np
import pytest
import torch
import yaml

from bench.measures import snr
from bench.signals import speech_like
from tests.support.light_weights import light_restorer
from tests.support.recordings import decoded, encoded
from tests.support.stack import stack
from worker.models.hub import WeightsSource
from worker.models.registry import load_restorer, load_vocoder

SOUND = encoded(speech_like(30_000, 6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("voicefixer")
    light_restorer(made / "half", factor=0.5)
    light_restorer(made / "tenth", factor=0.1)
    return made


@pytest.fixture(scope="module")
def voicefixer(redis_alone, s3_server, random_weights, folder):
    from tests.support.swift import make_bucket

    config = folder / "config.yml"
    config.write_text(yaml.safe_dump({"model_configs": list(entries(folder))}))
    settings = {
        "VFQ_CONFIG": str(config),
        "VFQ_WEIGHTS_DIR": str(random_weights),
        "VFQ_WEIGHTS_UNVERIFIED": "true",
        "VFQ_KEY_PREFIX": "vf:",
        **make_bucket(s3_server).environment,
    }
    with stack(folder / "stack", redis_url=redis_alone, **settings) as running:
        yield running


def entries(folder):
    for name, kind in (("voicefixer-restorer", "VoiceFixerRestorer"), ("voicefixer-vocoder", "VoiceFixerVocoder")):
        model = {"name": name, "model": "jlmarrugom/voice_fixer", "model_type": kind}
        yield {**model, "device_config": {"device": "auto"}}
    for name in ("half", "tenth", "late"):
        model = {"name": name, "model": str(folder / name), "model_type": "VoiceFixerRestorer", "loading": "lazy"}
        yield {**model, "device_config": {"device": "cpu"}}


def mel(service, **asked):
    return np.load(io.BytesIO(service.restore(SOUND, stages="restore", **asked)[1]))


def test_the_service_gives_what_the_models_give(voicefixer, random_weights):
    audio = speech_like(60_000, 5)
    job, result = voicefixer.restore(encoded(audio, subtype="FLOAT"))
    source = WeightsSource(folder=random_weights, allow_other=True)
    restorer = load_restorer("VoiceFixerRestorer", weights=source)
    vocoder = load_vocoder("VoiceFixerVocoder", weights=source)
    mel = restorer.forward(torch.from_numpy(audio)[None, None])
    expected = vocoder.forward(mel, len(audio))[0, 0].numpy()
    assert snr(expected, decoded(result)[0][:, 0]) >= 100
    assert all(model["weights"].startswith("sha256:") for model in job["models"])


def test_mode_2_obeys_its_seed(voicefixer):
    one, same, other = (voicefixer.restore(SOUND, mode=2, seed=seed)[1] for seed in (7, 7, 8))
    assert one == same
    assert one != other
    assert np.isfinite(decoded(one)[0]).all()


def test_restorers_of_one_type_give_what_their_weights_make(voicefixer):
    half, tenth = mel(voicefixer, restorer="half"), mel(voicefixer, restorer="tenth")
    np.testing.assert_allclose(tenth, half / 5, rtol=1e-4)
    assert not np.allclose(mel(voicefixer), half, rtol=0.5)


def test_a_lazy_model_that_is_not_there_fails_its_job_and_serves_the_next_once_it_is(voicefixer, folder):
    job = voicefixer.wait(voicefixer.submit(SOUND, stages="restore", restorer="late"))
    assert (job["status"], job["error"]["code"]) == ("failed", "weights_unavailable")
    assert job["error"]["message"].startswith("late cannot be loaded: ")
    (folder / "late").symlink_to(folder / "tenth")
    np.testing.assert_array_equal(mel(voicefixer, restorer="late"), mel(voicefixer, restorer="tenth"))
    log = (voicefixer.folder / "models.log").read_text()
    assert "[error    ] model cannot be loaded" in log
    assert "Traceback" not in log
    assert "no dtype, so it computes in fp32" in log
