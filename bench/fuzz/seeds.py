"""Real files of every container that can be written here, small, to be damaged."""

import io

import numpy as np

from bench.fuzz import crafted as made
from bench.fuzz.recordings import by_ffmpeg, by_libsndfile
from worker.audio.source import Block

FRAMES = 3_000
RATE = 44_100
LIBSNDFILE = (
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"),
    ("WAV", "ULAW"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_24"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_24"),
    ("AIFF", "IMA_ADPCM"),
    ("AU", "PCM_16"),
    ("AU", "G721_32"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("VOC", "PCM_16"),
    ("NIST", "PCM_16"),
    ("SVX", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
)
FFMPEG = (
    (RATE, "ipod", "aac", ""),
    (RATE, "ipod", "alac", ""),
    (RATE, "mov", "pcm_s16le", ""),
    (48_000, "mp4", "libopus", ""),
    (RATE, "mp4", "aac", "mpeg4"),
    (RATE, "adts", "aac", ""),
    (RATE, "matroska", "aac", ""),
    (RATE, "matroska", "flac", ""),
    (48_000, "webm", "libopus", ""),
    (48_000, "ogg", "libopus", ""),
    (RATE, "ogg", "flac", ""),
    (RATE, "mpegts", "aac", ""),
    (RATE, "avi", "libmp3lame", "mpeg4"),
    (RATE, "flv", "aac", ""),
    (RATE, "asf", "libmp3lame", ""),
    (RATE, "mpeg", "mp2", ""),
    (48_000, "ac3", "ac3", ""),
    (RATE, "wv", "wavpack", ""),
    (RATE, "tta", "tta", ""),
    (RATE, "rm", "ac3", ""),
    (RATE, "wav", "adpcm_ima_wav", ""),
    (RATE, "caf", "pcm_s16be", ""),
    (RATE, "aiff", "pcm_s16be", ""),
    (RATE, "w64", "pcm_s16le", ""),
)


def recordings() -> list[bytes]:
    """Make one of each."""
    sound = (np.random.default_rng(0).standard_normal((FRAMES, 1)) * 0.1).astype(np.float32)
    found = [_by_libsndfile(sound, *form) for form in LIBSNDFILE]
    found += [by_ffmpeg(sound, rate, container, codec, picture=film) for rate, container, codec, film in FFMPEG]
    tag = made.packed_tag(200, 3)
    found += [made.dsf(tag), made.with_tag_chunk(tag), tag + made.mp3(10), made.fragmented(50, runs=2)]
    return [*found, made.amr(), made.matroska_vorbis(made.vorbis_setup(4, 8))]


def mels() -> list[bytes]:
    """Make mels of each type that is read."""
    found = []
    for shape, kind in (((8, 128), "<f4"), ((2, 5, 128), "<f8"), ((1, 3, 128), "<f2")):
        file = io.BytesIO()
        np.save(file, np.ones(shape, kind))
        found.append(file.getvalue())
    return found


def _by_libsndfile(sound: Block, container: str, subtype: str) -> bytes:
    rate = {"OPUS": 48_000, "GSM610": 8_000, "G721_32": 8_000}.get(subtype, RATE)
    return by_libsndfile(sound, rate, container, subtype)
