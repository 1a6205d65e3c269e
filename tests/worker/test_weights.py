import pytest

from shared.settings import Settings
from worker import weights
from worker.models.files import FILES, RESTORER_FILE
from worker.weights import hash_weights, weights_source


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
def test_only_the_files_that_a_worker_will_load_are_hashed(monkeypatch, tmp_path, stages, models, files):
    asked = []
    monkeypatch.setattr(weights, "hash_ahead", lambda source, files: asked.append((source.folder, files)))
    hash_weights(Settings(weights_dir=str(tmp_path), **models), stages)
    assert asked == ([(tmp_path, files)] if files else [])


def test_the_settings_say_where_weights_are_and_which_are_taken(tmp_path):
    source = weights_source(Settings(weights_dir=str(tmp_path), weights_revision="v1", weights_unverified=True))
    assert (source.folder, source.revision, source.allow_other) == (tmp_path, "v1", True)
    assert weights_source(Settings()).folder is None
