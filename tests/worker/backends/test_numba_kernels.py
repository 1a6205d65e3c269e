import threading
from queue import SimpleQueue

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.parity import snr_db
from worker.backends.numba.cpu import compiling
from worker.backends.numba.cpu.arena import Arena, Shelf
from worker.backends.numba.cpu.products import CHAIN, PANEL, ROWS, multiply, pack, panels
from worker.backends.numba.cpu.team import Team, cut, groups_of
from worker.backends.numba.denoiser import Recurrence
from worker.backends.numba.planes import halve
from worker.backends.numba.signals import bend
from worker.backends.numba.taps import TapConvolution
from worker.backends.numba.tiles import TileConvolution
from worker.backends.numba.unet import Spread
from worker.backends.numba.units import units
from worker.backends.numba.vocoder import Mouth, Spreader, Stack
from worker.models.denoiser import NormedGRU
from worker.models.tfgan import ResidualStack, Upsampler
from worker.models.unet import Decoder

SLOPE = np.float32(0.01)


@pytest.fixture(scope="module")
def team():
    return Team(2)


@pytest.fixture(autouse=True)
def repeatable():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def rows(tensor):
    return tensor[0].T.numpy().copy(order="C")


def quiet(module):
    for parameter in module.parameters():
        parameter.normal_(0, 0.05)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize("length", [1, 3, 4, 5, 90, 700, 5000, 9000])
def test_a_stack_equals_pytorch_whatever_its_dilations_leave_of_a_length(team, length):
    stack, x = quiet(ResidualStack(64)), torch.randn(1, 64, length)
    found = rows(x)
    ours = Stack(stack, team)
    team.finish()
    ours(found, team)
    assert snr_db(rows(stack(x.clone())), found) > 115


@pytest.mark.parametrize(("length", "dilation"), [(1, 1), (7, 3), (8, 1), (100, 9), (9000, 2187), (2187, 2187)])
def test_units_reach_every_row_once(length, dilation):
    reached = [
        4 * dilation * (unit // dilation) + unit % dilation + step * dilation
        for unit in range(units(length, dilation))
        for step in range(4)
    ]
    assert sorted(row for row in reached if row < length) == list(range(length))


@pytest.mark.parametrize(("inputs", "outputs", "factor"), [(128, 64, 7), (128, 64, 3)])
@pytest.mark.parametrize("length", [1, 2, 300])
def test_an_upsampler_equals_pytorch(team, inputs, outputs, factor, length):
    upsampler, x = quiet(Upsampler(inputs, outputs, factor)), torch.randn(1, inputs, length)
    expected = upsampler(functional.leaky_relu(x, 0.2))
    ours = Spreader(upsampler, team)
    team.finish()
    with team.arena.frame():
        assert snr_db(rows(expected), ours(rows(x), team)) > 115


def test_the_last_convolution_reflects_at_its_ends(team):
    conv, x = quiet(nn.Conv1d(64, 1, 7)), torch.randn(1, 64, 50)
    expected = conv(functional.pad(functional.leaky_relu(x, 0.2), (3, 3), mode="reflect")).tanh()
    with team.arena.frame():
        assert snr_db(expected[0, 0], Mouth(conv)(rows(x), team)) > 115


@pytest.mark.parametrize("kind", [TileConvolution, TapConvolution])
@pytest.mark.parametrize(
    ("inputs", "height", "width"), [(16, 1, 1), (2, 4, 4), (64, 6, 127), (48, 13, 7), (32, 300, 3)]
)
def test_a_plane_s_convolutions_equal_pytorch_with_zeros_around_it(team, kind, inputs, height, width):
    weight, scale = torch.randn(64, inputs, 3, 3) * 0.1, torch.rand(64) + 0.5
    bias, x = torch.randn(64), torch.randn(1, inputs, height, width)
    arena = team.arena
    convolution = kind(weight.numpy(), scale.numpy(), team)
    team.finish()
    with arena.frame():
        given, target = kind.plane(arena, height, width, inputs), kind.plane(arena, height, width, 64)
        given[1 : height + 1, 1 : width + 1] = 0
        target[1 : height + 1, 1 : width + 1] = 0
        given[1 : height + 1, 1 : width + 1, :inputs] = x[0].permute(1, 2, 0)
        convolution.into(given, bias.numpy(), SLOPE, (height, width), target)
        exact = torch.conv2d(x.double(), weight.double(), padding=1) * scale[:, None, None]
        expected = functional.leaky_relu(exact + bias[:, None, None], 0.01)
        inside = target[1 : height + 1, 1 : width + 1]
        assert snr_db(expected[0].permute(1, 2, 0), inside) > 110
        assert np.count_nonzero(target[: height + 2]) == np.count_nonzero(inside)

        kept, ready = np.ones((height, width, 64), np.float32), kind.plane(arena, height, width, 64)
        half, quarter = np.full(64, 0.5, np.float32), np.full(64, 0.25, np.float32)
        convolution.onto(given, half, quarter, SLOPE, kept, ready)
        assert snr_db(exact[0].permute(1, 2, 0) + 1, kept) > 110
        following = functional.leaky_relu(torch.from_numpy(kept) * 0.5 + 0.25, 0.01)
        assert snr_db(following, ready[1 : height + 1, 1 : width + 1]) > 110


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (40, 31)])
def test_what_doubles_a_plane_equals_pytorch(team, height, width):
    decoder, x = quiet(Decoder(64, 96)), torch.randn(1, 64, height, width)
    ours = Spread(decoder, team)
    team.finish()
    expected = decoder.conv1(functional.relu(decoder.bn1(x)))[0, :, :-1].permute(1, 2, 0)
    with team.arena.frame():
        found = ours(np.ascontiguousarray(x[0].permute(1, 2, 0).numpy()))
        assert found.shape == (2 * height, 2 * width + 1, 96)
        assert snr_db(expected, found) > 115


def product(left, right, start=None):
    packed = np.empty((panels(right.shape[1]), len(right), PANEL), np.float32)
    pack(right, packed, 0)
    found = np.zeros((len(left), len(packed) * PANEL), np.float32)
    given = np.zeros_like(found) if start is None else start
    for panel, each in enumerate(packed):
        column = 4 * PANEL * panel
        multiply(
            len(left), left.shape[1], left.ctypes.data, left.strides[0], each.ctypes.data,
            given.ctypes.data + column, given.strides[0], found.ctypes.data + column, found.strides[0],
        )  # fmt: skip
    return found[:, : right.shape[1]]


@pytest.mark.parametrize("count", [1, 3, 4, ROWS - 1, ROWS, 3 * ROWS + 5])
@pytest.mark.parametrize(("inner", "columns"), [(2, 1), (64, PANEL), (CHAIN + 6, PANEL + 3)])
def test_a_product_of_matrices_adds_to_what_it_starts_with(count, inner, columns):
    random = np.random.default_rng(0)
    left, right = (random.normal(size=shape).astype(np.float32) for shape in ((count, inner), (inner, columns)))
    start = random.normal(size=(count, panels(columns) * PANEL)).astype(np.float32)
    exact = left.astype(np.float64) @ right + start[:, :columns]
    assert snr_db(exact, product(left, right, start)) > 120


def test_a_row_s_product_has_the_same_bytes_whichever_rows_are_beside_it():
    random = np.random.default_rng(0)
    left, right = (random.normal(size=shape).astype(np.float32) for shape in ((2 * ROWS + 7, 300), (300, 40)))
    whole = product(left, right)
    for first, last in ((0, 1), (1, 6), (5, ROWS + 5), (3, 2 * ROWS + 7)):
        assert np.array_equal(product(left[first:last], right), whole[first:last])


def test_halving_leaves_out_an_odd_last_column():
    x, y = np.random.default_rng(0).normal(size=(6, 7, 32)).astype(np.float32), np.empty((3, 3, 32), np.float32)
    halve(x, 0, 3, y)
    expected = functional.avg_pool2d(torch.from_numpy(x).permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
    assert snr_db(expected, y) > 120


@pytest.mark.parametrize(("items", "steps"), [(1, 1), (1, 70), (3, 5)])
def test_a_recurrence_equals_pytorch_in_both_directions(team, items, steps):
    block, x = quiet(NormedGRU()), torch.randn(items, 1, steps, 512)
    block.bn = nn.Identity()
    assert snr_db(block(x), Recurrence(block, team)(x)) > 115


def test_a_team_does_every_part_once_and_on_several_threads(team):
    done, threads, both = [], set(), threading.Barrier(2)

    def work(part, member):
        if part < 2:
            both.wait(10)
        done.append(part)
        threads.add((member, threading.get_ident()))

    team.share(50, work)
    assert sorted(done) == list(range(50))
    assert len(threads) == 2


@pytest.mark.parametrize(("total", "most"), [(0, 5), (1, 5), (10, 5), (11, 5), (357, 512), (1000, 7)])
@pytest.mark.parametrize("members", [1, 2, 3])
def test_parts_hold_all_of_it_and_none_is_too_large(total, most, members):
    parts, size = cut(total, most, members=members)
    assert size <= most
    assert (parts - 1) * size < max(total, 1) <= max(parts * size, 1)


@pytest.mark.parametrize(("most", "unit"), [(12, 4), (112, 4), (42, 14)])
def test_parts_are_whole_units_of_at_most_the_limit(most, unit):
    for total in range(1, 400):
        parts, size = cut(total, most, unit=unit, members=2)
        assert size % unit == 0
        assert size <= most
        assert (parts - 1) * size < total <= parts * size


@pytest.mark.parametrize(
    ("count", "parts", "members", "expected"), [(8, 1, 2, 2), (8, 3, 2, 2), (1, 3, 2, 1), (8, 90, 2, 1)]
)
def test_panels_are_cut_too_where_parts_are_few(count, parts, members, expected):
    groups = groups_of(count, parts, members)
    assert len(groups) == expected
    assert [panel for first, last in groups for panel in range(first, last)] == list(range(count))


def test_what_is_prepared_is_done_when_it_is_finished_and_once(team):
    done = []
    for start in (0, 10):
        team.prepare(3, lambda part, start=start: done.append(start + part))
    assert done == []
    team.finish()
    team.finish()
    assert sorted(done) == [0, 1, 2, 10, 11, 12]


def test_a_shelf_s_arrays_are_all_different_and_begin_with_a_line():
    shelf = Shelf()
    arrays = [shelf.take(*shape) for shape in ((3, 5), (7,), (1 << 24, 2), (100, 100))]
    for n, each in enumerate(arrays):
        assert each.ctypes.data % 64 == 0
        each[:] = n
    assert [each.flat[0] for each in arrays] == [each.flat[-1] for each in arrays] == [0, 1, 2, 3]


def test_helpers_end_with_the_thread_that_they_help():
    team, names = Team(3), []

    def run():
        team.share(3, lambda part, _: None)
        names.append([thread for thread in threading.enumerate() if thread.name.startswith("kernel-")])

    before = set(threading.enumerate())
    caller = threading.Thread(target=run)
    caller.start()
    caller.join()
    helpers = set(names[0]) - before
    assert len(helpers) == 2
    del caller
    for helper in helpers:
        helper.join(10)
        assert not helper.is_alive()


@pytest.mark.parametrize("bad", range(4))
def test_a_team_passes_on_what_goes_wrong_and_works_on(team, bad):
    def work(part, _):
        if part == bad:
            raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match=f"part {bad}"):
        team.share(4, work)
    done = []
    team.share(3, lambda part, _: done.append(part))
    assert sorted(done) == [0, 1, 2]


def test_an_arena_gives_the_next_pass_the_same_memory_and_no_two_arrays_the_same():
    arena = Arena()

    def run(*shapes):
        with arena.frame():
            outer = arena.take(*shapes[0])
            with arena.frame():
                inner = [arena.take(*shape) for shape in shapes[1:]]
                for n, each in enumerate([outer, *inner]):
                    each[:] = n
                assert [each.min() for each in [outer, *inner]] == [each.max() for each in [outer, *inner]]
                return outer.ctypes.data, [each.ctypes.data for each in inner]

    run((3, 5), (40,), (7,))
    assert run((3, 5), (40,), (7,)) == run((3, 5), (40,), (7,))
    run((100, 100), (5,))
    run((3, 5))


def test_an_interrupt_leaves_nothing_behind_for_the_next_call(team, monkeypatch):
    """Ctrl-C comes while the caller waits for the others."""
    held, done = threading.Event(), []

    class Interrupted(SimpleQueue):
        interrupted = False

        def get(self, *args, **kwargs):
            if not Interrupted.interrupted:
                Interrupted.interrupted = True
                held.set()
                raise KeyboardInterrupt
            return super().get(*args, **kwargs)

    def work(part, member):
        if member:
            held.wait(10)
        done.append(part)

    monkeypatch.setattr("worker.backends.numba.cpu.team.SimpleQueue", Interrupted)
    both = threading.Barrier(2)
    with pytest.raises(KeyboardInterrupt):
        team.share(2, lambda part, member: (both.wait(10), work(part, member)))
    assert sorted(done) == [0, 1]
    team.share(2, lambda part, member: (both.wait(10), done.append(part)))
    assert sorted(done) == [0, 0, 1, 1]


def twice(x):
    for n in range(len(x)):
        x[n] *= 2


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    return tmp_path


def doubled():
    x = np.ones(3, np.float32)
    compiling.compiled()(twice)(x)
    return x.tolist()


def test_compiled_code_is_kept_and_a_damaged_cache_is_made_anew(cache_folder):
    assert doubled() == [2, 2, 2]
    files = [file for file in cache_folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".nbi", ".nbc"}
    for file in files:
        file.write_bytes(file.read_bytes()[:20])
    assert doubled() == [2, 2, 2]
    assert all(file.stat().st_size > 20 for file in cache_folder.rglob("*.nbi"))


def test_code_compiled_from_other_sources_is_not_used(cache_folder, monkeypatch):
    assert doubled() == [2, 2, 2]
    kept = len(list(cache_folder.rglob("*.nbc")))
    monkeypatch.setattr(compiling, "_sources", lambda: "others")
    assert doubled() == [2, 2, 2]
    assert len(list(cache_folder.rglob("*.nbc"))) == kept + 1


def test_without_a_folder_to_keep_code_in_loops_are_compiled_all_the_same(monkeypatch, caplog):
    def nowhere(_):
        raise RuntimeError("no locator available")

    monkeypatch.setattr(compiling, "Kept", nowhere)
    compiling._warn_once.cache_clear()
    assert doubled() == doubled() == [2, 2, 2]
    assert [record.getMessage() for record in caplog.records if "NUMBA_CACHE_DIR" in record.getMessage()] == [
        "compiled code cannot be kept: set NUMBA_CACHE_DIR to a folder that can be written"
    ]


@pytest.mark.parametrize("level", [1e-3, 1.0, 50.0, 1e5])
def test_what_an_upsampler_takes_is_bent_by_a_sine(level):
    x = (np.random.default_rng(0).normal(size=(20, 64)) * level).astype(np.float32)
    found = np.empty((22, 64), np.float32)
    bend(x, np.float32(0.2), -1, 21, found)
    y = np.maximum(x, np.float32(0.2) * x).astype(np.float64)
    assert np.abs(found[1:21] - (y + np.sin(y))).max() < 4e-7 * max(1, np.abs(y).max())
    assert not found[[0, 21]].any()


def test_the_sine_of_what_has_no_phase_adds_nothing():
    x = np.array([[1e12, -1e12, np.inf, np.nan] * 4], np.float32)
    found = np.empty_like(x)
    bend(x, np.float32(0.2), 0, 1, found)
    assert found[0, :2].tolist() == [x[0, 0], x[0, 1] * np.float32(0.2)]
    assert np.isnan(found[0, 2:4]).all()
