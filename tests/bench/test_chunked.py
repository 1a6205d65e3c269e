import numpy as np
import pytest

from bench.chunked import ChunkedChain, _shifted
from bench.signals import speech_like
from tests.support.standins import StandInRestorer, StandInVocoder
from worker.chunks import Geometry


@pytest.mark.parametrize("seconds", [4.0, 2.3])
def test_windows_on_and_off_the_grid_are_those_of_one_pass_where_a_model_does_not_mind(tmp_path, seconds):
    audio = speech_like(round(seconds * 44_100), 1)
    whole = ChunkedChain(tmp_path / "whole", audio, Geometry(64 * 20, 64, 80))
    cut = ChunkedChain(tmp_path / "cut", audio, Geometry(128, 64, 80))
    assert (len(whole.windows), len(cut.windows) > 1) == (1, True)
    mel = whole.restore(StandInRestorer())
    np.testing.assert_array_equal(cut.restore(StandInRestorer(), off_grid=32), mel)
    np.testing.assert_array_equal(cut.restore(StandInRestorer()), mel)
    np.testing.assert_array_equal(cut.vocode(StandInVocoder()), whole.vocode(StandInVocoder()))


def test_every_window_but_the_first_leaves_the_grid(tmp_path):
    for context in (0, 64, 256):
        chain = ChunkedChain(tmp_path / str(context), speech_like(200_000, 1), Geometry(128, context, 80))
        moved = [_shifted(window, 32) for window in chain.windows[1:]]
        assert moved
        assert all(window.seen_start % 64 == 32 and window.seen_start <= window.mel_start for window in moved)
