import json

import numpy as np
import pytest

from bench import parity
from bench.models import load_models
from bench.parity import Row, compare, snr_db
from bench.reference import Signal
from worker.models.errors import DeviceUnavailableError


@pytest.fixture(scope="module")
def models(random_weights):
    return load_models(random_weights)


def test_every_stage_equals_the_voicefixer_package(package_stages, models):
    row = compare(*package_stages[0], *models)
    assert min(row.snr.values()) > 100, row


def test_mode_2_equals_the_package_seeded_alike(package_stages, models):
    row = compare(*package_stages[1], *models)
    assert row.snr["chain"] > 90, row  # statistics of few values at the bottom of the UNet magnify rounding


def test_the_modes_of_the_package_differ_by_far_more_than_ours_from_it(package_stages, models):
    signal, reference = package_stages[1]
    plain = compare(Signal(signal.audio), reference, *models)
    assert plain.snr["chain"] < 60


def test_snr_is_in_decibels_of_power():
    assert snr_db(np.ones(10), np.full(10, 0.9)) == pytest.approx(20.0)
    assert snr_db(np.ones(10), np.ones(10)) == 400.0
    with pytest.raises(ValueError, match="shapes differ"):
        snr_db(np.ones(10), np.ones(9))


@pytest.mark.parametrize(
    ("precision", "lowest", "code"), [("fp32", 100.1, 0), ("fp32", 99.9, 1), ("bf16", 30.0, 0), ("bf16", 101.0, 0)]
)
def test_one_figure_below_100_db_fails_the_bench_in_fp32_alone(monkeypatch, capsys, tmp_path, precision, lowest, code):
    row = Row(44_100, 100, dict.fromkeys(parity.STAGES, 130.0) | {"unet": lowest})
    monkeypatch.setattr(parity, "run", lambda weights, **options: [row])
    assert parity.main(["--weights", str(tmp_path), "--precision", precision]) == code
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["passed"] is (code == 0)
    assert summary["lowest_db"] == lowest


def test_a_backend_that_is_not_here_is_told_and_is_no_failure_of_equality(monkeypatch, capsys, tmp_path):
    def refuse(weights, **options):
        raise DeviceUnavailableError("It is not here.")

    monkeypatch.setattr(parity, "run", refuse)
    assert parity.main(["--weights", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "It is not here.\n"


def test_lengths_cover_both_parities_and_ragged_ends():
    lengths = [parity._length(*shape) for shape in parity.SHAPES]
    assert {length // 441 % 2 for length in lengths} == {0, 1}
    assert len({length % 441 for length in lengths}) == len(lengths)
