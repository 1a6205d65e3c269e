import pytest
import torch

from bench.gpu.__main__ import Found, main, shortfalls, show


def found(factor, *, package=100.0, peak=780.0, equal=105.0, engine=0.0):
    cell = {"batch": 16, "restore": 0.1, "vocode": 0.3, "factor": factor, "memory": 12.0}
    stages = dict.fromkeys(("mel", "denoiser", "unet", "vocoder", "chain"), equal)
    return Found(
        "NVIDIA Test", {"bf16": peak}, {"bf16": [cell]}, {"bf16": engine}, {"bf16": stages}, stages, package, ["a note"]
    )


def test_without_a_cuda_device_it_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 2
    assert capsys.readouterr().out == "bench.gpu: torch sees no CUDA device here; nothing was measured.\n"


@pytest.mark.parametrize(
    ("figures", "missed"),
    [
        (found(1200.0), 0),
        (found(900.0, engine=1010.0), 0),
        (found(900.0), 1),
        (found(900.0, peak=300.0), 0),
        (found(400.0, peak=300.0), 1),
        (found(1200.0, package=300.0), 1),
        (found(1200.0, package=0.0), 1),
        (found(1200.0, equal=99.0), 5),
        (Found("NVIDIA Test"), 1),
    ],
)
def test_what_is_required_is_held_against_what_was_found(figures, missed):
    assert len(shortfalls(figures)) == missed


def test_the_table_tells_factor_share_and_memory(capsys):
    show(found(1200.0))
    text = capsys.readouterr().out
    for word in ("1200.0×", "12.0×", "18.2%", "105.0", "a note"):
        assert word in text
