import pytest

from worker.models.hub import WeightsSource
from worker.models.registry import load_restorer, load_vocoder


@pytest.fixture(scope="session")
def source(random_weights):
    return WeightsSource(folder=random_weights, repositories=(), allow_other=True)


@pytest.fixture(scope="session")
def restorer(source):
    return load_restorer("VoiceFixerRestorer", weights=source)


@pytest.fixture(scope="session")
def vocoder(source):
    return load_vocoder("VoiceFixerVocoder", weights=source)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing is remembered in the user's cache, nor from one test to the next."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))
