"""Odd recordings: each ends in a good result or in one clear error, and the next job runs."""

import io
import struct

import numpy as np
import pytest

from tests.support.recordings import decoded, encoded, m4a, tone

SECOND = tone(44_100)


def lengths(*counts):
    return [pytest.param(encoded(tone(count)), count, id=f"{count} samples") for count in counts]


GOOD = [
    *lengths(1, 1024, 1025, 30 * 44_100 + 1),
    pytest.param(encoded(np.zeros((20_000, 1))), 20_000, id="silence"),
    pytest.param(encoded(np.full((20_000, 1), 0.5)), 20_000, id="DC"),
    pytest.param(encoded(np.sign(SECOND)), 44_100, id="clipped full scale"),
    pytest.param(encoded(SECOND, subtype="PCM_U8"), 44_100, id="8 bit"),
    pytest.param(encoded(tone(8_000, rate=8_000), rate=8_000), 44_100, id="8 kHz"),
    pytest.param(encoded(tone(192_000, rate=192_000), rate=192_000), 192_000, id="192 kHz"),
    pytest.param(encoded(tone(30_000, channels=8)), 30_000, id="8 channels"),
    pytest.param(encoded(SECOND, form="MP3"), 44_100, id="MP3"),
    pytest.param(encoded(SECOND, form="OGG"), 44_100, id="OGG"),
    pytest.param(m4a(SECOND), 44_100, id="m4a"),
    pytest.param(encoded(SECOND)[: 44 + 20_000], 10_000, id="WAV header that promises more"),
]


@pytest.mark.parametrize(("data", "samples"), GOOD)
def test_an_odd_recording_is_restored_at_its_length(service, data, samples):
    job, result = service.restore(data)
    audio, rate = decoded(result)
    assert len(audio) == samples
    assert rate == job["output"]["sample_rate"]
    assert np.isfinite(audio).all()


def not_finite(value):
    samples = tone(5_000)
    samples[4_321] = value
    return encoded(samples, subtype="FLOAT")


BAD = [
    pytest.param(encoded(np.zeros((0, 1))), "audio_empty", id="no samples"),
    pytest.param(not_finite(np.nan), "audio_not_finite", id="NaN"),
    pytest.param(not_finite(np.inf), "audio_not_finite", id="infinity"),
    pytest.param(b"To be, or not to be, that is the question.\n" * 50, "audio_unreadable", id="text"),
    pytest.param(np.random.default_rng(0).bytes(50_000), "audio_unreadable", id="noise bytes"),
    pytest.param(b"RIFF", "audio_unreadable", id="four bytes"),
    pytest.param(encoded(tone(101 * 44_100)), "audio_too_long", id="too long"),
]


@pytest.mark.parametrize(("data", "code"), BAD)
def test_a_recording_that_cannot_be_restored_says_why(service, data, code):
    job = service.wait(service.submit(data, filename="bad.wav"))
    assert job["status"] == "failed"
    assert job["error"]["code"] == code
    assert "file" in job["error"]["message"].lower() or "bad.wav" in job["error"]["message"]
    assert service.client.get(job["urls"]["result"]).status_code == 409


TRUNCATED = {
    "WAV": encoded(SECOND),
    "FLAC": encoded(SECOND, form="FLAC"),
    "MP3": encoded(SECOND, form="MP3"),
    "m4a": m4a(SECOND),
}


@pytest.mark.parametrize("form", TRUNCATED)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_file_gives_what_is_there_or_one_clear_error(service, form, share):
    data = TRUNCATED[form]
    job = service.wait(service.submit(data[: int(len(data) * share)], filename="cut"))
    if job["status"] == "succeeded":
        audio, _ = decoded(service.client.get(job["urls"]["result"]).content)
        assert 0 < len(audio) <= 44_100
    else:
        assert job["error"]["code"] in ("audio_unreadable", "audio_empty")
        assert "cut" in job["error"]["message"]


def test_the_content_decides_and_not_the_extension(service):
    job, result = service.restore(encoded(SECOND, form="FLAC"), filename="speech.mp3")
    assert job["output"]["format"] == "flac"
    assert len(decoded(result)[0]) == 44_100


def test_what_a_format_cannot_hold_is_known_before_any_work_where_it_can_be(service):
    answer = service.post(encoded(SECOND), **{"output.format": "flac", "output.bit_depth": 32})
    assert answer.status_code == 422
    job = service.wait(service.submit(encoded(tone(9_000, channels=6)), **{"output.format": "mp3"}))
    assert job["error"]["code"] == "output_not_possible"


@pytest.mark.parametrize(
    ("fields", "subtype", "form"),
    [
        ({}, "PCM_16", "WAV"),
        ({"output.bit_depth": 24}, "PCM_24", "WAV"),
        ({"output.bit_depth": 32}, "FLOAT", "WAV"),
        ({"output.format": "flac", "output.bit_depth": 24}, "PCM_24", "FLAC"),
        ({"output.format": "aiff"}, "PCM_16", "AIFF"),
        ({"output.format": "ogg"}, "VORBIS", "OGG"),
        ({"output.format": "mp3", "output.sample_rate": 48_000}, "MPEG_LAYER_III", "MP3"),
    ],
)
def test_the_result_has_the_form_that_was_asked_for(service, fields, subtype, form):
    import soundfile

    _, result = service.restore(encoded(tone(40_000, channels=2)), **fields)
    info = soundfile.info(io.BytesIO(result))
    assert (info.subtype, info.format, info.channels) == (subtype, form, 2)


def test_a_wav_that_claims_gigabytes_is_what_it_holds(service):
    data = bytearray(encoded(SECOND))
    data[40:44] = struct.pack("<I", 0xFFFFFFF0)
    data[4:8] = struct.pack("<I", 0xFFFFFFFF)
    _, result = service.restore(bytes(data))
    assert len(decoded(result)[0]) == 44_100


def test_an_empty_upload_is_refused_at_the_door(service):
    answer = service.post(b"")
    assert (answer.status_code, answer.json()["code"]) == (422, "file_empty")


def test_an_upload_over_the_limit_is_refused_at_the_door(service):
    answer = service.post(bytes(40 * 1024**2 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
