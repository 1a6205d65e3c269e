"""What a convert request means as jobs."""

import pytest

from api.errors import RequestError
from api.harmony.schemas import ConvertRequest
from api.harmony.steps import MOST_STEPS, read_steps
from shared.catalog import Catalog, ModelEntry

CATALOG = Catalog(
    (
        ModelEntry("mine", "VoiceFixerRestorer"),
        ModelEntry("voicefixer-restorer", "VoiceFixerRestorer"),
        ModelEntry("voicefixer-vocoder", "VoiceFixerVocoder"),
        ModelEntry("other", "GriffinLimVocoder"),
    )
)
RESTORER_ALONE = Catalog((ModelEntry("mine", "VoiceFixerRestorer"),))


def steps(catalog=CATALOG, **asked):
    made = read_steps(ConvertRequest.model_validate(asked), catalog)
    return [
        (
            one.options.stages,
            one.options.restorer,
            one.options.vocoder,
            *one.options.output.model_dump(exclude={"channels"}).values(),
        )
        for one in made
    ]


BOTH = ("restore", "vocode")


@pytest.mark.parametrize(
    ("asked", "job"),
    [
        ({"model": "voicefixer"}, (BOTH, "voicefixer-restorer", "voicefixer-vocoder", "wav", 44100, 16)),
        ({"model": "mine"}, (("restore",), "mine", None, "npy", None, None)),
        ({"model": "mine", "output_options": {"format": "npy"}}, (("restore",), "mine", None, "npy", None, None)),
        ({"model": "mine", "output_options": {"stream": True}}, (("restore",), "mine", None, "npy", None, None)),
        ({"model": "mine", "output_options": {"format": "wav"}}, (BOTH, "mine", None, "wav", 44100, 16)),
        ({"model": "mine", "output_options": {"format": None}}, (BOTH, "mine", None, "wav", 44100, 16)),
        ({"model": "other"}, (("vocode",), None, "other", "wav", 44100, 16)),
        (
            {"model": "other", "output_options": {"format": "MP3", "sample_rate": 48000}},
            (("vocode",), None, "other", "mp3", 48000, None),
        ),
    ],
)
def test_a_model_and_its_output_make_a_job(asked, job):
    assert steps(**asked) == [job]


def test_filters_come_before_in_their_order_and_theirs_before_them():
    asked = {
        "model": "voicefixer",
        "pre_processing_filters": [
            {"model": "other", "pre_processing_filters": [{"model": "mine"}]},
            {"model": "voicefixer", "output_options": {"format": "flac", "sample_rate": 16000}},
        ],
    }
    assert steps(**asked) == [
        (("restore",), "mine", None, "npy", None, None),
        (("vocode",), None, "other", "wav", 44100, 32),  # nothing is rounded on the way
        (BOTH, "voicefixer-restorer", "voicefixer-vocoder", "flac", 16000, 16),
        (BOTH, "voicefixer-restorer", "voicefixer-vocoder", "wav", 44100, 16),
    ]


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({"model": "x"}, 404, "voicefixer, mine, voicefixer-restorer, voicefixer-vocoder, other"),
        ({}, 404, "does not exist"),
        ({"model": "mine", "output_options": {"sample_rate": 8000}}, 400, "output_options.sample_rate"),
        ({"model": "other", "output_options": {"format": "npy"}}, 400, "output_options.format"),
        ({"model": "voicefixer", "output_options": {"format": "aac"}}, 400, "wav, flac"),
        ({"model": "voicefixer", "output_options": {"format": ""}}, 400, "wav, flac"),
        ({"model": "voicefixer", "output_options": {"format": "mp3", "sample_rate": 96000}}, 400, "sample_rate"),
        ({"model": "voicefixer", "pre_processing_filters": [{"model": "mine"}]}, 400, "format wav"),
        ({"model": "other", "pre_processing_filters": [{"model": "voicefixer"}]}, 400, "takes a mel"),
        ({"model": "voicefixer", "pre_processing_filters": [{"model": "voicefixer"}] * MOST_STEPS}, 400, "at most"),
        ({"model": "voicefixer", "pre_processing_filters": [{"model": "y"}]}, 404, "`y`"),
    ],
)
def test_what_cannot_be_is_told(asked, status, says):
    with pytest.raises(RequestError) as caught:
        steps(**asked)
    assert (caught.value.status, says in caught.value.message) == (status, True), caught.value.message


def test_without_a_vocoder_there_is_no_chain():
    assert steps(RESTORER_ALONE, model="mine") == [(("restore",), "mine", None, "npy", None, None)]
    for asked, status in (
        ({"model": "voicefixer"}, 404),
        ({"model": "mine", "output_options": {"format": "wav"}}, 400),
    ):
        with pytest.raises(RequestError) as caught:
            steps(RESTORER_ALONE, **asked)
        assert caught.value.status == status
