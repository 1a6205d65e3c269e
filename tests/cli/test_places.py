from pathlib import Path

import pytest

from cli.errors import UsageProblem
from cli.places import format_of, plan, refuse, written


def test_a_result_lies_beside_its_input_unless_told_otherwise(tmp_path: Path) -> None:
    place = plan([tmp_path / "talk.mp3"], None)[0]
    assert place.path("flac") == tmp_path / "talk-restored.flac"


def test_one_input_takes_a_file_or_a_folder(tmp_path: Path) -> None:
    talk = tmp_path / "talk.wav"
    assert plan([talk], tmp_path / "new.ogg")[0].path("ogg") == tmp_path / "new.ogg"
    assert plan([talk], tmp_path)[0].path("wav") == tmp_path / "talk-restored.wav"
    assert plan([talk], tmp_path / "new")[0].path("wav") == tmp_path / "new" / "talk-restored.wav"


def test_several_inputs_take_a_folder(tmp_path: Path) -> None:
    places = plan([tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "new")
    assert [place.path("wav").name for place in places] == ["a-restored.wav", "b-restored.wav"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageProblem, match="several results need a folder"):
        plan([tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "file")


def test_two_inputs_never_share_a_place(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="both become"):
        plan([tmp_path / "one" / "a.wav", tmp_path / "two" / "a.flac"], tmp_path)


def test_an_input_is_never_overwritten_even_through_a_link(tmp_path: Path) -> None:
    talk = tmp_path / "talk.wav"
    talk.write_bytes(b"precious")
    (tmp_path / "link.wav").symlink_to(talk)
    for target in (talk, tmp_path / "link.wav"):
        with pytest.raises(UsageProblem, match="never takes its place"):
            refuse(target, [talk], overwrite=True)


def test_an_existing_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "old.wav").write_bytes(b"")
    with pytest.raises(UsageProblem, match="--overwrite"):
        refuse(tmp_path / "old.wav", [], overwrite=False)
    refuse(tmp_path / "old.wav", [], overwrite=True)


def test_a_result_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "talk.wav"

    def break_off() -> None:
        with written(target) as part:
            part.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert list(target.parent.iterdir()) == []
    with written(target) as part:
        part.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("name", "form"), [("a.wav", "wav"), ("a.AIF", "aiff"), ("a.npy", "npy"), ("a.tar.mp3", "mp3")]
)
def test_the_suffix_of_a_named_file_asks_for_its_format(name: str, form: str) -> None:
    assert format_of(Path(name)) == form


def test_a_named_file_never_holds_something_else_than_its_suffix_says() -> None:
    with pytest.raises(UsageProblem, match=r"a\.m4a.*\.wav.*--format"):
        format_of(Path("a.m4a"))
