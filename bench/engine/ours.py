"""What the measured process of ours does; `bench.engine.start` starts it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.engine.child import Answer, Commands, Marks
from bench.models import load_models
from worker.chunks import Geometry, Window, output_span, sample_range, vocoder_view
from worker.models.interface import MelSpan, RestoreCondition


class Ours:
    """The two models as a worker loads them on a CPU, where the package runs."""

    def __init__(self, weights: Path, backend: str, precision: str) -> None:
        self._restorer, self._vocoder = load_models(weights, backend=backend, precision=precision, device="cpu")
        self._marks = Marks()
        self._last = torch.empty(0)
        self._restorer.front_end.register_forward_hook(self._marks.mark)
        self._runner = self._restorer.runner
        self._restorer.runner = _MarkedRunner(self._runner, self._marks)

    def about(self) -> Answer:
        """Name the backend that was chosen."""
        backend = self._restorer.backend
        return {"backend": backend.name, "precision": backend.precision, "device": str(backend.device)}

    def run(self, audio: str) -> Answer:
        """One pass over a recording, as one window."""
        samples = np.load(audio)
        self._marks.begin()
        mel = self._restorer.forward(torch.from_numpy(samples)[None, None])
        self._marks.mark()
        self._last = self._vocoder.forward(mel, len(samples)).flatten().cpu()
        self._marks.mark()
        return self._marks.answer()

    def window(self, audio: str, core: int, context: int, halo: int) -> Answer:
        """One window inside a long file: what a worker computes for *core* new frames of it."""
        start = -(-max(context, halo) // 64) * 64
        window = Window(1, start, start + core, start - context, start + core + context, start, start + core)
        file_frames = start + core + start
        first, last = sample_range(window.seen_start, window.seen_stop)
        samples = np.resize(np.load(audio), last)[max(first, 0) : last]
        padded = torch.from_numpy(np.pad(samples, (max(-first, 0), 0)))[None]
        view = vocoder_view(window, file_frames, Geometry(core, context, halo))
        total = 441 * (file_frames - 1)
        span = MelSpan(view[0], file_frames, total, *output_span(window, file_frames, total))
        self._marks.begin()
        mel = self._restorer.restore(padded, [RestoreCondition()])
        self._marks.mark()
        # The neighbours' mel is not at hand here; this one's own context, repeated if need be, costs the same.
        frames = (torch.arange(*view, device=mel.device) - window.seen_start).clamp(0, mel.shape[2] - 1)
        self._vocoder.vocode(mel[:, :, frames], [span]).cpu()
        self._marks.mark()
        return self._marks.answer()

    def compare(self, audio: str, reference: str) -> Answer:
        """The SNR of each stage, given what the package's stage was given, and of the last pass; dB."""
        from bench.parity import snr_db, stage_snr
        from bench.reference import Stages

        with np.load(reference) as arrays:
            stages = Stages(**{name: arrays[name] for name in Stages.__dataclass_fields__})
        chain = snr_db(stages.audio, self._last)
        return {"snr": stage_snr(np.load(audio), stages, self._restorer, self._vocoder) | {"chain": chain}}


class _MarkedRunner:
    def __init__(self, runner: Any, marks: Marks) -> None:
        self._runner = runner
        self._marks = marks

    def denoise(self, mel: torch.Tensor) -> torch.Tensor:
        clean: torch.Tensor = self._runner.denoise(mel)
        self._marks.mark()
        return clean

    def refine(self, mel: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        residual: torch.Tensor = self._runner.refine(mel, clean)
        return residual


def commands(weights: Path, backend: str, precision: str, threads: int) -> Commands:
    """Load the models and give what can be asked of them. Raises `ModelError`."""
    torch.set_num_threads(threads)
    ours = Ours(weights, backend, precision)
    return {"about": ours.about, "run": ours.run, "window": ours.window, "compare": ours.compare}
