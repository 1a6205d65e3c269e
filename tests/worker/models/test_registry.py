import pytest
import torch

from shared.catalog import model as catalog
from worker.models.errors import (
    CheckpointHashError,
    DeviceUnavailableError,
    UnknownModelTypeError,
    WeightsUnavailableError,
)
from worker.models.files import RESTORER_FILE, VOCODER_FILE
from worker.models.hub import WeightsSource
from worker.models.registry import RESTORERS, VOCODERS, WEIGHT_FREE, load_restorer, load_vocoder, resolve_device

NOWHERE = WeightsSource(repositories=())


def test_a_loaded_model_names_its_type_and_the_hashes_of_its_files(restorer, vocoder):
    assert restorer.model_type == "VoiceFixerRestorer"
    assert list(restorer.weights) == [RESTORER_FILE]
    assert vocoder.model_type == "VoiceFixerVocoder"
    assert set(vocoder.weights) == {RESTORER_FILE, VOCODER_FILE}  # its biases come from the former
    assert all(len(sha256) == 64 for sha256 in vocoder.weights.values())


def test_weight_free_models_need_no_weights():
    for model in (
        load_restorer("SpectralGateRestorer", weights=NOWHERE),
        load_vocoder("GriffinLimVocoder", weights=NOWHERE),
    ):
        assert model.weights == {}
        assert model.model_type in {**RESTORERS, **VOCODERS}


def test_the_types_are_those_that_a_catalog_may_name():
    """The models import nothing of the rest, so both sides tell them."""
    assert {kind for kind, stage in catalog.STAGE_OF.items() if stage == "restore"} == set(RESTORERS)
    assert {kind for kind, stage in catalog.STAGE_OF.items() if stage == "vocode"} == set(VOCODERS)
    assert catalog.WEIGHT_FREE == WEIGHT_FREE


def test_an_unknown_type_is_answered_with_the_known_ones():
    with pytest.raises(UnknownModelTypeError, match="VoiceFixerVocoder, GriffinLimVocoder"):
        load_vocoder("VoiceFixerRestorer", weights=NOWHERE)


def test_missing_weights_are_a_typed_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsUnavailableError):
        load_restorer("VoiceFixerRestorer", weights=NOWHERE)


def test_weights_that_are_not_the_published_ones_need_an_explicit_word(random_weights):
    with pytest.raises(CheckpointHashError):
        load_vocoder("VoiceFixerVocoder", weights=WeightsSource(folder=random_weights))


def test_a_vocoder_loaded_alone_is_made_of_its_own_file(tmp_path, random_weights):
    (tmp_path / VOCODER_FILE).symlink_to((random_weights / VOCODER_FILE).resolve())
    alone = load_vocoder("VoiceFixerVocoder", weights=WeightsSource(folder=tmp_path, repositories=(), allow_other=True))
    assert list(alone.weights) == [VOCODER_FILE]


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu:0", "cuda:99", ""])
def test_a_device_that_is_not_here_is_a_typed_error(device):
    with pytest.raises(DeviceUnavailableError, match=repr(device)):
        resolve_device(device)


def test_auto_is_a_device_that_is_here():
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
