"""How fast the voicefixer package is on the GPU, in a process of its own (`bench.reference` says why)."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.reference import HOMES
from bench.signals import speech_like
from worker.models.constants import SAMPLE_RATE

SECONDS = 60.0
"""Two of its segments, which it restores one after the other."""
ROUNDS = 3
ROOT = Path(__file__).parents[2]


def package_factor(weights: Path, *, limit: float) -> tuple[float, str]:
    """The package's real-time factor, or 0 and why there is none; takes no longer than `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        for file, place in HOMES.items():
            (Path(folder) / place).mkdir(parents=True)
            (Path(folder) / place / file).symlink_to((weights / file).resolve())
        environment = {**os.environ, "HOME": folder, "MPLBACKEND": "Agg", "PYTHONPATH": _paths()}
        command = [sys.executable, "-m", "bench.gpu.package"]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return 0.0, f"it took longer than {limit:.0f} s"
    if done.returncode:
        return 0.0, (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return float(json.loads(done.stdout.splitlines()[-1])["factor"]), ""


def _paths() -> str:
    # The home changes, and with it the place of packages that were installed for one user.
    return os.pathsep.join([str(ROOT), *filter(None, sys.path)])


def _measure() -> None:
    from voicefixer import VoiceFixer

    package = VoiceFixer()
    audio = speech_like(int(SECONDS * SAMPLE_RATE), 0)
    package.restore_inmem(audio, cuda=True, mode=0)
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        package.restore_inmem(audio, cuda=True, mode=0)
        times.append(time.perf_counter() - begun)
    print(json.dumps({"factor": SECONDS / sorted(times)[ROUNDS // 2]}))


if __name__ == "__main__":
    _measure()
