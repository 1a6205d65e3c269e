from pathlib import Path

import pytest
import soundfile
from huggingface_hub import constants

from cli import demo
from tests.cli.programs import ROOT


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Results go to a temporary folder; no weights are here, and the hub must not be asked."""
    monkeypatch.setattr(demo, "OUT", tmp_path / "out")
    monkeypatch.setattr(demo, "RESULT", tmp_path / "out" / "restored-speech.wav")
    monkeypatch.setattr(demo, "PICTURE", tmp_path / "out" / "before-after.png")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(ROOT)


def test_the_demo_restores_the_sample_and_says_loudly_that_the_baseline_did_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.main()
    out, err = capsys.readouterr()
    result = tmp_path / "out" / "restored-speech.wav"
    models = "SpectralGateRestorer + GriffinLimVocoder"
    assert out.splitlines()[-1] == f"restored: samples/degraded-speech.wav -> {result} ({models})"
    assert "NO VOICEFIXER HERE" in err
    assert "weights pull" in err
    assert soundfile.info(result).frames == soundfile.info(demo.SAMPLE).frames
    assert (tmp_path / "out" / "before-after.png").read_bytes().startswith(b"\x89PNG")


def test_a_demo_that_fails_says_why_and_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VFQ_CORE_FRAMES", "65")
    with pytest.raises(SystemExit) as caught:
        demo.main()
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("The demo failed: VFQ_CORE_FRAMES must be a multiple of 64")
