import io
import struct
from typing import Any

import numpy as np
import pytest

from tests.worker.audio.made import by_ffmpeg, by_libsndfile, noise, read, tone
from worker.audio.decode import open_audio
from worker.audio.errors import (
    AudioEmpty,
    AudioMissing,
    AudioNotFinite,
    AudioRateUnsupported,
    AudioTooLong,
    AudioTooManyChannels,
    AudioUnreadable,
)

LENGTHS = (1_000, 50_001, 132_300)


@pytest.mark.parametrize(
    ("container", "subtype", "step"),
    [
        ("WAV", "PCM_U8", 2**-7),
        ("WAV", "PCM_16", 2**-15),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 2**-23),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("WAVEX", "PCM_24", 2**-23),
        ("RF64", "PCM_16", 2**-15),
        ("W64", "PCM_16", 2**-15),
        ("AIFF", "PCM_24", 2**-23),
        ("AIFF", "FLOAT", 0),
        ("AU", "PCM_16", 2**-15),
        ("CAF", "PCM_24", 2**-23),
        ("VOC", "PCM_16", 2**-15),
        ("NIST", "PCM_16", 2**-15),
        ("SVX", "PCM_16", 2**-15),
        ("FLAC", "PCM_16", 2**-15),
        ("FLAC", "PCM_24", 2**-23),
    ],
)
def test_lossless_formats_give_their_samples_back(container: str, subtype: str, step: float) -> None:
    samples = noise(20_011, 1 if container == "SVX" else 2)
    decoded = read(by_libsndfile(samples, 44_100, container, subtype))
    assert decoded.shape == samples.shape
    assert np.abs(decoded - samples).max() <= step


@pytest.mark.parametrize("frames", [1, *LENGTHS])
@pytest.mark.parametrize("rate", [8_000, 44_100])
@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_files_of_libsndfile_have_their_exact_length(
    frames: int, rate: int, container: str, subtype: str
) -> None:
    samples = tone(frames, rate, 2)
    assert len(read(by_libsndfile(samples, rate, container, subtype))) == frames


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("ipod", "aac", 44_100),
        ("mp4", "aac", 48_000),
        ("mp4", "aac", 22_050),
        ("mp4", "libopus", 48_000),
        ("ipod", "alac", 44_100),
        ("mov", "pcm_s16le", 44_100),
        ("mp3", "libmp3lame", 44_100),
        ("mp3", "libmp3lame", 22_050),
        ("matroska", "libmp3lame", 44_100),
        ("matroska", "flac", 44_100),
        ("webm", "libopus", 48_000),
        ("ogg", "libopus", 48_000),
        ("flac", "flac", 44_100),
        ("tta", "tta", 44_100),
        ("wv", "wavpack", 44_100),
    ],
)
def test_priming_and_padding_are_trimmed_to_the_sample(container: str, codec: str, rate: int, frames: int) -> None:
    samples = tone(frames, rate, 2)
    decoded = read(by_ffmpeg(samples, rate, container, codec))
    assert len(decoded) == frames
    middle = slice(frames // 4, 3 * frames // 4)
    errors = [np.abs(np.roll(decoded, lag, axis=0) - samples)[middle].mean() for lag in range(-40, 41)]
    assert int(np.argmin(errors)) - 40 == 0  # not even a sample early or late


@pytest.mark.parametrize(
    ("container", "codec"), [("adts", "aac"), ("mpegts", "aac"), ("avi", "libmp3lame"), ("ac3", "ac3")]
)
def test_containers_that_do_not_tell_their_padding_lose_nothing(container: str, codec: str) -> None:
    decoded = read(by_ffmpeg(tone(50_001, 44_100), 44_100, container, codec))
    assert 50_001 <= len(decoded) <= 50_001 + 3 * 1152


def test_a_voc_of_several_blocks_comes_back_without_their_headers() -> None:
    samples = noise(20_011, 2)
    steps = np.rint(samples * 2**15).astype("<i2").tobytes()
    first, rest = steps[:30_000], steps[30_000:]
    sound = b"\x09" + struct.pack("<I", 12 + len(first))[:3] + struct.pack("<IBBHI", 44_100, 16, 2, 4, 0) + first
    more = b"\x02" + struct.pack("<I", len(rest))[:3] + rest
    decoded = read(b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x0114, 0x111F) + sound + more + b"\x00")
    assert decoded.shape == samples.shape
    assert np.abs(decoded - samples).max() <= 2**-15


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC", "OGG"])
def test_a_tag_before_a_recording_takes_nothing_of_it(container: str) -> None:
    data = by_libsndfile(tone(20_011, 44_100), 44_100, container, "VORBIS" if container == "OGG" else "PCM_16")
    tag = b"ID3\x03\x00\x00\x00\x00\x00\x14" + bytes(20)
    np.testing.assert_array_equal(read(tag + data), read(data))


def test_apples_gapless_tag_is_believed() -> None:
    tag = " 00000000 00000840 000001CA 000000000000C000 00000000"
    data = by_ffmpeg(tone(50_001, 44_100), 44_100, "mp4", "aac", tags={"iTunSMPB": tag})
    assert len(read(data)) == 0xC000


@pytest.mark.parametrize(
    ("container", "codec", "picture"),
    [("mp4", "aac", "mpeg4"), ("mov", "pcm_s16le", "mpeg4"), ("webm", "libopus", "libvpx")],
)
def test_the_sound_of_a_video_is_taken_and_the_facts_say_so(container: str, codec: str, picture: str) -> None:
    data = by_ffmpeg(tone(48_000, 48_000), 48_000, container, codec, picture=picture)
    with open_audio(io.BytesIO(data)) as source:
        assert source.facts.video
        assert sum(len(block) for block in source.blocks()) == 48_000


def test_an_mp3_whose_bit_rate_varies_and_that_says_no_length_is_read_whole() -> None:
    data = by_libsndfile(tone(132_300, 44_100, 2), 44_100, "MP3", "MPEG_LAYER_III")
    frame = data.index(b"\xff\xfb")
    second = data.index(data[frame : frame + 2], frame + 4)
    assert len(read(data[second:])) >= 132_300


@pytest.mark.parametrize(
    ("container", "subtype", "facts"),
    [
        ("WAV", "PCM_U8", ("wav", 8, False, False)),
        ("WAV", "PCM_24", ("wav", 24, False, False)),
        ("WAV", "FLOAT", ("wav", 32, True, False)),
        ("WAV", "ULAW", ("wav", None, False, True)),
        ("AIFF", "PCM_16", ("aiff", 16, False, False)),
        ("FLAC", "PCM_24", ("flac", 24, False, False)),
        ("OGG", "VORBIS", ("ogg", None, False, True)),
        ("MP3", "MPEG_LAYER_III", ("mp3", None, False, True)),
    ],
)
def test_the_facts_tell_format_and_depth(container: str, subtype: str, facts: tuple[Any, ...]) -> None:
    with open_audio(io.BytesIO(by_libsndfile(tone(4_410, 22_050), 22_050, container, subtype))) as source:
        found = source.facts
    assert (found.container, found.bit_depth, found.floating, found.lossy) == facts
    assert (found.sample_rate, found.channels, found.video) == (22_050, 1, False)


@pytest.mark.parametrize("name", ["voice.raw", "voice.mp3", "voice.txt", ""])
def test_content_decides_and_not_the_name(name: str) -> None:
    file = io.BytesIO(by_libsndfile(tone(500, 8_000), 8_000, "WAV", "PCM_16"))
    file.name = name
    assert len(read(file, name=name)) == 500


@pytest.mark.parametrize("rate", [1_000, 768_000])
def test_rates_from_1_to_768_khz_and_8_channels_are_taken(rate: int) -> None:
    with open_audio(io.BytesIO(by_libsndfile(noise(300, 8), rate, "WAV", "PCM_16"))) as source:
        assert (source.sample_rate, source.channels) == (rate, 8)
        assert sum(len(block) for block in source.blocks()) == 300


@pytest.mark.parametrize("frames", [1, 7, 4096, 100_000])
def test_the_samples_do_not_depend_on_the_size_of_the_blocks(frames: int) -> None:
    data = by_ffmpeg(tone(20_000, 44_100, 2), 44_100, "ipod", "aac")
    whole = read(data)
    with open_audio(io.BytesIO(data)) as source:
        blocks = list(source.blocks(frames))
    assert all(len(block) == frames for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= frames
    assert np.array_equal(np.concatenate(blocks), whole)


def wav_with_sizes(riff: int, data: int) -> bytes:
    whole = by_libsndfile(tone(1_000, 8_000), 8_000, "WAV", "PCM_16")
    at = whole.index(b"data")
    return whole[:4] + struct.pack("<I", riff) + whole[8 : at + 4] + struct.pack("<I", data) + whole[at + 8 :]


@pytest.mark.parametrize(("riff", "data"), [(10**9, 10**9), (0, 0), (2**32 - 1, 2**32 - 1), (2**31 - 1, 2**31 - 37)])
def test_a_wav_header_that_promises_something_else_gives_what_is_there(riff: int, data: int) -> None:
    assert len(read(wav_with_sizes(riff, data))) == 1_000


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("AIFF", "PCM_24"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
        ("CAF", "PCM_16"),
    ],
)
def test_a_file_that_was_cut_gives_what_is_there(container: str, subtype: str) -> None:
    samples = noise(60_000)
    data = by_libsndfile(samples, 44_100, container, subtype)
    decoded = read(data[: len(data) // 2])
    assert 20_000 < len(decoded) < 40_000
    if container != "MP3":
        assert np.corrcoef(decoded[:, 0], samples[: len(decoded), 0])[0, 1] > 0.8


def test_an_m4a_that_was_cut_before_its_index_is_one_clear_error() -> None:
    data = by_ffmpeg(tone(50_000, 44_100), 44_100, "ipod", "aac")
    with pytest.raises(AudioUnreadable, match="cut short"):
        read(data[: len(data) // 2], name="memo.m4a")


def test_an_m4a_with_its_index_in_front_gives_what_is_there_when_cut() -> None:
    data = by_ffmpeg(tone(132_300, 44_100), 44_100, "mp4", "aac")
    at = data.index(b"moov") - 4
    moov = bytearray(data[at:])
    table = moov.index(b"stco") + 12  # one chunk offset: the index moves in front of the data
    (offset,) = struct.unpack_from(">I", moov, table)
    media = data.index(b"mdat") - 4
    struct.pack_into(">I", moov, table, offset + len(moov))
    moved = data[:media] + bytes(moov) + data[media:at]
    assert len(read(moved)) == 132_300
    assert 40_000 < len(read(moved[: len(moov) + (len(moved) - len(moov)) // 2])) < 90_000


def test_every_song_of_a_chained_ogg_is_read() -> None:
    song = by_libsndfile(noise(20_000), 44_100, "OGG", "VORBIS")
    other = by_libsndfile(noise(20_000, seed=1), 44_100, "OGG", "VORBIS")
    assert 40_000 <= len(read(song + other)) <= 40_000 + 2_048


def test_a_flac_that_does_not_know_its_length_is_read_to_its_end() -> None:
    data = bytearray(by_libsndfile(noise(30_000), 44_100, "FLAC", "PCM_16"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert len(read(bytes(data))) == 30_000


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am a text file and not a recording\n" * 100,
        bytes(10_000),
        np.random.default_rng(3).bytes(50_000),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"RIFF",
        b"RIFF\x10\x00\x00\x00WAVE",
        b"fLaC" + bytes(50),
        b"OggS" + bytes(50),
        b"ID3\x03\x00\x00\x00\x00\x00\x10" + bytes(16),
    ],
)
def test_what_is_no_recording_is_told_so_and_never_guessed(data: bytes) -> None:
    with pytest.raises(AudioUnreadable) as caught:
        read(data, name="upload.wav")
    assert '"upload.wav"' in caught.value.message
    assert "0x" not in caught.value.message


@pytest.mark.parametrize("data", [b"", by_libsndfile(np.zeros((0, 1)), 8_000, "WAV", "PCM_16")])
def test_a_file_without_samples_is_empty(data: bytes) -> None:
    with pytest.raises(AudioEmpty):
        read(data)


def test_an_ogg_whose_only_page_of_sound_is_damaged_is_not_called_empty() -> None:
    data = bytearray(by_libsndfile(tone(20_011, 44_100), 44_100, "OGG", "VORBIS"))
    data[-200] ^= 0xFF  # the page's checksum no longer holds
    with pytest.raises(AudioUnreadable):
        read(bytes(data))


def test_a_video_cut_before_its_tracks_is_damaged_and_not_without_sound() -> None:
    data = by_ffmpeg(tone(20_011, 44_100), 44_100, "mp4", "aac")
    index = data[data.index(b"moov") - 4 :]
    with pytest.raises(AudioUnreadable):
        read(data[: data.index(b"mdat") - 4] + index[:100])


def test_a_video_without_sound_is_told_so() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        out.mux(video.encode(image))
        out.mux(video.encode(None))
    with pytest.raises(AudioMissing):
        read(file.getvalue())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_numbers_that_are_no_samples_are_refused_with_their_place(value: float) -> None:
    samples = noise(8_000)
    samples[4_000] = value
    with pytest.raises(AudioNotFinite, match=r"0\.500 s"):
        read(by_libsndfile(samples, 8_000, "WAV", "FLOAT"))


def test_doubles_too_large_for_float_are_refused() -> None:
    samples = noise(100).astype(np.float64)
    samples[50] = 1e300
    with pytest.raises(AudioNotFinite):
        read(by_libsndfile(samples, 8_000, "WAV", "DOUBLE"))


def test_nine_channels_are_too_many() -> None:
    with pytest.raises(AudioTooManyChannels):
        read(by_libsndfile(noise(100, 9), 8_000, "WAV", "PCM_16"))


@pytest.mark.parametrize("rate", [999, 768_001])
def test_rates_beyond_the_limits_are_refused(rate: int) -> None:
    with pytest.raises(AudioRateUnsupported):
        read(by_libsndfile(noise(100), rate, "WAV", "PCM_16"))


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("MP3", "MPEG_LAYER_III")])
def test_a_recording_longer_than_allowed_is_refused_and_one_as_long_is_not(container: str, subtype: str) -> None:
    data = by_libsndfile(tone(16_000, 8_000), 8_000, container, subtype)
    assert len(read(data, max_seconds=2.0)) == 16_000
    with pytest.raises(AudioTooLong, match=r"1\.5 seconds"):
        read(data, max_seconds=1.5)


def test_a_length_that_no_header_tells_is_limited_while_it_is_read() -> None:
    data = by_ffmpeg(tone(48_000, 48_000), 48_000, "webm", "libopus")
    with open_audio(io.BytesIO(data), max_seconds=0.5) as source:
        assert source.promised is None
        with pytest.raises(AudioTooLong):
            list(source.blocks())


class Broken(io.BytesIO):
    """A file whose storage fails after some reads."""

    reads = 3

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads -= 1
        if self.reads < 0:
            raise ConnectionError("storage went away")
        return super().read(size)


@pytest.mark.parametrize("reads", [0, 1, 2, 3, 6])
@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("OGG", "VORBIS"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")]
)
def test_a_failing_storage_is_not_taken_for_a_bad_recording(reads: int, container: str, subtype: str) -> None:
    file = Broken(by_libsndfile(noise(600_000, 2), 44_100, container, subtype))
    file.reads = reads
    with pytest.raises(ConnectionError):
        read(file)


class Trickle(io.BytesIO):
    """A file that gives fewer bytes than asked for, as sockets do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1_000) if size and size > 0 else size)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("OGG", "VORBIS"), ("FLAC", "PCM_16")])
def test_short_reads_are_not_taken_for_the_end(container: str, subtype: str) -> None:
    assert len(read(Trickle(by_libsndfile(noise(50_000), 44_100, container, subtype)))) == 50_000
