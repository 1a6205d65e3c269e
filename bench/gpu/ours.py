"""Our networks in one precision: how fast at each batch, in how much memory, and how near to fp32."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from bench.signals import speech_like
from worker.backends.cuda import CudaBackend
from worker.chunks import Geometry
from worker.engine import Engine, RestoreItem, VocodeItem, engine_of
from worker.engine.usual import usual_items
from worker.models.constants import HOP, SAMPLE_RATE
from worker.models.frontend import centre_pad
from worker.models.hub import WeightsSource
from worker.models.interface import Precision
from worker.models.plain import PlainBackend
from worker.models.registry import load_restorer, load_vocoder
from worker.models.restorer import VoiceFixerRestorer
from worker.models.vocoder import VoiceFixerVocoder

Stages = dict[str, Tensor]
ROUNDS = 5
MODEL_THREADS = 2


@dataclass(frozen=True)
class Cell:
    """One precision at one batch: seconds a batch in each stage, real-time factor, peak of device memory in GiB."""

    batch: int
    restore: float
    vocode: float
    factor: float
    memory: float


@dataclass
class Models:
    """Both models on a backend, with what they are measured on."""

    backend: CudaBackend
    restorer: VoiceFixerRestorer
    vocoder: VoiceFixerVocoder
    geometry: Geometry
    cells: list[Cell] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """New audio of one window; its context and halo are computed, and not counted."""
        return self.geometry.core * HOP / SAMPLE_RATE


def load(weights: Path, device: str, precision: Precision, geometry: Geometry) -> Models:
    """Load both models."""
    backend = CudaBackend(device, precision)
    return Models(backend, *_load(weights, backend), geometry)


def stages_of(models: Models, given: Stages | None, seconds: float) -> Stages:
    """What each stage gives of what fp32's stages gave (`given`), and the whole chain of the samples; on the CPU."""
    restorer, vocoder = models.restorer, models.vocoder
    device = models.backend.device
    audio = torch.from_numpy(speech_like(int(seconds * SAMPLE_RATE), 1))[None, None].to(device)
    return _stages(restorer, vocoder, audio, given)


def plain_stages(weights: Path, seconds: float) -> Stages:
    """The same by PyTorch on the CPU, the reference that every backend is held to."""
    restorer, vocoder = _load(weights, PlainBackend())
    audio = torch.from_numpy(speech_like(int(seconds * SAMPLE_RATE), 1))[None, None]
    return _stages(restorer, vocoder, audio, None)


def measure(models: Models, batch: int) -> Cell:
    """Time both stages of a batch of inner windows of a long file, with its way to the device and back."""
    items = usual_items(models.geometry, ("restore", "vocode"))
    windows, mels = [cast(RestoreItem, items[0])] * batch, [cast(VocodeItem, items[2])] * batch
    engine = _engine(models, batch, threads=1)
    try:
        with models.backend.warming():
            engine.warm_up([windows[0], mels[0]])
        _reset_memory(models.backend.device)
        restore = _median(lambda: engine.restore(windows))
        vocode = _median(lambda: engine.vocode(mels))
    finally:
        engine.close()
    factor = batch * models.seconds / (restore + vocode)
    return Cell(batch, restore, vocode, factor, _memory(models.backend.device))


def measure_engine(models: Models, batch: int, *, batches: int = 8) -> float:
    """The real-time factor of windows that many tasks restore and then vocode, on two model threads."""
    items = usual_items(models.geometry, ("restore", "vocode"))
    engine = _engine(models, batch, threads=MODEL_THREADS)

    def window(_: int) -> None:
        engine.restore([cast(RestoreItem, items[0])])
        engine.vocode([cast(VocodeItem, items[2])])

    try:
        with models.backend.warming():
            engine.warm_up([items[0], items[2]])
        with ThreadPoolExecutor(2 * MODEL_THREADS * batch) as tasks:
            list(tasks.map(window, range(MODEL_THREADS * batch)))
            begun = time.perf_counter()
            list(tasks.map(window, range(batches * batch)))
            return batches * batch * models.seconds / (time.perf_counter() - begun)
    finally:
        engine.close()


def peak(device: torch.device, precision: Precision, *, size: int = 8192, rounds: int = 20) -> float:
    """TFLOP/s of a square matrix product of random numbers in this precision."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    synchronize(device)
    begun = time.perf_counter()
    for _ in range(rounds):
        left @ right
    synchronize(device)
    torch.backends.cuda.matmul.allow_tf32 = False
    return rounds * 2 * size**3 / (time.perf_counter() - begun) / 1e12


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(models: Models) -> None:
    """Let go of a precision's models, and of the memory that was kept for them."""
    models.restorer = models.vocoder = models.backend = cast(Any, None)
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _load(weights: Path, backend: CudaBackend | PlainBackend) -> tuple[VoiceFixerRestorer, VoiceFixerVocoder]:
    source = WeightsSource(folder=weights, repositories=(), allow_other=True)
    restorer = load_restorer("VoiceFixerRestorer", weights=source, backend=backend)
    vocoder = load_vocoder("VoiceFixerVocoder", weights=source, backend=backend)
    return cast(VoiceFixerRestorer, restorer), cast(VoiceFixerVocoder, vocoder)


@torch.inference_mode()
def _stages(restorer: VoiceFixerRestorer, vocoder: VoiceFixerVocoder, audio: Tensor, given: Stages | None) -> Stages:
    samples, device = audio.shape[2], audio.device
    known = {name: tensor.to(device) for name, tensor in (given or {}).items()}
    mel = restorer.front_end(centre_pad(audio[:, 0]))
    clean = restorer.runner.denoise(known.get("mel", mel))
    residual = restorer.runner.refine(known.get("mel", mel), known.get("denoiser", clean))
    restored = restorer.forward(audio)
    made = {
        "mel": mel,
        "denoiser": clean,
        "unet": residual,
        "restored": restored,
        "vocoder": vocoder.forward(known.get("restored", restored), samples),
        "chain": vocoder.forward(restored, samples),
    }
    return {name: tensor.cpu() for name, tensor in made.items()}


def _engine(models: Models, batch: int, *, threads: int) -> Engine:
    return engine_of(
        restorer=models.restorer,
        vocoder=models.vocoder,
        backend=models.backend,
        max_batch_size=batch,
        max_wait_ms=5.0,
        threads=threads,
    )


def _median(run: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _reset_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _memory(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else float(np.nan)
