import json

import numpy as np
import pytest

from bench.engine import __main__ as engine
from bench.engine.measure import Asked, Measured, Side
from bench.engine.ours import Ours
from bench.engine.process import RefusedError, our_process
from bench.engine.report import ALL, Limits, claims, ratios, window_cost
from bench.engine.work import stage_flops
from bench.signals import speech_like

EASY = Limits(whole=0.0, stage=0.0, whole_bf16=0.0, clip=0.0, peak_gb=99.0, load=99.0, windows=99.0)
SMALL = ["--seconds", "0.5", "--clip", "0.3", "--rounds", "1", "--threads", "1", "--backend", "torch"]


def test_one_round_gives_the_tables_and_one_line_of_json(monkeypatch, capsys, random_weights):
    monkeypatch.setattr(engine, "LIMITS", EASY)
    only = ["--only", "stages", "clip", "load", "--precision", "fp32"]
    code = engine.main([*SMALL, *only, "--weights", str(random_weights)])
    printed = capsys.readouterr().out.splitlines()
    told = json.loads(printed[-1])
    assert (code, told["passed"], told["bench"]) == (0, True, "engine")
    assert set(told["ratios"]["fp32"]) == set(told["gflop"]) == set(ALL)
    assert min(told["sides"]["fp32"]["snr"].values()) > 100
    package, ours = told["sides"]["package"], told["sides"]["fp32"]
    for side in (package, ours):
        assert sum(side["run"][0][stage] for stage in ALL[:-1]) == pytest.approx(side["run"][0]["chain"])
        assert len(side["run"]) == len(side["clip"]) == len(side["load"]) == 1
        assert side["load"][0] > side["build"][0] > 0
        assert side["first"] > side["load"][0]
        assert side["peak_bytes"] > 3e8
    for row in ("UNet", "whole chain", "start to ready, s", "peak memory, GB", "lowest SNR against the package, dB"):
        assert any(line.startswith(row) for line in printed), row


def measured(**sides):
    asked = Asked("weights", 30.0, 2.0, 2, 0, "auto", ("fp32", "bf16"), 2, ("clip", "load", "windows"))
    return Measured(asked, sides=sides)


def side(seconds, *, load=5.0, snr=120.0, peak=1.5e9, window=None):
    passes = [dict.fromkeys(ALL, value) for value in seconds]
    windows = [dict.fromkeys(ALL, value) for value in window or seconds]
    about = {"backend": "b"}
    loads = [load] * len(seconds)
    return Side(about, loads, loads, 1.0, passes, passes, windows, round(peak), 0, dict.fromkeys(ALL, snr))


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians():
    found = ratios(side([10.0, 30.0, 20.0]).run, side([5.0, 5.0, 20.0]).run)
    assert found["chain"] == 2.0


def test_a_window_costs_what_its_new_frames_cost_over_those_of_one_window():
    ours = side([30.01], window=[36.096])
    assert window_cost(measured(fp32=ours), ours) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize(
    ("ours", "bf16", "missed"),
    [
        (side([10.0, 10.0]), side([7.0, 7.0]), []),
        (side([10.8, 10.8]), side([7.0, 7.0]), ["whole chain, times the package"]),
        (side([10.0, 10.0], snr=99.0), side([7.0, 7.0], snr=30.0), ["lowest SNR against the package, dB"]),
        (side([10.0, 10.0], peak=2.1e9), side([7.0, 7.0]), ["peak memory, GB"]),
        (side([10.0, 10.0], load=6.0), side([7.0, 7.0]), ["load, share of the package's"]),
        (side([10.0, 10.0], window=[12.5, 12.5]), side([7.0, 7.0]), ["halo and context, share of one window"]),
        (side([10.0, 10.0]), side([7.6, 7.6]), ["bf16: whole chain, times the package"]),
        (side([10.0, 10.0]), None, ["bf16: whole chain, times the package"]),
    ],
)
def test_every_required_figure_fails_the_bench_alone(ours, bf16, missed):
    sides = {"package": side([22.0, 22.0], load=10.0), "fp32": ours} | ({"bf16": bf16} if bf16 else {})
    found = measured(**sides)
    assert [claim.name for claim in claims(found, Limits()) if not claim.holds] == missed


def test_a_figure_that_is_missed_ends_with_1(monkeypatch, capsys):
    found = measured(package=side([22.0, 22.0], load=10.0), fp32=side([10.0, 10.0]), bf16=side([7.0, 7.0]))
    monkeypatch.setattr(engine, "measure", lambda asked, say: found)
    assert engine.main(["--weights", "."]) == 0
    monkeypatch.setattr(engine, "LIMITS", Limits(whole=2.3))
    assert engine.main(["--weights", "."]) == 1
    printed = capsys.readouterr().out
    assert "NOT REACHED" in printed
    assert json.loads(printed.splitlines()[-1])["passed"] is False


def test_a_backend_that_is_not_here_is_told_in_its_own_words(random_weights):
    with pytest.raises(RefusedError, match="fp16"), our_process(random_weights, "torch", "fp16", 1):
        pass


def test_a_window_inside_a_file_runs_every_stage(random_weights, tmp_path):
    np.save(tmp_path / "audio.npy", speech_like(44_100, 1))
    ours = Ours(random_weights, "torch", "fp32")
    seconds = ours.window(str(tmp_path / "audio.npy"), core=64, context=64, halo=80)["seconds"]
    assert set(seconds) == set(ALL)
    assert min(seconds.values()) > 0


def test_the_work_of_a_second_is_that_of_the_published_network():
    one, two = stage_flops(30 * 44_100), stage_flops(15 * 44_100)
    per_second = {name: value / 30e9 for name, value in one.items()}
    assert per_second["unet"] == pytest.approx(19.0, rel=0.02)
    assert per_second["denoiser"] == pytest.approx(1.04, rel=0.05)
    assert per_second["vocoder"] == pytest.approx(98.3, rel=0.03)
    assert per_second["mel"] == pytest.approx(0.03, rel=0.1)
    assert one["chain"] == pytest.approx(2 * two["chain"], rel=0.02)
