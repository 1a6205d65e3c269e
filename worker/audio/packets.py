"""Decoding with FFmpeg (PyAV): AAC, MP3, FLAC, video and whatever libsndfile does not read.

Codecs work in frames and put priming samples before and padding after the recording. FFmpeg drops the priming that
the container tells of; the padding is cut here, where the container says how long the recording is.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from shared.formats import SourceFacts
from worker.audio.bounds import MAX_STREAMS, bound_allocations, bound_frames, probed_decoders
from worker.audio.errors import AudioEmpty, AudioMissing, AudioUnreadable
from worker.audio.guard import GuardedFile
from worker.audio.mp4index import check_index
from worker.audio.packedtags import READ_BY, check_tags
from worker.audio.sniff import Kind
from worker.audio.source import Block, Decoded

HELD = 8192
"""Samples kept back until the end is known: more than any codec's padding."""
DEPTHS = {"u8": 8, "s16": 16, "s32": 24, "s64": 64, "flt": 32, "dbl": 64}
"""Bits by FFmpeg's sample format; its decoders put 17 to 24 bits into s32."""
OPTIONS = {
    "protocol_whitelist": "",
    "probesize": "5000000",
    "analyzeduration": "5000000",
    "max_streams": str(MAX_STREAMS),
    "codec_whitelist": probed_decoders(),
}
"""No address may be opened by what a file says, and no picture unpacked: a cover of 1 MB can take up 1 GB."""
REFUSALS = (av.FFmpegError, ValueError, OverflowError, MemoryError, UnicodeError, IndexError)
DAMAGED = "The file is damaged, or its encoding is not supported."


@dataclass
class _Progress:
    """What demuxing has shown so far: packets that decoded or did not, and where the last one ends (time base)."""

    good: int = 0
    bad: int = 0
    end: int | None = None


def open_packets(file: GuardedFile, kind: Kind) -> Decoded:
    """Open by FFmpeg. Raises `AudioUnreadable` and `AudioMissing`."""
    bound_allocations()
    if kind.container == "mp4":
        check_index(file)
    if kind.container in READ_BY:
        check_tags(file)
    file.seek(0)
    try:
        container = av.open(file, format=kind.demuxer, options=OPTIONS, metadata_errors="ignore")
    except REFUSALS as error:
        file.check()
        raise AudioUnreadable(DAMAGED) from error
    try:
        stream = _sound(container)
        progress = _Progress()
        frames = _frames(container, stream, progress)
        first = next(frames, None)
        if first is None:
            raise AudioUnreadable(DAMAGED) if progress.bad else AudioEmpty("The file holds no sound at all.")
        facts = _facts(container, stream, first, kind)
    except BaseException:
        container.close()
        file.check()
        raise
    promised = _in_samples(stream.duration, stream, facts.sample_rate)

    def samples() -> Iterator[Block]:
        blocks = _blocks(first, frames, facts)
        yield from _cut_padding(blocks, lambda total: _length(container, stream, progress, facts, total))

    return Decoded(facts=facts, promised=promised, blocks=samples(), close=container.close)


def _sound(container: Any) -> Any:
    """The audio stream that a player would choose; the others are not even read where the container allows it."""
    stream = container.streams.best("audio")
    if not container.streams:
        raise AudioUnreadable(DAMAGED)
    if stream is None and container.streams.audio:
        raise AudioUnreadable("Its header names a sample rate, channels or an encoding that cannot be.")
    if stream is None:
        raise AudioMissing("The file has no sound in it; send one with an audio track.")
    if stream.codec_context is None:
        raise AudioUnreadable("No decoder for its encoding is at hand; convert it to WAV or FLAC.")
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all
    stream.codec_context.thread_count = 1
    bound_frames(stream.codec_context)
    return stream


def _frames(container: Any, stream: Any, progress: _Progress) -> Iterator[Any]:
    """Decode packet by packet; a damaged one is left out, a cut file ends where it is cut."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except REFUSALS:
            return
        if packet is None:
            break
        if packet.pts is not None and packet.duration and not packet.is_discard:
            progress.end = max(progress.end or 0, packet.pts + packet.duration)
        try:
            decoded = packet.decode()
        except REFUSALS:
            progress.bad += 1
            continue
        progress.good += len(decoded)
        yield from decoded


def _facts(container: Any, stream: Any, frame: Any, kind: Kind) -> SourceFacts:
    """Rate and channels are those of the first frame: AAC's header may name half of the rate."""
    codec = stream.codec_context.codec
    lossy = not codec.lossless or codec.canonical_name == "dts"
    named = re.fullmatch(r"pcm_[suf](\d+).*", codec.name)
    depth = int(named[1]) if named else DEPTHS.get(frame.format.packed.name)
    video = any(
        other.type == "video" and not other.disposition & av.stream.Disposition.attached_pic
        for other in container.streams
    )
    return SourceFacts(
        container=kind.container,
        codec=codec.canonical_name,
        sample_rate=frame.sample_rate,
        channels=frame.layout.nb_channels,
        bit_depth=None if lossy else depth,
        floating=not lossy and frame.format.packed.name in ("flt", "dbl"),
        lossy=lossy,
        video=video,
    )


def _blocks(first: Any, rest: Iterator[Any], facts: SourceFacts) -> Iterator[Block]:
    yield _samples(first)
    for frame in rest:
        if (frame.sample_rate, frame.layout.nb_channels) != (facts.sample_rate, facts.channels):
            raise AudioUnreadable(
                "The sound changes its sample rate or its channels in the middle; convert it to a plain WAV first."
            )
        yield _samples(frame)


def _samples(frame: Any) -> Block:
    """A frame as `[n, channels]`, integers scaled so that full scale is ±1."""
    try:
        data = frame.to_ndarray()
    except REFUSALS as error:  # 64-bit integers, which only a damaged header names
        raise AudioUnreadable(DAMAGED) from error
    data = data.T if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels)
    if data.dtype == np.uint8:
        return np.asarray((data.astype(np.float32) - 128.0) / 128.0)
    if data.dtype.kind == "i":
        return np.asarray(data * (0.5 ** (8 * data.itemsize - 1)), dtype=np.float32)
    with np.errstate(over="ignore"):
        return np.asarray(data, dtype=np.float32)


def _cut_padding(blocks: Iterator[Block], length: Callable[[int], int]) -> Iterator[Block]:
    """Keep the last samples back; at the end, `length` of all samples says how many belong to the recording."""
    held: deque[Block] = deque()
    given = count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        while count - len(held[0]) >= HELD:
            first = held.popleft()
            given, count = given + len(first), count - len(first)
            yield first
    if held:
        yield np.concatenate(held)[: max(length(given + count) - given, 0)]


def _length(container: Any, stream: Any, progress: _Progress, facts: SourceFacts, total: int) -> int:
    """Samples of the recording itself, of `total` that were decoded."""
    if progress.bad > progress.good:
        raise AudioUnreadable("Most of the file is damaged; nothing of it can be restored.")
    told = _told_length(container, stream, progress, facts)
    return told if told is not None and total - HELD <= told < total else total


def _told_length(container: Any, stream: Any, progress: _Progress, facts: SourceFacts) -> int | None:
    """What MP4 and MP3 tell: Apple's gapless tag, the last packet's own duration, the edit list, LAME's tag.

    An edit list counts in its file's own, often coarse, ticks: within 2 ms of the packets' end it means that end.
    """
    rate = facts.sample_rate
    listed = _in_samples(stream.duration, stream, rate)
    if facts.container == "mp3":  # without LAME's tag the duration is an estimate, and the start is 0
        return listed if stream.start_time else None
    if facts.container != "mp4":
        return None
    gapless = container.metadata.get("iTunSMPB", "").split()
    if len(gapless) >= 4 and re.fullmatch(r"[0-9A-Fa-f]{1,16}", gapless[3]):
        return int(gapless[3], 16)
    if progress.end is None:
        return listed
    packets = _in_samples(progress.end - (stream.start_time or 0), stream, rate)
    if packets is None or listed is None or abs(packets - listed) <= rate // 500:
        return packets
    return min(packets, listed)


def _in_samples(ticks: int | None, stream: Any, rate: int) -> int | None:
    return None if not ticks else int(ticks * stream.time_base * rate + 0.5)
