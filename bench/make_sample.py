"""Makes `samples/degraded-speech.wav`, the recording of the demo.

    python -m bench.make_sample [OUT]

espeak-ng (Debian's package `espeak-ng`; 1.51 made the file that is checked in) speaks two sentences; then they pass
an overdriven microphone, a telephone line and a noisy room. The same espeak-ng gives the same bytes again.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 44_100
TEXT = "This is an old recording of a voice on the telephone. The words are there, but the noise is too."
OUT = Path("samples/degraded-speech.wav")

Samples = NDArray[np.float64]


def speak(text: str) -> Samples:
    """Let espeak-ng say *text*: float64 `[N]` at 44.1 kHz, peak 1.

    Raises:
        SystemExit: if espeak-ng is not installed.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        sys.exit("make_sample needs espeak-ng: apt-get install espeak-ng")
    spoken = subprocess.run([program, "-v", "en-us", "-s", "165", "--stdout", text], check=True, capture_output=True)
    samples, rate = soundfile.read(io.BytesIO(_sized(spoken.stdout)), dtype="float64")
    samples = soxr.resample(samples, rate, RATE)
    return np.asarray(samples / np.abs(samples).max())


def degrade(speech: Samples, *, seed: int = 2) -> Samples:
    """Clip, narrow to 300–3,400 Hz, and add hiss 13 dB and a 50 Hz hum 20 dB under the speech."""
    rng = np.random.default_rng(seed)
    clipped = np.clip(3.0 * speech, -0.8, 0.8)
    narrow = _band(clipped, 300.0, 3400.0)
    hiss = _band(rng.standard_normal(speech.size), 60.0, 16_000.0)
    seconds = np.arange(speech.size) / RATE
    hum = sum(np.sin(2 * np.pi * 50.0 * n * seconds + n) / n for n in (1, 2, 3, 5))
    noisy = narrow + _at(narrow, hiss, -13.0) + _at(narrow, np.asarray(hum), -20.0)
    return np.asarray(0.7 * noisy / np.abs(noisy).max())


def _sized(wav: bytes) -> bytes:
    """Write the true sizes into a header that was made for a pipe."""
    data = wav.index(b"data")
    sizes = {4: len(wav) - 8, data + 4: len(wav) - data - 8}
    fixed = bytearray(wav)
    for offset, size in sizes.items():
        fixed[offset : offset + 4] = size.to_bytes(4, "little")
    return bytes(fixed)


def _band(samples: Samples, low: float, high: float) -> Samples:
    """Keep what lies between two frequencies in Hz, with raised-cosine edges an eighth of each wide."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(samples.size, 1 / RATE)
    rise = np.clip((frequency - low * 7 / 8) / (low / 8), 0, 1)
    fall = np.clip((high * 9 / 8 - frequency) / (high / 8), 0, 1)
    window = (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))
    return np.fft.irfft(spectrum * window, samples.size)


def _at(speech: Samples, noise: Samples, decibels: float) -> Samples:
    """Scale *noise* to a level relative to the speech, both RMS."""
    return np.asarray(noise * np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (decibels / 20))


def main(arguments: list[str]) -> None:
    """Write the file."""
    out = Path(arguments[0]) if arguments else OUT
    out.parent.mkdir(parents=True, exist_ok=True)
    samples = degrade(speak(TEXT))
    soundfile.write(out, np.round(samples * 32767).astype(np.int16), RATE, subtype="PCM_16")
    print(f"{out}: {samples.size / RATE:.2f} s, {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
