"""The examples in README and docs are run as they are printed, with nothing but a shell, curl, python3 and base64."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.local import own_stack
from cli.models import Models

ROOT = Path(__file__).parents[1]


def example(page: str) -> str:
    """The block that a page marks as one that is run."""
    return re.search(r"<!-- run: \S+ -->\n```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[1]


def programs(folder: Path) -> Path:
    """A folder with all that the example may need."""
    folder.mkdir()
    for name in ("curl", "sleep", "base64"):
        (folder / name).symlink_to(shutil.which(name))
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    (folder / "samples").symlink_to(ROOT / "samples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in [name for name in os.environ if name.startswith("VFQ_")]:
            patch.delenv(name)
        with own_stack(folder / "data", Models("baseline")) as url:
            environment = {"PATH": str(programs(folder / "bin")), "VFQ_SERVER": url, "no_proxy": "127.0.0.1"}
            yield folder, environment


def run(service, text: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder, environment = service
    done = subprocess.run(
        ["/bin/sh", "-u"], input=text, text=True, cwd=folder, env=environment, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done, folder / "restored.wav"


def is_restored(path: Path, subtype: str) -> None:
    sent, rate = soundfile.read(ROOT / "samples" / "degraded-speech.wav")
    restored, restored_rate = soundfile.read(path)
    assert soundfile.info(path).subtype == subtype
    assert (len(restored), restored_rate) == (len(sent), rate)
    assert np.abs(restored).max() > 0.05
    assert np.abs(np.corrcoef(np.abs(restored), np.abs(sent))[0, 1]) > 0.2


needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the examples are for curl, which is not installed here"
)


@needs_curl
def test_the_example_with_curl_fetches_a_restored_recording(service):
    done, result = run(service, example("README.md"))
    assert done.stdout.splitlines()[-1].endswith(": succeeded")
    is_restored(result, "PCM_24")
    result.unlink()


@needs_curl
def test_the_example_in_one_request_does_too(service):
    _, result = run(service, example("docs/api.md"))
    is_restored(result, "PCM_16")
