import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.worker.audio.made import noise, tone
from worker.audio.bandlimit import NOTHING_CUT, find_cutoff, limit_blocks
from worker.audio.source import Block

# The package downloads its weights at import unless these files exist, so it gets a home of its own.
REFERENCE = """
import sys, json, numpy as np
from voicefixer.base import VoiceFixer
folder = sys.argv[1]
fixer = VoiceFixer.__new__(VoiceFixer)
for name in json.loads(sys.argv[2]):
    np.save(f"{folder}/{name}-out.npy", fixer.remove_higher_frequency(np.load(f"{folder}/{name}.npy")))
"""
WEIGHTS = ("analysis_module/checkpoints/vf.ckpt", "synthesis_module/44100/model.ckpt-1490000_trimed.pt")


def speechlike(frames: int) -> Block:
    """Noise of a falling spectrum that swells three times a second, over a quiet wide floor; its peak is 1."""
    white = noise(frames, seed=3)[:, 0]
    low = np.convolve(white, np.hanning(30), mode="same")
    voice = low * np.abs(np.sin(2 * np.pi * 3 / 44_100 * np.arange(frames))) + 1e-3 * noise(frames, seed=4)[:, 0]
    return (voice / np.abs(voice).max())[:, None].astype(np.float32)


SOUNDS = {
    "speech": speechlike(100_001),
    "short": speechlike(5_000),
    "white": noise(44_100, level=0.2) / np.float32(1),
    "tone": tone(30_000, 44_100),
}
SOUNDS = {name: (sound / np.abs(sound).max()).astype(np.float32) for name, sound in SOUNDS.items()}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Block]:
    """What the published package makes of each sound, at peak 1 and as one segment."""
    pytest.importorskip("librosa")
    home = tmp_path_factory.mktemp("home")
    for weights in WEIGHTS:
        file = home / ".cache/voicefixer" / weights
        file.parent.mkdir(parents=True)
        file.touch()
    for name, sound in SOUNDS.items():
        np.save(home / f"{name}.npy", sound[:, 0])
    command = [sys.executable, "-c", REFERENCE, str(home), json.dumps(list(SOUNDS))]
    done = subprocess.run(command, env=os.environ | {"HOME": str(home)}, capture_output=True, text=True, check=False)
    if "No module named 'voicefixer'" in done.stderr:
        pytest.skip("the voicefixer package is not installed")
    assert done.returncode == 0, done.stderr
    return {name: np.load(Path(home) / f"{name}-out.npy")[:, None] for name in SOUNDS}


def limit(sound: Block, cutoff: int, size: int = 65_536) -> Block:
    blocks = (sound[start : start + size] for start in range(0, len(sound), size))
    return np.concatenate(list(limit_blocks(blocks, cutoff=cutoff, frames=len(sound))))


def cutoff_of(sound: Block) -> int:
    return find_cutoff([sound], peak=float(np.abs(sound).max()))


def snr(found: Block, expected: Block) -> float:
    return float(10 * np.log10(np.square(expected).mean() / np.square(found - expected).mean()))


@pytest.mark.parametrize("name", list(SOUNDS))
def test_mode_1_is_equal_to_the_package(name: str, package: dict[str, Block]) -> None:
    sound, reference = SOUNDS[name], package[name]
    limited = limit(sound, cutoff_of(sound))
    assert len(limited) == len(sound)
    assert len(sound) - len(reference) < 512  # what the package loses
    assert snr(limited[: len(reference)], reference) > 100


@pytest.mark.parametrize("gain", [0.3, 0.003, 1e-5, 50.0])
def test_the_cut_off_does_not_depend_on_the_level(gain: float) -> None:
    assert cutoff_of((SOUNDS["speech"] * np.float32(gain)).astype(np.float32)) == cutoff_of(SOUNDS["speech"])


@pytest.mark.parametrize("size", [1, 511, 512, 4_096, 40_000])
def test_the_sizes_of_the_blocks_change_no_sample(size: int) -> None:
    sound = SOUNDS["short"]
    blocks = [sound[start : start + size] for start in range(0, len(sound), size)]
    cutoff = find_cutoff(blocks, peak=1.0)
    assert cutoff == cutoff_of(sound)
    assert np.array_equal(limit(sound, cutoff, size), limit(sound, cutoff))


def test_what_lies_above_the_cut_off_is_gone_and_the_rest_is_kept() -> None:
    low, high = tone(44_100, 44_100), 0.1 * np.sign(tone(44_100, 4_410))
    limited = limit((low + high).astype(np.float32), cutoff=60)  # 60 bins are 1292 Hz
    spectrum = np.abs(np.fft.rfft(limited[:, 0]))
    assert spectrum[1_700:].max() < 0.005 * spectrum[430:450].max()
    assert spectrum[440] == pytest.approx(np.abs(np.fft.rfft(low[:, 0]))[440], rel=0.01)


@pytest.mark.parametrize("frames", [1, 511, 512, 1_024, 1_025, 2_048, 44_099])
def test_every_length_is_kept_to_the_sample(frames: int) -> None:
    sound = noise(frames, 2)
    assert limit(sound, 400).shape == sound.shape
    assert np.isfinite(limit(sound, 400)).all()


def test_silence_and_a_click_pass_unchanged() -> None:
    silence = np.zeros((5_000, 1), np.float32)
    click = silence.copy()
    click[2_500] = 1.0
    for sound in (silence, click):
        assert cutoff_of(sound) == NOTHING_CUT
        assert np.array_equal(limit(sound, NOTHING_CUT), sound)


def test_all_channels_keep_the_band_of_the_widest() -> None:
    narrow, wide = SOUNDS["tone"], SOUNDS["white"][:30_000]
    both = np.concatenate([narrow, wide], axis=1)
    assert cutoff_of(both) == cutoff_of(wide) > cutoff_of(narrow)
