"""Samples → bytes: WAV, FLAC, AIFF, Ogg Vorbis and MP3, streaming, the same bytes for the same samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from shared.formats import OutputNotPossible, OutputPlan, Problem, check_output
from worker.audio.errors import AudioNotFinite
from worker.audio.guard import GuardedSink
from worker.audio.ogg import fix_serial
from worker.audio.source import Block

SUBTYPES = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}
LOSSY = {"ogg": ("OGG", "VORBIS", 0.3), "mp3": ("MP3", "MPEG_LAYER_III", 0.2)}
"""libsndfile's names and its compression level, 0 to 1: Vorbis quality 7 of 10, LAME's V2."""
AT_ONCE = 4096
"""Frames a call to a lossy encoder: libsndfile's Vorbis keeps them on the stack, and many end the process."""
HEADERS = 4096
"""More bytes than any header before the samples takes."""
LARGEST_CHUNK = 2**32 - 1


class Encoder:
    """An open result; `write` blocks `[n, channels]`, full scale ±1, beyond which is clipped."""

    def __init__(self, sound: soundfile.SoundFile, sink: GuardedSink, plan: OutputPlan) -> None:
        self._sound = sound
        self._sink = sink
        self._plan = plan
        self._rest = np.zeros((0, plan.channels), np.float32)
        self.written = 0
        """Samples per channel so far."""

    def write(self, block: Block) -> None:
        """Append a block. Raises `AudioNotFinite`, and what the file raises."""
        if not np.isfinite(block).all():
            raise AudioNotFinite("The result holds samples that are NaN or infinite; it was not written.")
        self.written += len(block)
        if self._plan.format not in LOSSY:
            self._put(block)
            return
        samples = np.concatenate([self._rest, block])
        whole = len(samples) - len(samples) % AT_ONCE
        for start in range(0, whole, AT_ONCE):
            self._put(samples[start : start + AT_ONCE])
        self._rest = samples[whole:]

    def finish(self) -> None:
        """Write what is held back: all calls but the last have one size, so that Ogg's pages always end alike."""
        if len(self._rest):
            self._put(self._rest)

    def _put(self, samples: Block) -> None:
        try:
            self._sound.write(quantise(samples, self._plan.bit_depth))
        finally:
            self._sink.check()


@contextmanager
def open_encoder(file: BinaryIO, *, plan: OutputPlan, frames: int) -> Iterator[Encoder]:
    """Encode into `file`, which is empty and open for reading, writing and seeking; it is complete after the block.

    `frames` is how many samples per channel will come: it decides what kind of header is needed.
    Raises `OutputNotPossible` where the format cannot hold that, and what the file itself raises.
    """
    _check(plan, frames)
    sink = GuardedSink(file)
    sound = _open(sink, plan, frames)
    encoder = Encoder(sound, sink, plan)
    try:
        yield encoder
        encoder.finish()
    finally:
        sound.close()
        sink.check()
    _make_repeatable(file, plan)


def quantise(block: Block, bit_depth: int | None) -> NDArray[np.float32] | NDArray[np.int16] | NDArray[np.int32]:
    """Round to the nearest step of 2^(1 − bits) and clip: +1 becomes the largest value, nothing wraps.

    16 bits give int16; 24 bits give int32 whose lowest byte is 0; lossy formats are clipped; float stays as it is.
    """
    if bit_depth == 32:
        return block.astype(np.float32, copy=False)
    if bit_depth is None:
        return np.clip(block, -1.0, 1.0)
    scale = float(2 ** (bit_depth - 1))
    steps = block * np.float32(scale)
    np.rint(steps, out=steps)
    np.clip(steps, -scale, scale - 1, out=steps)
    if bit_depth == 16:
        return steps.astype(np.int16)
    return steps.astype(np.int32) << 8


def container(plan: OutputPlan, frames: int) -> str:
    """Name libsndfile's container: a WAV whose sizes pass 32 bits is an RF64."""
    if plan.format == "wav":
        return "RF64" if _bytes(plan, frames) > LARGEST_CHUNK else "WAV"
    return LOSSY[plan.format][0] if plan.format in LOSSY else plan.format.upper()


def _check(plan: OutputPlan, frames: int) -> None:
    problems = check_output(plan.format, plan.sample_rate, plan.bit_depth, plan.channels)
    if plan.format == "aiff" and _bytes(plan, frames) > LARGEST_CHUNK:
        problems.append(Problem("format", "AIFF cannot be larger than 4 GB; ask for format wav or flac."))
    if problems:
        raise OutputNotPossible(problems)


def _bytes(plan: OutputPlan, frames: int) -> int:
    return HEADERS + frames * plan.channels * (plan.bit_depth or 0) // 8


def _open(sink: GuardedSink, plan: OutputPlan, frames: int) -> soundfile.SoundFile:
    name = container(plan, frames)
    subtype, level = LOSSY[plan.format][1:] if plan.format in LOSSY else (SUBTYPES[plan.bit_depth or 16], None)
    try:
        return soundfile.SoundFile(
            sink, "w", plan.sample_rate, plan.channels, subtype, format=name, compression_level=level
        )
    finally:
        sink.check()


def _make_repeatable(file: BinaryIO, plan: OutputPlan) -> None:
    """Take the time out of the bytes: Ogg's serial number is drawn by it, and float WAV notes it with the peak."""
    if plan.format == "ogg":
        fix_serial(file)
    if plan.format == "wav" and plan.bit_depth == 32:
        file.seek(0)
        at = file.read(HEADERS).find(b"PEAK")
        if at >= 0:
            file.seek(at + 12)  # after the chunk's name, size and version
            file.write(bytes(4))
    file.seek(0, 2)
