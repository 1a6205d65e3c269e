import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from worker.models.constants import HOP, N_BINS, N_MELS, SAMPLE_RATE, frame_count, padded_length
from worker.models.errors import InputError
from worker.models.frontend import AnalyticSTFT, MelFrontEnd, centre_pad, mel_triangles
from worker.models.griffin_lim import GriffinLimVocoder
from worker.models.interface import MelSpan, RestoreCondition
from worker.models.spectral_gate import FLOOR, REACH, SpectralGateRestorer

Floats = NDArray[np.float32]
SYLLABLES = 1.7
"""Syllables a second of `speech`; between them it is silent."""
ITERATIONS = 12


def speech(samples: int) -> Floats:
    """A gliding voice with formants, in syllables, with hissing sounds in between; its peak is 0.5."""
    time = np.arange(samples) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / SAMPLE_RATE
    harmonics = np.arange(1, 60) * 120.0
    loudness = sum(np.exp(-(((harmonics - formant) / width) ** 2)) for formant, width in FORMANTS) + 0.02
    voice = sum(amount * np.cos(number * phase) for number, amount in enumerate(loudness, 1))
    hiss = np.diff(np.random.default_rng(5).standard_normal(samples + 1))
    wave = voice * swell(samples) + 0.7 * hiss * np.clip(-np.sin(2 * np.pi * SYLLABLES * time) - 0.8, 0, 1)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


FORMANTS = ((500, 200), (1_500, 250), (2_500, 300))


def swell(samples: int) -> NDArray[np.float64]:
    return np.clip(np.sin(2 * np.pi * SYLLABLES * np.arange(samples) / SAMPLE_RATE), 0, None) ** 0.5


def stationary(samples: int, colour: str, level: float) -> Floats:
    white = np.random.default_rng(1).standard_normal(samples)
    kernel = np.ones(1) if colour == "white" else 0.97 ** np.arange(300)
    wave = np.convolve(white, kernel)[:samples]
    return (level * wave / wave.std()).astype(np.float32)


def mel_of(audio: Floats | torch.Tensor) -> torch.Tensor:
    front_end = MelFrontEnd(AnalyticSTFT(), mel_triangles())
    return front_end(padded(torch.as_tensor(audio)[None]))


def padded(audio: torch.Tensor) -> torch.Tensor:
    """A whole file `[B, N]` as one window."""
    return centre_pad(audio)[:, : padded_length(frame_count(audio.shape[1]))]


def profile_of(noise: Floats) -> Floats:
    """The mean magnitude of a noise alone, which a file's analysis estimates."""
    real, imag = AnalyticSTFT()(torch.from_numpy(noise)[None])
    return torch.hypot(real, imag)[0].mean(dim=0).numpy()


def restore(audio: Floats, profile: Floats | None) -> torch.Tensor:
    window = padded(torch.from_numpy(audio)[None])
    return SpectralGateRestorer().restore(window, [RestoreCondition(noise_profile=profile)])


def vocode_whole(vocoder: GriffinLimVocoder, mel: torch.Tensor, samples: int) -> torch.Tensor:
    return vocoder.vocode(mel, [MelSpan(0, mel.shape[2], samples, 0, samples)])[0]


def decibels(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(20 * torch.log10(found.norm() / expected.norm()))


def snr(found: torch.Tensor, expected: torch.Tensor) -> float:
    return -decibels(found - expected, expected)


def pauses(samples: int) -> torch.Tensor:
    """Frames in which `speech` is silent, some way from any sound."""
    time = np.arange(frame_count(samples)) * HOP / SAMPLE_RATE
    wave = -np.sin(2 * np.pi * SYLLABLES * time)
    return torch.from_numpy((wave > 0.3) & (wave < 0.7))


@pytest.mark.parametrize("colour", ["white", "brown"])
@pytest.mark.parametrize("level", [0.003, 0.02])
def test_the_gate_takes_stationary_noise_away_and_keeps_the_speech(colour: str, level: float) -> None:
    samples = 3 * SAMPLE_RATE
    clean, noise = speech(samples), stationary(samples, colour, level)
    noisy, wanted = mel_of(clean + noise), mel_of(clean)
    found = restore(clean + noise, profile_of(noise))
    quiet, loud = pauses(samples), torch.from_numpy(swell(samples)[::HOP] > 0.5)
    assert decibels(found[:, :, quiet], noisy[:, :, quiet]) < -12
    assert snr(found[:, :, ~quiet], wanted[:, :, ~quiet]) > snr(noisy[:, :, ~quiet], wanted[:, :, ~quiet]) + 3
    assert abs(decibels(found[:, :, : len(loud)][:, :, loud], wanted[:, :, : len(loud)][:, :, loud])) < 1


def test_the_gate_never_goes_below_its_floor() -> None:
    noise = stationary(SAMPLE_RATE, "white", 0.1)
    gain = restore(noise, profile_of(noise)) / mel_of(noise)
    assert gain.min() >= FLOOR * 0.999
    assert gain.max() <= 1
    assert gain.mean() < 1.2 * FLOOR


@pytest.mark.parametrize("profile", [None, np.zeros(N_BINS, np.float32)])
def test_without_a_known_noise_the_mel_stays_as_it_is(profile: Floats | None) -> None:
    clean = speech(30_000)
    assert torch.equal(restore(clean, profile), mel_of(clean))


def test_windows_with_context_are_equal_to_the_whole_file() -> None:
    clean, noise = speech(2 * SAMPLE_RATE), stationary(2 * SAMPLE_RATE, "white", 0.01)
    profile = profile_of(noise)
    file = padded(torch.from_numpy(clean + noise)[None])
    restorer, condition = SpectralGateRestorer(), [RestoreCondition(noise_profile=profile)]
    whole = restorer.restore(file, condition)
    window = restorer.restore(file[:, HOP * 40 : HOP * (140 - 1) + 2048], condition)
    assert REACH <= 64
    inner = window[:, :, REACH:-REACH]
    assert snr(inner, whole[:, :, 40 + REACH : 140 - REACH]) > 120


def test_each_item_of_a_batch_has_its_own_noise() -> None:
    audio = speech(30_000) + stationary(30_000, "white", 0.02)
    file = padded(torch.from_numpy(np.stack([audio, audio])))
    conditions = [RestoreCondition(noise_profile=profile_of(audio)), RestoreCondition()]
    both = SpectralGateRestorer().restore(file, conditions)
    assert torch.equal(both[1:], mel_of(audio))
    assert snr(both[:1], restore(audio, conditions[0].noise_profile)) > 120


@pytest.mark.parametrize("samples", [1, 441, 1_024, 2_048])
def test_the_shortest_recordings_pass_both_models(samples: int) -> None:
    audio = speech(3_000)[:samples]
    mel = restore(audio, profile_of(speech(3_000)))
    assert mel.shape == (1, 1, frame_count(samples), N_MELS)
    found = vocode_whole(GriffinLimVocoder(ITERATIONS), mel, samples)
    assert found.shape == (samples,)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("kind", ["speech", "noise", "tone"])
def test_a_clean_signal_comes_back_at_its_level(kind: str) -> None:
    samples = 2 * SAMPLE_RATE + 100
    tone = 0.3 * np.sin(2 * np.pi * 1_000 / SAMPLE_RATE * np.arange(samples))
    audio = {"speech": speech(samples), "noise": stationary(samples, "white", 0.1), "tone": tone}[kind]
    audio = torch.from_numpy(audio.astype(np.float32))
    found = vocode_whole(GriffinLimVocoder(), mel_of(audio), samples)
    assert abs(decibels(found, audio)) < 1


def test_the_mel_of_the_result_is_the_mel_that_was_given() -> None:
    mel = mel_of(speech(2 * SAMPLE_RATE))
    found = mel_of(vocode_whole(GriffinLimVocoder(), mel, 2 * SAMPLE_RATE))
    assert snr(found, mel) > 15


def test_more_iterations_come_nearer() -> None:
    mel = mel_of(speech(SAMPLE_RATE))
    near = [snr(mel_of(vocode_whole(GriffinLimVocoder(count), mel, SAMPLE_RATE)), mel) for count in (1, 8, 32)]
    assert near == sorted(near)


def test_the_result_is_aligned_with_the_input() -> None:
    samples = SAMPLE_RATE
    audio = np.zeros(samples, np.float32)
    audio[10_000:10_400] = stationary(400, "white", 0.3)
    audio[30_000:30_400] = audio[10_000:10_400]
    power = vocode_whole(GriffinLimVocoder(), mel_of(audio), samples).square()
    places = torch.arange(samples)
    for middle in (10_200, 30_200):
        near = (places - middle).abs() < 5_000
        assert abs(float((places * power)[near].sum() / power[near].sum()) - middle) < 100


@pytest.mark.parametrize("core", [100, 130])
@pytest.mark.parametrize("extra", [0, 40])
def test_windows_with_halo_make_the_samples_of_the_whole_file(core: int, extra: int) -> None:
    samples = 3 * SAMPLE_RATE + 17
    mel = mel_of(speech(samples) + stationary(samples, "white", 0.01))
    vocoder, frames = GriffinLimVocoder(ITERATIONS), mel.shape[2]
    whole = vocode_whole(vocoder, mel, samples)
    halo = vocoder.reach + extra
    pieces = []
    for start, stop in itertools.pairwise([*range(0, frames, core), frames]):
        first, last = max(start - halo, 0), min(stop + halo, frames)
        span = MelSpan(first, frames, samples, start * HOP, samples if stop == frames else stop * HOP)
        pieces.append(vocoder.vocode(mel[:, :, first:last], [span])[0])
    assert snr(torch.cat(pieces), whole) > 100


def test_the_default_reach_fits_into_the_default_halo() -> None:
    assert GriffinLimVocoder().reach <= 160
    assert GriffinLimVocoder(100).reach <= 580


def test_a_batch_may_mix_places() -> None:
    mel = mel_of(speech(SAMPLE_RATE))[:, :, :60]
    vocoder = GriffinLimVocoder(ITERATIONS)
    spans = [MelSpan(0, 200, 88_000, 0, 4_410), MelSpan(70, 200, 88_000, 40_000, 44_410)]
    both = vocoder.vocode(mel.expand(2, -1, -1, -1), spans)
    apart = [vocoder.vocode(mel, [span])[0] for span in spans]
    assert torch.equal(both, torch.stack(apart))
    assert len({vocoder.shape_key(60, span) for span in spans}) == 1


def test_silence_stays_silence() -> None:
    found = vocode_whole(GriffinLimVocoder(ITERATIONS), torch.zeros(1, 1, 50, N_MELS), 49 * HOP)
    assert (found == 0).all()


def test_bad_input_is_refused_in_words() -> None:
    vocoder, restorer = GriffinLimVocoder(1), SpectralGateRestorer()
    with pytest.raises(InputError, match="128 bins"):
        vocoder.vocode(torch.zeros(1, 1, 5, 80), [MelSpan(0, 5, 1_764, 0, 10)])
    with pytest.raises(InputError, match="part of an output"):
        vocoder.vocode(torch.zeros(1, 1, 5, 128), [MelSpan(0, 5, 1_764, 0, 5_000)])
    with pytest.raises(InputError, match="NaN"):
        restorer.restore(torch.full((1, 2048), torch.nan), [RestoreCondition()])
    with pytest.raises(InputError, match="1025 bins"):
        restorer.restore(torch.zeros(1, 2048), [RestoreCondition(noise_profile=np.zeros(3, np.float32))])


def test_a_window_without_the_wanted_samples_is_refused() -> None:
    with pytest.raises(InputError, match="does not hold"):
        GriffinLimVocoder(1).vocode(torch.zeros(1, 1, 5, 128), [MelSpan(0, 500, 220_100, 100_000, 100_010)])


def test_the_models_say_what_they_are() -> None:
    assert (SpectralGateRestorer().model_type, SpectralGateRestorer().weights) == ("SpectralGateRestorer", {})
    assert (GriffinLimVocoder().model_type, GriffinLimVocoder().weights) == ("GriffinLimVocoder", {})


def test_every_vocoder_makes_the_same_samples() -> None:
    mel = torch.rand(1, 1, 40, N_MELS, generator=torch.Generator().manual_seed(1))
    first, second = (vocode_whole(GriffinLimVocoder(4), mel, 17_199) for _ in range(2))
    assert torch.equal(first, second)
