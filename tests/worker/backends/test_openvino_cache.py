import hashlib
import json
import logging
import multiprocessing
import pwd
from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

from worker.backends.openvino.cache import ModelCache, cache_folders
from worker.backends.openvino.library import ov

RECIPE = {"weights": {"vf.ckpt": "abc"}, "conversion": 1}


def doubling(factor=2.0):
    x = ov.opset13.parameter([-1, 4], np.float32)
    return ov.Model([ov.opset13.multiply(x, ov.opset13.constant(np.full((1, 4), factor, np.float32)))], [x])


class Kitchen:
    """Makes models, and counts how often."""

    def __init__(self, factor=2.0):
        self.made = 0
        self.factor = factor

    def __call__(self):
        self.made += 1
        return {"one": doubling(self.factor), "two": doubling(3 * self.factor)}


def answer(model):
    return float(ov.Core().compile_model(model, "CPU")(np.ones((1, 4), np.float32))[0][0, 0])


@pytest.fixture
def kitchen():
    return Kitchen()


def entry_of(folder):
    (entry,) = (path for path in folder.iterdir() if path.is_dir())
    return entry


def test_models_are_made_once_and_then_read(tmp_path, kitchen):
    for _ in range(2):
        models = ModelCache(tmp_path / "new").fetch("restorer", RECIPE, kitchen)
        assert sorted(models) == ["one", "two"]
        assert answer(models["two"]) == 6.0
    assert kitchen.made == 1


@pytest.mark.parametrize("change", [{"weights": {"vf.ckpt": "abd"}}, {"conversion": 2}, {"openvino": "2"}])
def test_another_recipe_is_another_entry(tmp_path, kitchen, change):
    cache = ModelCache(tmp_path)
    cache.fetch("restorer", RECIPE, kitchen)
    cache.fetch("restorer", RECIPE | change, kitchen)
    assert kitchen.made == 2


def test_weights_are_kept_in_full_precision(tmp_path):
    third = ModelCache(tmp_path).fetch("restorer", RECIPE, Kitchen(1 / 3))
    assert answer(third["one"]) == np.float32(1 / 3)


def unreadable(entry):
    """Give the entry a model that the library cannot read, under its true sha256."""
    (entry / "two.xml").write_text("<net")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in entry.iterdir()}
    (entry / "files.json").write_text(json.dumps({name: one for name, one in sums.items() if name != "files.json"}))


def shortened(listed):
    """Take a model out of the list."""
    kept = json.loads(listed.read_text())
    listed.write_text(json.dumps({name: one for name, one in kept.items() if not name.startswith("two")}))


DAMAGE = [
    "truncated", "flipped", "missing", "no list", "an empty list", "a list of nothing", "a list of nonsense",
    "a list of some", "a list without end", "a list that is a folder", "an empty folder", "unreadable",
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_made_anew(tmp_path, kitchen, damage, caplog):
    cache = ModelCache(tmp_path)
    cache.fetch("restorer", RECIPE, kitchen)
    weights, listed = entry_of(tmp_path) / "two.bin", entry_of(tmp_path) / "files.json"
    data = weights.read_bytes()
    {
        "truncated": lambda: weights.write_bytes(data[:-3]),
        "flipped": lambda: weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1])),
        "missing": weights.unlink,
        "no list": listed.unlink,
        "an empty list": lambda: listed.write_bytes(b""),
        "a list of nothing": lambda: listed.write_text("{}"),
        "a list of some": lambda: shortened(listed),
        "a list without end": lambda: listed.write_text("[" * 100_000),
        "a list that is a folder": lambda: (listed.unlink(), listed.mkdir()),
        "an empty folder": lambda: [path.unlink() for path in entry_of(tmp_path).iterdir()],
        "unreadable": lambda: unreadable(entry_of(tmp_path)),
        "a list of nonsense": lambda: listed.write_text("[1]"),
    }[damage]()
    with caplog.at_level(logging.WARNING):
        assert answer(cache.fetch("restorer", RECIPE, kitchen)["two"]) == 6.0
    assert kitchen.made == 2
    assert "damaged" in caplog.text
    cache.fetch("restorer", RECIPE, kitchen)
    assert kitchen.made == 2


def test_what_was_interrupted_leaves_nothing_behind(tmp_path, kitchen):
    def interrupted():
        raise KeyboardInterrupt

    cache = ModelCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cache.fetch("restorer", RECIPE, interrupted)
    assert not any(path.is_dir() for path in tmp_path.iterdir())
    assert answer(cache.fetch("restorer", RECIPE, kitchen)["one"]) == 2.0


def fetch(folder, queue):
    kitchen = Kitchen()
    models = ModelCache(folder).fetch("restorer", RECIPE, kitchen)
    queue.put((kitchen.made, answer(models["two"])))


def test_of_two_processes_that_start_together_one_makes_the_models(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=fetch, args=(tmp_path, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    told = [queue.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(told) == [(0, 6.0), (1, 6.0)]


@pytest.mark.parametrize("name", ["file", "n" * 300])
def test_where_nothing_can_be_written_models_are_made_each_time(tmp_path, kitchen, caplog, name):
    """A file in the way of the folder, and a name that no file system takes."""
    (tmp_path / "file").touch()
    for _ in range(2):
        models = ModelCache(tmp_path / name).fetch("restorer", RECIPE, kitchen)
        assert answer(models["one"]) == 2.0
    assert kitchen.made == 2
    assert caplog.text.count("cannot be kept") == 2


def test_where_the_disk_is_full_models_are_made_once_a_start(tmp_path, kitchen, caplog, monkeypatch):
    def full(*args, **kwargs):
        raise RuntimeError("Can't open bin file.")

    monkeypatch.setattr(ov, "save_model", full)
    models = ModelCache(tmp_path).fetch("restorer", RECIPE, kitchen)
    assert answer(models["two"]) == 6.0
    assert kitchen.made == 1
    assert "the disk may be full" in caplog.text


def test_the_first_folder_that_can_be_written_keeps_models_and_each_that_has_them_gives_them(tmp_path, kitchen, caplog):
    blocked, second, third = (tmp_path / name for name in ("blocked", "second", "third"))
    blocked.touch()
    for folders in ([blocked, second, third], [blocked, second], [blocked, third, second]):
        assert answer(ModelCache(*folders).fetch("restorer", RECIPE, kitchen)["two"]) == 6.0
    assert kitchen.made == 1
    assert not third.exists()
    assert caplog.text == ""


def test_models_are_kept_beside_the_weights_or_else_in_the_user_s_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    users = tmp_path / "cache" / "voicefixer-queue" / "openvino"
    assert cache_folders(tmp_path) == [tmp_path / "openvino", users]
    assert cache_folders(tmp_path / "not there") == [users]
    assert cache_folders() == [users]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folders() == [tmp_path / ".cache" / "voicefixer-queue" / "openvino"]


def test_a_user_without_a_home_has_no_cache_and_is_told(tmp_path, kitchen, caplog, monkeypatch):
    """As in a container that runs under a number that its /etc/passwd does not know."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folders() == []
    assert cache_folders(tmp_path) == [tmp_path / "openvino"]
    assert answer(ModelCache(*cache_folders()).fetch("restorer", RECIPE, kitchen)["one"]) == 2.0
    assert "XDG_CACHE_HOME" in caplog.text
