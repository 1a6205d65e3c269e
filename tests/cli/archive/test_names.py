import os

from cli.archive.names import stems


def test_a_name_of_its_own_is_kept_and_equal_stems_keep_their_extensions() -> None:
    assert stems(["talk.wav", "a.wav", "a.mp3", "b"]) == {
        "talk.wav": "talk",
        "a.wav": "a.wav",
        "a.mp3": "a.mp3",
        "b": "b",
    }


def test_names_do_not_depend_on_the_order() -> None:
    names = ["a.wav", "A.flac", "a.mp3", "a.wav.wav", "z.ogg"]
    assert stems(names) == stems(names[::-1])


def test_no_two_results_have_one_name_on_any_disk() -> None:
    for names in (
        ["a.wav", "a.mp3", "a.wav.wav", "a.wav.mp3", "A.WAV.ogg"],
        ["Maße.wav", "MASSE.mp3"],
        ["é.wav", "e\u0301.wav"],
        ["x.WAV", "x.wav"],
    ):
        given = stems(names)
        assert len({stem.casefold() for stem in given.values()}) == len(names), given


def test_a_folder_keeps_its_name_and_a_result_gives_way() -> None:
    assert stems(["a.wav", "b.wav"], ["a.flac", "b"]) == {"a.wav": "a.wav", "b.wav": "b"}


def test_a_name_fits_with_extension_and_receipt_and_long_ones_stay_apart() -> None:
    long = ["ü" * 125 + f"{number}.wav" for number in range(2)]
    given = stems(long)
    assert len(set(given.values())) == 2
    assert all(len(os.fsencode(stem + ".flac.receipt.json")) <= 255 for stem in given.values())
    assert all("\udcc3" not in stem for stem in given.values())  # no half of a character


def test_odd_bytes_stay_what_they_are() -> None:
    name = os.fsdecode(b"\xe9t\xe9.wav")
    assert os.fsencode(stems([name])[name]) == b"\xe9t\xe9"
