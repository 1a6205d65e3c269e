"""The example in the README is run as it is printed, with nothing but curl, python3 and a shell."""

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

ROOT = Path(__file__).parents[1]


def example() -> str:
    """The block that the README marks as one that is run."""
    return re.search(r"<!-- run: \S+ -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]


def programs(folder: Path) -> Path:
    """A folder with all that the example may need."""
    folder.mkdir()
    for name in ("curl", "sleep"):
        (folder / name).symlink_to(shutil.which(name))
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    return folder


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example is for curl, which is not installed here")
def test_the_example_with_curl_fetches_a_restored_recording(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in [name for name in os.environ if name.startswith("VFQ_")]:
        monkeypatch.delenv(name)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    with own_stack(tmp_path / "data", "baseline") as url:
        environment = {"PATH": str(programs(tmp_path / "bin")), "VFQ_SERVER": url, "no_proxy": "127.0.0.1"}
        done = subprocess.run(
            ["/bin/sh", "-u"],
            input=example(),
            text=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(": succeeded")
    sent, rate = soundfile.read(ROOT / "samples" / "degraded-speech.wav")
    restored, restored_rate = soundfile.read(tmp_path / "restored.wav")
    assert soundfile.info(tmp_path / "restored.wav").subtype == "PCM_24"
    assert (len(restored), restored_rate) == (len(sent), rate)
    assert np.abs(restored).max() > 0.05
    assert np.abs(np.corrcoef(np.abs(restored), np.abs(sent))[0, 1]) > 0.2
