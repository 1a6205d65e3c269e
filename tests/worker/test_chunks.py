import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.chunks import Geometry, output_span, plan_windows, reach, sample_range, vocoder_view
from worker.models.constants import HOP, frame_count, padded_length

DEFAULT = Geometry(core=3008, context=640, halo=580)

geometries = st.builds(
    lambda core, context, halo, fade: Geometry(64 * core, 64 * context, halo, min(fade, 64 * context, 32 * core)),
    core=st.integers(1, 50),
    context=st.integers(0, 12),
    halo=st.integers(0, 700),
    fade=st.integers(0, 64),
)


@given(frames=st.integers(1, 20_000), geometry=geometries)
def test_cores_tile_the_file(frames, geometry):
    windows = plan_windows(frames, geometry)
    assert [w.index for w in windows] == list(range(len(windows)))
    assert windows[0].start == 0
    assert windows[-1].stop == frames
    assert all(a.stop == b.start for a, b in itertools.pairwise(windows))
    assert all(w.start < w.stop for w in windows)


@given(frames=st.integers(1, 20_000), geometry=geometries)
def test_every_window_starts_on_the_grid_and_sees_its_context(frames, geometry):
    for w in plan_windows(frames, geometry):
        assert w.seen_start % 64 == 0
        assert w.seen_start <= max(0, w.start - geometry.context)
        assert w.seen_stop >= min(frames, w.stop + geometry.context)
        assert 0 <= w.seen_start < w.seen_stop <= frames
        assert w.seen_start <= w.mel_start <= w.start
        assert w.stop <= w.mel_stop <= w.seen_stop


@given(frames=st.integers(1, 40_000))
def test_windows_of_a_long_file_have_one_length_after_padding(frames):
    windows = plan_windows(frames, DEFAULT)
    if len(windows) > 1:
        assert {-(-(w.seen_stop - w.seen_start) // 64) for w in windows} == {min(-(-frames // 64), 67)}


@given(frames=st.integers(1, 30_000), geometry=geometries)
@settings(max_examples=50)
def test_neighbours_within_reach_hold_all_that_the_vocoder_sees(frames, geometry):
    windows = plan_windows(frames, geometry)
    for w in windows:
        first, last = vocoder_view(w, frames, geometry)
        needed = [v.index for v in windows if v.mel_start < last and v.mel_stop > first]
        assert w.index - reach(geometry) <= min(needed)
        assert max(needed) <= w.index + reach(geometry)


@given(samples=st.integers(1025, 3_000_000), geometry=geometries)
def test_output_spans_tile_the_samples(samples, geometry):
    frames = frame_count(samples)
    spans = [output_span(w, frames, samples) for w in plan_windows(frames, geometry)]
    assert spans[0][0] == 0
    assert spans[-1][1] == samples
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert all(start < stop for start, stop in spans)


def test_a_file_no_longer_than_core_and_context_is_one_window():
    assert len(plan_windows(3008 + 640, DEFAULT)) == 1
    assert len(plan_windows(3008 + 641, DEFAULT)) == 2


def test_frames_take_their_samples_from_both_sides():
    assert sample_range(0, 1) == (-1024, 1024)
    start, stop = sample_range(64, 128)
    assert start == 64 * HOP - 1024
    assert stop - start == padded_length(64)


@pytest.mark.parametrize(
    "sizes", [{"core": 3000, "context": 640}, {"core": 3008, "context": 600}, {"core": 0, "context": 0}]
)
def test_sizes_off_the_grid_are_refused(sizes):
    with pytest.raises(ValueError, match="64"):
        Geometry(**sizes, halo=580)


def test_a_fade_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="fade"):
        Geometry(core=64, context=64, halo=0, fade=33)
