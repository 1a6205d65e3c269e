"""What each stage may be given. Every refusal is an `InputError` in the caller's terms, never a library's."""

from collections.abc import Sequence

import torch

from worker.models.constants import HOP, N_BINS, N_MELS, SAMPLE_RATE, WINDOW, frame_count, padded_length
from worker.models.errors import InputError
from worker.models.interface import MelSpan, RestoreCondition

MODES = (0, 1, 2)


def check_sample_rate(rate: int) -> None:
    """Refuse any rate but the one that the models were trained at."""
    if rate != SAMPLE_RATE:
        raise InputError(f"The models work at {SAMPLE_RATE} Hz and were given {rate} Hz; resample first.")


def check_audio(audio: torch.Tensor) -> None:
    """Accept finite float32 samples `[B, 1, N]`, N ≥ 1."""
    _check_float(audio, "audio")
    if audio.ndim != 3 or audio.shape[0] < 1 or audio.shape[2] < 1:
        raise InputError(f"Audio is [batch, 1, samples] with at least one sample, not {_shape(audio)}.")
    if audio.shape[1] != 1:
        raise InputError(
            f"The models take one channel an item and were given {audio.shape[1]}; make each channel an item."
        )
    _check_finite(audio, "audio")


def check_padded(padded: torch.Tensor, conditions: Sequence[RestoreCondition]) -> None:
    """Accept finite float32 windows `[B, 441·(F−1) + 2048]`, F ≥ 1, and one condition for each."""
    _check_float(padded, "audio")
    if padded.ndim != 2 or padded.shape[0] < 1:
        raise InputError(f"Restore windows are [batch, samples], not {_shape(padded)}.")
    samples = padded.shape[1]
    frames = (samples - WINDOW) // HOP + 1
    if samples < WINDOW or padded_length(frames) != samples:
        raise InputError(f"A restore window has {HOP}·(F−1) + {WINDOW} samples; {samples} is no such number.")
    _check_finite(padded, "audio")
    check_conditions(conditions, padded.shape[0])


def check_conditions(conditions: Sequence[RestoreCondition], items: int) -> None:
    """Accept one condition an item, of a known mode, with a seed that fits 64 bits and a sound noise profile."""
    if len(conditions) != items:
        raise InputError(f"{items} windows came with {len(conditions)} conditions; each window needs its own.")
    for condition in conditions:
        if condition.mode not in MODES:
            raise InputError(f"Mode {condition.mode} is none of 0, 1 and 2.")
        if not 0 <= condition.seed < 2**63:
            raise InputError(f"A seed lies between 0 and 2^63 − 1; {condition.seed} does not.")
        profile = condition.noise_profile
        if profile is not None and profile.shape != (N_BINS,):
            raise InputError(f"A noise profile has {N_BINS} bins, not {list(profile.shape)}.")


def check_mel(mel: torch.Tensor) -> None:
    """Accept a finite, non-negative float32 mel `[B, 1, T, 128]`, T ≥ 1."""
    _check_float(mel, "mel")
    if mel.ndim != 4 or mel.shape[1] != 1 or min(mel.shape) < 1:
        raise InputError(f"A mel is [batch, 1, frames, {N_MELS}] with at least one frame, not {_shape(mel)}.")
    if mel.shape[3] != N_MELS:
        raise InputError(f"A mel has {N_MELS} bins; this one has {mel.shape[3]}.")
    _check_finite(mel, "mel")
    if bool((mel < 0).any()):
        raise InputError("A mel is linear magnitude and cannot be negative; was a log mel given?")


def check_spans(mel: torch.Tensor, spans: Sequence[MelSpan]) -> None:
    """Accept one span a mel window, inside its file, all asking for equally many samples."""
    if len(spans) != mel.shape[0]:
        raise InputError(f"{mel.shape[0]} mel windows came with {len(spans)} spans; each window needs its own.")
    if len({span.stop - span.start for span in spans}) != 1:
        raise InputError("The spans of a batch must all ask for the same number of samples.")
    for span in spans:
        check_span(mel.shape[2], span)


def check_span(frames: int, span: MelSpan) -> None:
    """Accept a span whose window lies in its file, and whose samples lie in the file's output."""
    if span.total_samples < 1 or frame_count(span.total_samples) != span.total_frames:
        raise InputError(
            f"{span.total_frames} frames make {max(HOP * (span.total_frames - 1), 1)} to "
            f"{HOP * span.total_frames - 1} samples; {span.total_samples} were asked for."
        )
    if not 0 <= span.first_frame <= span.first_frame + frames <= span.total_frames:
        raise InputError(
            f"A window of {frames} frames from frame {span.first_frame} leaves its file of {span.total_frames}."
        )
    if not 0 <= span.start < span.stop <= span.total_samples:
        raise InputError(
            f"Samples {span.start} to {span.stop} are no part of an output of {span.total_samples} samples."
        )


def _check_float(tensor: torch.Tensor, what: str) -> None:
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32:
        found = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise InputError(f"The {what} must be a float32 tensor, not {found}.")


def _check_finite(tensor: torch.Tensor, what: str) -> None:
    bad = tensor.numel() - int(torch.isfinite(tensor).sum())
    if bad:
        raise InputError(f"The {what} holds {bad} values that are NaN or infinite.")


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))
