import io

import pytest
from rich.console import Console

from cli.archive import board as boards
from cli.archive.board import Count, open_board
from cli.archive.outcome import Outcome, Totals, shown


def screen(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> io.StringIO:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None, legacy_windows=False)
    monkeypatch.setattr(boards, "people", console)
    monkeypatch.setattr(boards, "say", lambda line: text.write(line + "\n"))
    return text


def test_the_table_shows_what_is_on_its_way_and_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    text = screen(monkeypatch, terminal=True)
    totals, count = Totals(), Count()
    count.files, count.bytes = 4, 4_000_000
    with open_board(totals, count) as board:
        for number in range(14):
            watcher = board.watch(f"talk [b]{number}\n.wav")
            watcher.told({"status": "processing", "progress": {"percent": 41.0, "stage": "vocode"}})
        totals.add(Outcome("a.wav", "restored", output="a.flac", bytes=1_000_000))
        rendered = Console(file=(shot := io.StringIO()), width=100, color_system=None)
        rendered.print(board.render())  # type: ignore[attr-defined]
        assert r"talk [b]0\n.wav" in shot.getvalue()
        assert "vocode" in shot.getvalue()
        assert "and 2 more" in shot.getvalue()
        assert "1 of 4+ files, 1.0 MB of 4.0 MB+" in shot.getvalue()
        count.complete = True
        rendered.print(board.render())  # type: ignore[attr-defined]
        assert " left" in shot.getvalue()
        watcher.ended("")
        board.ended(Outcome("b.wav", "failed", error={"code": "c", "message": "It is no audio."}))
    assert "b.wav: It is no audio." in text.getvalue()


def test_without_a_terminal_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = screen(monkeypatch, terminal=False)
    monkeypatch.setattr(boards, "_LINE_SECONDS", 0.0)
    totals, count = Totals(), Count()
    count.files, count.bytes, count.complete = 3, 30, True
    with open_board(totals, count) as board:
        for outcome in (
            Outcome("a\n.wav", "restored", output="a\n.flac", bytes=10, needs_review=True),
            Outcome("b.wav", "unchanged", bytes=10),
            Outcome("c.txt", "skipped", bytes=99),
        ):
            totals.add(outcome)
            board.ended(outcome)
        board.tick()
    first, second = text.getvalue().splitlines()
    assert first == r"a\n.wav → a\n.flac (listen to it: it may have gone wrong)"
    assert second.startswith("2 of 3 files, 20 B of 30 B, 1 unchanged, ")


def test_what_earlier_runs_did_says_nothing_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    totals, count = Totals(), Count()
    count.files, count.bytes, count.complete = 10, 1000, True
    pace = boards.Pace(totals, count)
    totals.add(Outcome("a", "unchanged", bytes=900))
    assert pace.sentence() == "1 of 10 files, 900 B of 1.0 kB, 1 unchanged"
    assert pace.share() == 0.9


def test_a_name_is_shown_in_characters_that_do_no_harm() -> None:
    assert shown("é\x1b[2J\n\udcff") == r"é\x1b[2J\n\udcff"
