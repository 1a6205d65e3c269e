import pytest

from worker.backends.openvino.tiles import cut


@pytest.mark.parametrize("length", [1, 7, 100, 1001])
@pytest.mark.parametrize("largest", [1, 10, 64, 5000])
def test_tiles_keep_everything_once_and_in_order(length, largest):
    tiles = cut((0, length), length=length, reach=5, largest=largest)
    kept = [value for tile in tiles for value in range(*tile.keep)]
    assert kept == list(range(length))
    assert all(tile.keep[1] - tile.keep[0] <= largest for tile in tiles)


@pytest.mark.parametrize("keep", [(0, 1000), (100, 900), (300, 301), (0, 17), (990, 1000)])
def test_a_tile_takes_its_reach_to_both_sides_or_the_data_s_end(keep):
    for tile in cut(keep, length=1000, reach=20, largest=64):
        assert tile.take[0] <= max(tile.keep[0] - 20, 0)
        assert tile.take[1] >= min(tile.keep[1] + 20, 1000)
        assert 0 <= tile.take[0] < tile.take[1] <= 1000


def test_tiles_never_take_what_lies_beyond_the_reach_of_what_is_kept():
    # A stage is given only so much of the one before.
    tiles = cut((300, 500), length=1000, reach=20, largest=64)
    assert min(tile.take[0] for tile in tiles) == 280
    assert max(tile.take[1] for tile in tiles) == 520


@pytest.mark.parametrize("total", [65, 200, 777, 1000])
def test_a_window_needs_one_shape(total):
    assert len({tile.take[1] - tile.take[0] for tile in cut((0, total), length=total, reach=20, largest=64)}) == 1
