"""The measured process of the voicefixer package: ``python -m bench.engine.package THREADS``, in a prepared home."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from voicefixer import VoiceFixer

from bench.engine.child import Answer, Commands, Marks, serve


class Package:
    """The package's own model and what its last pass computed."""

    def __init__(self) -> None:
        self._model = VoiceFixer()
        self._marks = Marks()
        self._seen: dict[str, Any] = {}
        generator = self._model._model.generator
        generator.register_forward_pre_hook(self._marks.mark)
        generator.denoiser.register_forward_hook(self._marks.mark)
        generator.register_forward_hook(self._marks.mark)
        generator.register_forward_hook(self._keep)

    def run(self, audio: str) -> Answer:
        """One pass over a recording."""
        samples = np.load(audio)
        self._marks.begin()
        self._seen["audio"] = self._model.restore_inmem(samples, cuda=False, mode=0).reshape(-1)
        self._marks.mark()
        return self._marks.answer()

    def save(self, folder: str) -> Answer:
        """Write what every stage of the last pass gave."""
        seen = {name: np.asarray(array, np.float32) for name, array in self._seen.items()}
        np.savez(Path(folder), **(seen | {"restored": np.power(10.0, np.minimum(seen["restored"], 5.0))}))  # type: ignore[arg-type]
        return {}

    def _keep(self, _: object, inputs: tuple[Any, ...], output: dict[str, Any]) -> None:
        self._seen |= {"mel": inputs[1], "clean": output["clean"], "residual": output["unet_out"]}
        self._seen["restored"] = output["mel"]


def _build() -> Commands:
    torch.set_num_threads(int(sys.argv[1]))
    package = Package()
    return {"run": package.run, "save": package.save}


if __name__ == "__main__":
    serve(_build)
