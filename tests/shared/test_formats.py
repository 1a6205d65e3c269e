from dataclasses import dataclass
from typing import Any

import pytest

from shared.formats import FORMATS, OutputNotPossible, OutputPlan, SourceFacts, check_output, default_output
from shared.jobs import OutputRequest


@dataclass(frozen=True)
class Asked:
    format: str | None = None
    sample_rate: Any = None
    bit_depth: int | None = None
    channels: Any = None


def wav(**changes: Any) -> SourceFacts:
    facts = {"container": "wav", "codec": "pcm_16", "sample_rate": 44_100, "channels": 2, "bit_depth": 16}
    return SourceFacts(**(facts | changes))


@pytest.mark.parametrize(
    ("facts", "plan"),
    [
        (wav(), ("wav", 44_100, 16, 2)),
        (wav(bit_depth=8), ("wav", 44_100, 16, 2)),
        (wav(bit_depth=20), ("wav", 44_100, 24, 2)),
        (wav(bit_depth=24, sample_rate=8_000), ("wav", 44_100, 24, 2)),
        (wav(bit_depth=32), ("wav", 44_100, 32, 2)),
        (wav(bit_depth=64, floating=True, sample_rate=96_000), ("wav", 96_000, 32, 2)),
        (wav(bit_depth=None, lossy=True, codec="ulaw"), ("wav", 44_100, 16, 2)),
        (wav(container="rf64", channels=8), ("wav", 44_100, 16, 8)),
        (wav(container="flac", bit_depth=24, sample_rate=192_000), ("flac", 192_000, 24, 2)),
        (wav(container="flac", sample_rate=88_211), ("wav", 88_211, 16, 2)),
        (wav(container="aiff", bit_depth=32, floating=True), ("aiff", 44_100, 24, 2)),
        (wav(container="mp3", bit_depth=None, lossy=True, channels=1), ("flac", 44_100, 16, 1)),
        (wav(container="mp4", codec="alac", bit_depth=24), ("flac", 44_100, 24, 2)),
        (wav(container="mp4", bit_depth=24, video=True), ("flac", 44_100, 16, 2)),
    ],
)
def test_a_result_follows_its_input_where_nothing_is_asked(facts: SourceFacts, plan: tuple[Any, ...]) -> None:
    assert default_output(facts, OutputRequest()) == OutputPlan(*plan)


@pytest.mark.parametrize(
    ("facts", "asked", "plan"),
    [
        (wav(sample_rate=8_000), Asked(sample_rate="input"), ("wav", 8_000, 16, 2)),
        (wav(sample_rate=96_000), Asked(sample_rate=22_050), ("wav", 22_050, 16, 2)),
        (wav(), Asked(format="flac", bit_depth=24), ("flac", 44_100, 24, 2)),
        (wav(bit_depth=32), Asked(format="flac"), ("flac", 44_100, 24, 2)),
        (wav(bit_depth=24), Asked(format="mp3"), ("mp3", 44_100, None, 2)),
        (wav(sample_rate=96_000), Asked(format="mp3"), ("mp3", 48_000, None, 2)),
        (wav(sample_rate=768_000), Asked(format="ogg"), ("ogg", 200_000, None, 2)),
        (wav(sample_rate=88_211), Asked(format="flac"), ("flac", 88_210, 16, 2)),
        (wav(container="flac"), Asked(bit_depth=32), ("wav", 44_100, 32, 2)),
        (wav(channels=6), Asked(channels="mono"), ("wav", 44_100, 16, 1)),
        (wav(channels=6), Asked(channels=1, format="mp3"), ("mp3", 44_100, None, 1)),
        (wav(channels=6), Asked(channels=6), ("wav", 44_100, 16, 6)),
        (wav(channels=6), Asked(channels="input"), ("wav", 44_100, 16, 6)),
    ],
)
def test_what_is_asked_overrides_the_input(facts: SourceFacts, asked: Asked, plan: tuple[Any, ...]) -> None:
    assert default_output(facts, asked) == OutputPlan(*plan)


@pytest.mark.parametrize(
    ("facts", "asked", "field"),
    [
        (wav(channels=6), Asked(format="mp3"), "channels"),
        (wav(channels=1), Asked(channels=2), "channels"),
        (wav(sample_rate=96_000), Asked(format="mp3", sample_rate="input"), "sample_rate"),
        (wav(sample_rate=768_000), Asked(format="flac", sample_rate="input"), "sample_rate"),
        (wav(), Asked(format="flac", bit_depth=32), "bit_depth"),
        (wav(), Asked(format="wma"), "format"),
    ],
)
def test_an_output_that_cannot_hold_the_recording_is_refused(facts: SourceFacts, asked: Asked, field: str) -> None:
    with pytest.raises(OutputNotPossible) as caught:
        default_output(facts, asked)
    assert caught.value.code == "output_not_possible"
    assert [problem.field for problem in caught.value.problems] == [field]
    assert caught.value.message


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, []),
        ({"sample_rate": "input", "channels": "input"}, []),
        ({"format": "mp3", "sample_rate": 44_100, "channels": "mono"}, []),
        ({"format": "wav", "sample_rate": 768_000, "bit_depth": 32, "channels": 8}, []),
        ({"bit_depth": 20}, ["bit_depth"]),
        ({"sample_rate": 999}, ["sample_rate"]),
        ({"sample_rate": 768_001}, ["sample_rate"]),
        ({"channels": 0}, ["channels"]),
        ({"channels": 9}, ["channels"]),
        ({"format": "mp3", "sample_rate": 44_000}, ["sample_rate"]),
        ({"format": "ogg", "sample_rate": 200_001}, ["sample_rate"]),
        ({"format": "ogg", "bit_depth": 16}, ["bit_depth"]),
        ({"format": "flac", "sample_rate": 65_537}, ["sample_rate"]),
        ({"format": "aiff", "bit_depth": 32}, ["bit_depth"]),
        (
            {"format": "mp3", "sample_rate": 96_000, "bit_depth": 24, "channels": 3},
            ["sample_rate", "bit_depth", "channels"],
        ),
        ({"format": "opus"}, ["format"]),
    ],
)
def test_the_door_names_each_impossible_field_once(asked: dict[str, Any], fields: list[str]) -> None:
    assert [problem.field for problem in check_output(**asked)] == fields


def test_a_plan_knows_its_media_type_and_extension() -> None:
    plans = [OutputPlan(name, 44_100, None, 1) for name in FORMATS]
    assert [(plan.media_type, plan.extension) for plan in plans] == [
        ("audio/wav", "wav"),
        ("audio/flac", "flac"),
        ("audio/aiff", "aiff"),
        ("audio/ogg", "ogg"),
        ("audio/mpeg", "mp3"),
    ]
