"""Runs the voicefixer package, the reference that our models are proved equal to.

The package finds its files below `HOME` alone, and downloads at import what is not there. So it runs in a process
of its own, whose home is a folder with links to the weights under test.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.models.files import RESTORER_FILE, VOCODER_FILE

HOMES = {
    RESTORER_FILE: ".cache/voicefixer/analysis_module/checkpoints",
    VOCODER_FILE: ".cache/voicefixer/synthesis_module/44100",
}

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Stages:
    """What the package computes for one signal. All float32; nothing is rounded to 16 bit."""

    mel: Array
    """Linear mel of the input, `[1, 1, T, 128]`."""
    clean: Array
    """The same under the denoiser's mask."""
    residual: Array
    """What the UNet adds to its log10."""
    restored: Array
    """The restorer's output, linear."""
    audio: Array
    """The whole chain's output, `[N]`."""


@dataclass(frozen=True)
class Signal:
    """One input, in one mode of the package; `seed` draws its mode 2."""

    audio: Array
    mode: int = 0
    seed: int = 0


def run_reference(weights: Path, signals: Sequence[Signal]) -> list[Stages]:
    """Run the package on each signal, all in one process.

    Raises `FileNotFoundError` for weights that are not there, and `RuntimeError` with the package's last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for file, place in HOMES.items():
            if not (weights / file).is_file():
                raise FileNotFoundError(f"{weights / file} is not there, and the package would try to download it.")
            (home / place).mkdir(parents=True)
            (home / place / file).symlink_to((weights / file).resolve())
        requests = {f"audio{n}": signal.audio for n, signal in enumerate(signals)}
        modes = np.array([[signal.mode, signal.seed] for signal in signals])
        np.savez(home / "in.npz", modes=modes, **requests)  # type: ignore[arg-type]
        _run_in(home)
        with np.load(home / "out.npz") as answers:
            return [_stages(answers, n) for n in range(len(signals))]


def _run_in(home: Path) -> None:
    root = Path(__file__).parents[1]
    paths = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "HOME": str(home), "MPLBACKEND": "Agg", "PYTHONPATH": paths}
    command = [sys.executable, "-m", "bench.reference", str(home / "in.npz"), str(home / "out.npz")]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The voicefixer package failed:\n{done.stderr[-2000:]}")


def _stages(answers: Mapping[str, Array], number: int) -> Stages:
    return Stages(**{name: answers[f"{name}{number}"] for name in Stages.__dataclass_fields__})


def _answer(requests: Path, answers: Path) -> None:
    """Inside the process: watch the package's modules while it restores each signal."""
    import torch
    from voicefixer import VoiceFixer

    package = VoiceFixer()
    seen: dict[str, Any] = {}
    _watch(package._model.generator, seen)
    found: dict[str, Array] = {}
    with np.load(requests) as given:
        for number, (mode, seed) in enumerate(given["modes"]):
            torch.manual_seed(int(seed))
            audio = package.restore_inmem(given[f"audio{number}"], cuda=False, mode=int(mode))
            stages = {name: tensor.detach().numpy().copy() for name, tensor in seen.items()}
            stages["audio"] = np.asarray(audio, dtype=np.float32).reshape(-1)
            found |= {f"{name}{number}": array for name, array in stages.items()}
    np.savez(answers, **found)  # type: ignore[arg-type]


def _watch(generator: Any, seen: dict[str, Any]) -> None:
    import torch

    def after_generator(_: object, inputs: tuple[Any, ...], output: dict[str, Any]) -> None:
        seen["mel"], seen["clean"], seen["residual"] = inputs[1], output["clean"], output["unet_out"]
        seen["restored"] = torch.pow(10.0, output["mel"].clamp_max(5.0))

    generator.register_forward_hook(after_generator)


if __name__ == "__main__":
    _answer(Path(sys.argv[1]), Path(sys.argv[2]))
