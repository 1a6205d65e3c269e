"""Bytes → samples: any recording as a stream of float32 blocks `[n, channels]`."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from shared.formats import MAX_CHANNELS, MAX_RATE, MIN_RATE, SourceFacts
from worker.audio.errors import (
    AudioEmpty,
    AudioNotFinite,
    AudioRateUnsupported,
    AudioTooLong,
    AudioTooManyChannels,
    AudioUnreadable,
)
from worker.audio.guard import GuardedFile
from worker.audio.oggheaders import is_plain
from worker.audio.packets import open_packets
from worker.audio.sniff import Kind, Readable, past_tags, sniff
from worker.audio.soundfiles import is_chained, open_soundfile
from worker.audio.source import Block, Decoded, rebatch

FRAMES = 65_536
LARGEST = 1e6
"""120 dB above full scale: beyond it the numbers are no samples."""
UNKNOWN = "This is no audio or video file that can be read here; WAV, FLAC, MP3, M4A, OGG and most others can."


class AudioSource:
    """An open recording. `facts` tell its form; `promised` is its length by its header, if that says one."""

    def __init__(self, decoded: Decoded, file: GuardedFile, *, name: str, max_seconds: float | None) -> None:
        self._decoded = decoded
        self._file = file
        self._name = name
        self._most = None if max_seconds is None else int(max_seconds * decoded.facts.sample_rate)
        self.facts: SourceFacts = decoded.facts
        self.promised: int | None = decoded.promised

    @property
    def sample_rate(self) -> int:
        """Samples per second and channel."""
        return self.facts.sample_rate

    @property
    def channels(self) -> int:
        """How many channels."""
        return self.facts.channels

    def blocks(self, frames: int = FRAMES) -> Iterator[Block]:
        """Give the samples once, in blocks of `frames`, the last one shorter; never an empty one.

        Raises `AudioEmpty`, `AudioNotFinite`, `AudioTooLong`, `AudioUnreadable`, and what the file itself raises.
        """
        position = 0
        for block in rebatch(self._checked(), frames):
            _check_finite(block, position, self)
            position += len(block)
            if self._most is not None and position > self._most:
                raise self._too_long()
            yield block
        if position == 0:
            raise AudioEmpty(f"{_called(self._name)} holds no samples.")

    def _checked(self) -> Iterator[Block]:
        """The decoder's blocks; an error of the storage is raised as it is, so that the task is tried again."""
        try:
            for block in self._decoded.blocks:
                self._file.check()
                if len(block):
                    yield block
        finally:
            self._file.check()

    def check_promise(self) -> None:
        """Refuse a recording that is too long by its own header, before anything is decoded."""
        if self._most is not None and self.promised is not None and self.promised > self._most:
            raise self._too_long()

    def _too_long(self) -> AudioTooLong:
        assert self._most is not None
        allowed = self._most / self.sample_rate
        return AudioTooLong(f"{_called(self._name)} is longer than the {allowed:g} seconds that this service takes.")


@contextmanager
def open_audio(file: Readable, *, name: str = "", max_seconds: float | None = None) -> Iterator[AudioSource]:
    """Open a recording; `file` needs `read`, `seek` and `tell`, and is used by the calling thread alone.

    `name` is for messages: the content decides what it is. Raises an `AudioError`, or what `file` raises.
    """
    guarded = GuardedFile(file)
    decoded = _open(guarded, name)
    try:
        _check_form(decoded.facts, name)
        source = AudioSource(decoded, guarded, name=name, max_seconds=max_seconds)
        yield source
    finally:
        decoded.close()


def _open(file: GuardedFile, name: str) -> Decoded:
    if file.size == 0:
        raise AudioEmpty(f"{_called(name)} is empty: it has 0 bytes.")
    kind = sniff(file)
    file.check()
    if kind is None:
        raise AudioUnreadable(f"{_called(name)}: {UNKNOWN}")
    try:
        return _open_kind(file, kind)
    except AudioUnreadable as error:
        hint = " Was it cut short? Its index is at its end." if kind.container == "mp4" else ""
        message = f"{_called(name)} looks like {kind.container}, but cannot be read. {error}{hint}"
        raise AudioUnreadable(message) from error


def _open_kind(file: GuardedFile, kind: Kind) -> Decoded:
    """Ask libsndfile first where it knows the format; FFmpeg where it does not get anything out."""
    # libsndfile reckons without the tags, and ends as many bytes too early; FFmpeg unpacks what is in them.
    file.begin_at(past_tags(file))
    if not kind.libsndfile or (kind.container == "ogg" and (is_chained(file) or not is_plain(file))):
        return open_packets(file, kind)
    try:
        decoded = open_soundfile(file, kind)
    except AudioUnreadable:
        return open_packets(file, kind)
    if decoded.promised != 0:
        return decoded
    decoded.close()
    # A header without a length, as recorders leave it that were switched off; or damage, which FFmpeg tells.
    return open_packets(file, kind)


def _check_form(facts: SourceFacts, name: str) -> None:
    if not 1 <= facts.channels <= MAX_CHANNELS:
        raise AudioTooManyChannels(
            f"{_called(name)} has {facts.channels} channels; this service takes 1 to {MAX_CHANNELS}."
        )
    if not MIN_RATE <= facts.sample_rate <= MAX_RATE:
        raise AudioRateUnsupported(
            f"{_called(name)} has a sample rate of {facts.sample_rate} Hz; this service takes {MIN_RATE} to {MAX_RATE}."
        )


def _check_finite(block: Block, position: int, source: AudioSource) -> None:
    if block.max() <= LARGEST and block.min() >= -LARGEST:  # false for NaN as well
        return
    at = position + int(np.argmin((np.abs(block) <= LARGEST).all(axis=1)))
    raise AudioNotFinite(
        f"{_called(source._name)} holds samples that are NaN, infinite or absurdly large, the first at "
        f"{at / source.sample_rate:.3f} s; export it again."
    )


def _called(name: str) -> str:
    return f'"{name}"' if name else "The file"
