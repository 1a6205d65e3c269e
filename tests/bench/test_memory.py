import json

import pytest

from bench import memory
from bench.memory import Run, compare


def test_every_process_of_a_service_has_a_peak():
    run = memory._measure(0.1, "costless")
    assert {"redis", "api", "api, child 1", "audio", "models 1"} <= set(run.peaks)
    assert all(peak > 1 for peak in run.peaks.values())
    assert run.peaks["models 1"] > 100  # torch alone is more


@pytest.mark.parametrize(("peak", "code"), [(114.0, 0), (116.0, 1)])
def test_one_process_that_grows_fails_the_bench(monkeypatch, capsys, peak, code):
    runs = iter([Run(10, 1.0, {"redis": 100.0, "api": 100.0}), Run(600, 60.0, {"redis": peak, "api": 90.0})])
    monkeypatch.setattr(memory, "_measure", lambda minutes, networks: next(runs))
    assert memory.main([]) == code
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["passed"] is (code == 0)


def test_services_of_other_processes_are_not_compared():
    with pytest.raises(SystemExit, match="differ"):
        compare(Run(1, 1, {"redis": 1.0}), Run(2, 1, {"redis": 1.0, "audio": 1.0}))


def test_a_disk_that_is_too_small_is_told_before_anything_runs():
    with pytest.raises(SystemExit, match="TMPDIR"):
        memory.main(["--hours", "1e6"])
