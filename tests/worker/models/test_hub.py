import io
import time

import huggingface_hub
import pytest

from worker.models import hub
from worker.models.errors import WeightsUnavailableError
from worker.models.files import FILES, RESTORER_FILE, VOCODER_FILE
from worker.models.hub import WeightsSource, locate, obtain, pull

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put_in_cache(cache, repository, *files):
    """What the hub's client leaves behind after a download."""
    root = cache / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    for file in files:
        (snapshot / file).write_bytes(b"weights")
    return snapshot


@pytest.fixture
def source(tmp_path):
    (tmp_path / "folder").mkdir()
    return WeightsSource(folder=tmp_path / "folder", cache=tmp_path / "cache")


@pytest.fixture
def online(monkeypatch):
    """A hub that answers, and remembers what it was asked for; the second repository alone has the files."""
    asked = []

    def download(repository, file, *, revision, cache_dir, local_dir):
        asked.append((repository, file, revision))
        if repository != "cqchangm/voicefixer":
            raise huggingface_hub.errors.LocalEntryNotFoundError("nothing of that name")
        path = (local_dir or cache_dir) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
        return str(path)

    monkeypatch.setattr(hub, "_why_not_to_ask", lambda: "")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_the_folder_comes_before_the_cache(source):
    put_in_cache(source.cache, "jlmarrugom/voice_fixer", *FILES)
    (source.folder / VOCODER_FILE).write_bytes(b"own")
    found = locate(source)
    assert found[VOCODER_FILE] == source.folder / VOCODER_FILE
    assert found[RESTORER_FILE].is_relative_to(source.cache)
    assert set(obtain(source, VOCODER_FILE).files) == {VOCODER_FILE}


def test_the_cache_of_any_of_the_three_repositories_will_do(source, monkeypatch):
    monkeypatch.setattr(hub, "_answers", lambda address: pytest.fail("the network was asked"))
    snapshot = put_in_cache(source.cache, "harmony-ai-solutions/voicefixer", *FILES)
    assert obtain(source, RESTORER_FILE).files == {file: snapshot / file for file in FILES}


def test_another_revision_is_not_taken_from_the_cache(source):
    put_in_cache(source.cache, "jlmarrugom/voice_fixer", *FILES)
    other = WeightsSource(cache=source.cache, revision="v2")
    assert locate(other) == dict.fromkeys(FILES)


def test_repositories_are_asked_in_turn_for_the_revision(source, online):
    place = obtain(WeightsSource(cache=source.cache, revision="v2"), VOCODER_FILE)
    assert place.name == "cqchangm/voicefixer"
    assert set(place.files) == set(FILES)
    assert [repository for repository, _, _ in online] == ["jlmarrugom/voice_fixer"] * 2 + ["cqchangm/voicefixer"] * 2
    assert {revision for _, _, revision in online} == {"v2"}


def test_a_worker_downloads_into_the_cache_and_pull_into_the_folder(source, online):
    assert obtain(source, RESTORER_FILE).files[RESTORER_FILE].parent == source.cache
    assert pull(source) == {file: source.folder / file for file in FILES}


def test_pull_asks_for_nothing_that_is_there(source, online):
    for file in FILES:
        (source.folder / file).write_bytes(b"own")
    assert pull(source) == {file: source.folder / file for file in FILES}
    assert online == []


def test_what_no_repository_has_is_told_for_each(source, online):
    with pytest.raises(WeightsUnavailableError, match=r"some/where: .*else/where: ") as raised:
        obtain(WeightsSource(cache=source.cache, repositories=("some/where", "else/where")), RESTORER_FILE)
    assert "weights pull" in str(raised.value)


def test_offline_mode_is_honoured_and_the_way_out_named(source, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub, "_answers", lambda address: pytest.fail("the network was asked"))
    with pytest.raises(WeightsUnavailableError) as raised:
        obtain(source, RESTORER_FILE)
    for part in ("HF_HUB_OFFLINE", "voicefixer-queue weights pull", RESTORER_FILE, VOCODER_FILE, str(source.folder)):
        assert part in str(raised.value)


def test_a_hub_that_does_not_answer_is_given_up_soon(source, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "REACH_SECONDS", 0.3)
    monkeypatch.setattr(hub.urllib.request, "urlopen", lambda request, timeout: time.sleep(5) or io.BytesIO())
    begun = time.monotonic()
    with pytest.raises(WeightsUnavailableError, match="cannot be reached"):
        obtain(source, RESTORER_FILE)
    assert time.monotonic() - begun < 4
