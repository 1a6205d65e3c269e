"""Recordings for tests, made in memory."""

import io

import av
import numpy as np
import soundfile

RATE = 44_100


def tone(samples: int, *, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A few harmonics under noise, another pitch in each channel, `[samples, channels]`, well below full scale."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples)[:, None] / rate
    pitch = 140 + 30 * np.arange(channels)[None]
    voiced = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6))
    beat = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * time)
    return (0.12 * voiced * beat + 0.01 * rng.standard_normal((samples, channels))).astype(np.float32)


def encoded(samples: np.ndarray, *, rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    """A file that libsndfile writes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def m4a(samples: np.ndarray, *, rate: int = RATE) -> bytes:
    """An AAC file in an MP4 container."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono" if samples.shape[1] == 1 else "stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.pts = rate, 0  # from 0, so that the container notes the encoder's priming
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def decoded(data: bytes) -> tuple[np.ndarray, int]:
    """The samples `[n, channels]` float32 and the rate of a file that libsndfile reads."""
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
