"""Recordings made by the encoders of libsndfile and FFmpeg, in memory."""

import io
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from worker.audio.source import Block


def by_libsndfile(samples: NDArray[Any], rate: int, container: str, subtype: str) -> bytes:
    """Encode by libsndfile."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, samples.shape[1], subtype, format=container) as sound:
        sound.write(samples)
    return file.getvalue()


def by_ffmpeg(
    samples: Block, rate: int, container: str, codec: str, *, picture: str = "", tags: dict[str, str] | None = None
) -> bytes:
    """Encode mono or stereo by FFmpeg, beside a second of video where `picture` names a codec."""
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    file = io.BytesIO()
    options = {"movflags": "use_metadata_tags"} if tags else {}
    with av.open(file, "w", format=container, options=options) as out:
        out.metadata.update(tags or {})
        video = _video(out, picture) if picture else None
        sound: Any = out.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        if video is not None:
            _film(out, video)
        converter = av.AudioResampler(format=sound.codec_context.format.name, layout=layout, rate=rate)
        for converted in [*converter.resample(frame), *converter.resample(None)]:
            out.mux(sound.encode(converted))
        out.mux(sound.encode(None))
    return file.getvalue()


def _video(out: Any, codec: str) -> Any:
    video = out.add_stream(codec, rate=25)
    video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
    return video


def _film(out: Any, video: Any) -> None:
    for number in range(25):
        image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8), format="rgb24")
        image.pts = number
        out.mux(video.encode(image))
    out.mux(video.encode(None))
