from dataclasses import replace
from pathlib import Path

import pytest

from shared.catalog import ModelEntry, read_catalog
from shared.settings import Settings
from worker import weights
from worker.models.errors import WeightsUnavailableError
from worker.models.files import FILES, RESTORER_FILE, VOCODER_FILE
from worker.models.hub import REPOSITORIES
from worker.weights import file_of, hash_weights, weights_source

RESTORER = ModelEntry("r", "VoiceFixerRestorer")
VOCODER = ModelEntry("v", "VoiceFixerVocoder")


@pytest.fixture
def hashed(monkeypatch):
    asked = []
    monkeypatch.setattr(weights, "hash_ahead", lambda source, files: asked.append((source.folder, files)))
    return asked


@pytest.mark.parametrize(
    ("stages", "models", "files"),
    [
        ({"restore"}, {}, (RESTORER_FILE,)),
        ({"vocode"}, {}, FILES),  # the vocoder's biases come from the restorer's file
        ({"restore", "vocode"}, {}, FILES),
        ({"restore", "vocode"}, {"vocoder": "GriffinLimVocoder"}, (RESTORER_FILE,)),
        ({"restore", "vocode"}, {"vocoder": "GriffinLimVocoder", "restorer": "SpectralGateRestorer"}, None),
        ({"audio"}, {}, None),
    ],
)
def test_only_the_files_that_a_worker_will_load_are_hashed(hashed, tmp_path, stages, models, files):
    settings = Settings(weights_dir=str(tmp_path), **models)
    hash_weights((entry for entry in read_catalog(settings).entries if entry.stage in stages), settings)
    assert hashed == ([(tmp_path, files)] if files else [])


def test_each_folder_is_hashed_for_its_models_and_none_for_one_that_waits(hashed, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    entries = [
        replace(RESTORER, weights=str(one)),
        replace(VOCODER, weights=str(other)),
        replace(RESTORER, weights=str(other)),
        replace(VOCODER, weights=str(one), lazy=True),
        replace(RESTORER, weights="./nowhere"),
    ]
    hash_weights(entries, Settings())
    assert hashed == [(one, (RESTORER_FILE,)), (other, FILES)]


def test_the_settings_say_where_weights_are_and_which_are_taken(tmp_path):
    settings = Settings(weights_dir=str(tmp_path), weights_revision="v1", weights_unverified=True)
    source = weights_source(RESTORER, settings)
    assert (source.folder, source.revision, source.allow_other) == (tmp_path, "v1", True)
    assert source.repositories == REPOSITORIES
    assert weights_source(RESTORER, Settings()).folder is None


def test_an_existing_folder_is_asked_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "weights").mkdir(parents=True)
    settings = Settings(weights_dir="/elsewhere")
    for named in (str(tmp_path / "own"), "~/own", "./own", "own", "own/weights"):
        source = weights_source(replace(RESTORER, weights=named), settings)
        assert source.folder.resolve() == Path(named).expanduser().resolve()
        assert source.repositories == ()


@pytest.mark.parametrize("named", ["/no/such/folder", "./own", "../own/weights", "~/own", "~nobody-here/own"])
def test_a_path_that_is_no_folder_is_an_error_that_says_so(tmp_path, monkeypatch, named):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    with pytest.raises(WeightsUnavailableError, match=r"is not there.*vf\.ckpt.*owner/name") as raised:
        weights_source(replace(RESTORER, weights=named), Settings())
    assert named in str(raised.value)


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "vf.ckpt").write_bytes(b"")
    with pytest.raises(WeightsUnavailableError, match="is a file"):
        weights_source(replace(RESTORER, weights=str(tmp_path / "vf.ckpt")), Settings())


def test_a_repository_is_asked_alone_and_the_folder_of_the_settings_only_where_it_has_the_same_files(tmp_path):
    settings = Settings(weights_dir=str(tmp_path), weights_revision="v1")
    for named in REPOSITORIES:
        source = weights_source(replace(VOCODER, weights=named), settings)
        assert (source.folder, source.repositories, source.revision) == (tmp_path, (named,), "v1")
    source = weights_source(replace(VOCODER, weights="me/mine", revision="main"), settings)
    assert (source.folder, source.repositories, source.revision) == (None, ("me/mine",), "main")


def test_a_model_needs_the_file_of_its_stage():
    assert [file_of(RESTORER), file_of(VOCODER)] == [RESTORER_FILE, VOCODER_FILE]
