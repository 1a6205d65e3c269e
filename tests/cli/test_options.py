import pytest

from cli.errors import UsageProblem
from cli.options import check


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": 3}, "--mode: input should be 0, 1 or 2"),
        ({"seed": -1}, "--seed: input should be greater than or equal to 0"),
        ({"stages": "mix"}, "--stages: input should be 'restore' or 'vocode'"),
        ({"samples": 5}, "samples is for stages=vocode alone"),
        ({"priority": "high"}, "--priority: "),
        ({"metadata": "[1]"}, "--metadata: must be a JSON object"),
        ({"metadata": "{"}, "--metadata: must be a JSON object"),
        ({"output.format": "WAV"}, "--format: input should be 'wav', 'flac'"),
        ({"output.sample_rate": "48k"}, "--sample-rate: input should be a valid integer"),
        ({"output.sample_rate": "1"}, "between 1000 and"),
        ({"output.bit_depth": 8}, "--bit-depth: input should be 16, 24 or 32"),
        ({"output.format": "flac", "output.bit_depth": 32}, "32-bit float needs format wav"),
        ({"output.channels": "stereo"}, "--channels: "),
    ],
)
def test_what_cannot_be_is_said_in_the_words_of_the_command_line(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        check(options)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_what_can_be_passes() -> None:
    check({"mode": None, "output.sample_rate": "input", "output.channels": "2", "metadata": '{"shelf": "A 12"}'})
    check({"stages": "restore", "output.format": "npy"})
    check({"stages": "vocode", "samples": 441})
