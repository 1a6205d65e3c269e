"""VoiceFixer's own networks, with random weights from the stock files, through the whole service on S3."""

import numpy as np
import pytest
import torch

from bench.measures import snr
from bench.signals import speech_like
from tests.support.recordings import decoded, encoded
from tests.support.stack import stack
from worker.models.hub import WeightsSource
from worker.models.registry import load_restorer, load_vocoder


@pytest.fixture(scope="module")
def voicefixer(redis_alone, s3_server, random_weights, tmp_path_factory):
    from tests.support.swift import make_bucket

    settings = {
        "VFQ_RESTORER": "VoiceFixerRestorer",
        "VFQ_VOCODER": "VoiceFixerVocoder",
        "VFQ_WEIGHTS_DIR": str(random_weights),
        "VFQ_WEIGHTS_UNVERIFIED": "true",
        "VFQ_KEY_PREFIX": "vf:",
        **make_bucket(s3_server).environment,
    }
    with stack(tmp_path_factory.mktemp("voicefixer"), redis_url=redis_alone, **settings) as running:
        yield running


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
    data = encoded(speech_like(30_000, 6))
    one, same, other = (voicefixer.restore(data, mode=2, seed=seed)[1] for seed in (7, 7, 8))
    assert one == same
    assert one != other
    assert np.isfinite(decoded(one)[0]).all()
