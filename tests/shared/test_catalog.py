"""The models of a service: from the settings, or from a `config.yml` of Harmony Speech Engine."""

import os
from pathlib import Path

import pytest

from shared.catalog import Catalog, ModelEntry, ModelUnknown, read_catalog
from shared.errors import SettingsError
from shared.settings import Settings

#: The example of its VoiceFixer documentation.
DOCUMENTED = """\
model_configs:
  - name: "voicefixer-restorer"
    model: "jlmarrugom/voice_fixer"
    model_type: "VoiceFixerRestorer"
    device_config:
      device: "cuda"
  - name: "voicefixer-vocoder"
    model: "jlmarrugom/voice_fixer"
    model_type: "VoiceFixerVocoder"
    device_config:
      device: "cuda"
"""
#: As it is shipped: entries of other types, and those of VoiceFixer among them.
SHIPPED = """\
model_configs:
  - name: "hs1-encoder"
    model: "harmony-ai/harmony-speech-v1"
    model_type: "HarmonySpeechEncoder"
    max_batch_size: 10
    dtype: "float32"
    device_config:
      device: "cpu"

  - name: "ov1-synthesizer-en"
    model: "myshell-ai/openvoice"
    model_type: "OpenVoiceV1Synthesizer"
    language: "EN"
    voices: ["default", "whispering"]
    max_batch_size: 10
    dtype: "float32"
    device_config:
      device: "cpu"

  # Silero VAD
  - name: "silero-vad"
    model: "silero-vad"
    model_type: "SileroVAD"
    load_format: "onnx"  # Use ONNX version for better performance
    max_batch_size: 16
    dtype: "float32"
    device_config:
      device: "cpu"  # Silero VAD is CPU-optimized

  # VoiceFixer Restorer - for audio denoising and enhancement
  - name: "voicefixer-restorer"
    model: "jlmarrugom/voice_fixer"  # Alternative: "cqchangm/voicefixer"
    model_type: "VoiceFixerRestorer"
    max_batch_size: 4
    dtype: "float32"
    device_config:
      device: "cpu"

  - name: "voicefixer-vocoder"
    model: "jlmarrugom/voice_fixer"
    model_type: "VoiceFixerVocoder"
    max_batch_size: 4
    dtype: "float32"
    device_config:
      device: "cuda:0"
"""
ONE = """\
model_configs:
  - name: one
    model: some/repository
    model_type: VoiceFixerRestorer
    device_config:
      device: auto
"""


def read(tmp_path: Path, text: str, **settings: object) -> Catalog:
    path = tmp_path / "config.yml"
    path.write_text(text)
    return read_catalog(Settings(config=str(path), **settings))  # type: ignore[arg-type]


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    return caught.value.message.replace(str(tmp_path / "config.yml"), "FILE")


def test_without_a_file_there_are_the_two_models_of_the_settings():
    settings = Settings(restorer="SpectralGateRestorer", device="cpu", precision="bf16", max_batch_size=2)
    assert read_catalog(settings).entries == (
        ModelEntry("voicefixer-restorer", "SpectralGateRestorer", device="cpu", precision="bf16", max_batch_size=2),
        ModelEntry("voicefixer-vocoder", "VoiceFixerVocoder", device="cpu", precision="bf16", max_batch_size=2),
    )


def test_the_example_of_its_documentation_is_read_as_it_is(tmp_path):
    catalog = read(tmp_path, DOCUMENTED)
    assert [(one.name, one.weights, one.device, one.precision, one.max_batch_size) for one in catalog.entries] == [
        ("voicefixer-restorer", "jlmarrugom/voice_fixer", "cuda", "fp32", 1),
        ("voicefixer-vocoder", "jlmarrugom/voice_fixer", "cuda", "fp32", 1),
    ]
    assert sum("float32" in note and "bfloat16" in note for note in catalog.notes) == 2


def test_the_note_about_a_dtype_that_is_not_given_says_what_holds(tmp_path):
    notes = read(tmp_path, DOCUMENTED, precision="bf16").notes
    assert all("computes in bf16: VFQ_PRECISION says so" in note for note in notes)


def test_its_shipped_file_is_read_as_it_is_and_what_is_for_others_is_passed_over(tmp_path):
    catalog = read(tmp_path, SHIPPED)
    assert [(one.name, one.device, one.max_batch_size) for one in catalog.entries] == [
        ("voicefixer-restorer", "cpu", 4),
        ("voicefixer-vocoder", "cuda:0", 4),
    ]
    [note] = catalog.notes
    assert "3 entries" in note
    assert "HarmonySpeechEncoder, OpenVoiceV1Synthesizer, SileroVAD" in note
    assert catalog.in_flight(Settings()) == 8


def test_a_device_of_the_settings_wins_over_the_files(tmp_path):
    assert {one.device for one in read(tmp_path, DOCUMENTED, device="cpu").entries} == {"cpu"}


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        ("half", "fp16"),
        ("float16", "fp16"),
        ("float", "fp32"),
        ("float32", "fp32"),
        ("auto", "fp32"),
        ("bfloat16", "bf16"),
        ("Float32", "fp32"),
    ],
)
def test_every_name_of_a_dtype_is_known(tmp_path, dtype, precision):
    catalog = read(tmp_path, f"{ONE}    dtype: {dtype}\n", precision="bf16")
    assert (catalog.entries[0].precision, catalog.notes) == (precision, ())


def test_every_key_has_its_meaning_or_a_note_that_it_has_none(tmp_path):
    text = """\
loading: lazy
model_configs:
  - name: one
    model: ./weights
    model_type: VoiceFixerRestorer
    max_batch_size: 3
    dtype: half
    revision: "1234567"
    seed: 42
    load_format: pt
    language: EN
    voices: [a]
    watermark: true
    trust_remote_code: true
    download_dir: models
    code_revision: main
    enforce_eager: false
    device_config: {device: "cuda:1"}
  - name: two
    loading: eager
    model_type: GriffinLimVocoder
    dtype: float
    device_config: {}
"""
    catalog = read(tmp_path, text)
    assert catalog.entries == (
        ModelEntry("one", "VoiceFixerRestorer", "./weights", "1234567", "cuda:1", "fp16", 3, 42, lazy=True),
        ModelEntry("two", "GriffinLimVocoder"),
    )
    [note] = catalog.notes
    words = "language, voices, watermark, trust_remote_code, download_dir, code_revision, enforce_eager"
    assert "line 3, one" in note
    assert words in note


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    model: some/repository\n", "", "line 2: model: is missing"),
        ("    model_type: VoiceFixerRestorer\n", "", "line 2: model_type: is missing"),
        ("VoiceFixerRestorer", "VoiceFixerRestorrer", "line 4: model_type: must be one of"),
        ("VoiceFixerRestorer", "3", "line 4: model_type: must be text, not 3"),
        ("    device_config:\n      device: auto\n", "", "line 2: device_config: is missing"),
        ("    device_config:\n      device: auto\n", "    device_config:\n", "line 5: device_config: must be a block"),
        ("      device: auto", "      device: gpu", "line 6: device: must be auto, cpu, cuda or cuda:N, not 'gpu'"),
        ("      device: auto", "      devise: auto", "line 6: devise: there is no such key; did you mean device?"),
        (
            "    model: some",
            "    modle: x\n    model: some",
            "line 3: modle: there is no such key; did you mean model?",
        ),
        ("    model: some", "    max_batch_size: four\n    model: some", "line 3: max_batch_size: "),
        ("    model: some", "    max_batch_size: 0\n    model: some", "line 3: max_batch_size: "),
        ("    model: some", "    max_batch_size: true\n    model: some", "line 3: max_batch_size: "),
        ("    model: some", "    dtype: int8\n    model: some", "line 3: dtype: must be one of half, float16"),
        ("    model: some", "    revision: 1234567\n    model: some", "line 3: revision: must be text, not 1234567"),
        ("    model: some", "    load_format: dummy\n    model: some", "line 3: load_format: "),
        ("    model: some", "    loading: never\n    model: some", "line 3: loading: "),
        ("    model: some", "    name: again\n    model: some", "line 3: the key 'name' stands twice"),
        ("name: one", "name: voicefixer", "line 2: name: voicefixer is what the chain"),
        ("name: one", 'name: ""', "line 2: name: "),
        ("model_configs:", "model_config:", "line 1: model_configs: is missing"),
        ("model_configs:", "other: 1\nmodel_configs:", "line 1: other: there is no such key"),
        ("VoiceFixerRestorer", "SileroVAD", "names no VoiceFixerRestorer and no VoiceFixerVocoder"),
        ("    model: some", "  model: [some", "line "),
        (ONE, "", "must be a block"),
        (ONE, "- a\n", "must be a block"),
        (ONE, "model_configs: 3\n", "line 1: model_configs: "),
        (ONE, "model_configs:\n  - 3\n", "line 2: "),
        ("some/repository", "!!python/object:os.system x", "line 3"),
        ("    device_config:", "    device_config: !mine", "line 5: the tag '!mine'"),
        ("model_configs:", "model_configs: !!set", "line 1: the tag"),
        ("some/repository", "2026-02-30", "line 3: '2026-02-30' is no value: day is out of range for month"),
        ("some/repository", "a\0b", "line 3: unacceptable character #x0000"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_its_key(tmp_path, old, new, says):
    message = refusal(tmp_path, ONE.replace(old, new))
    assert message.startswith("VFQ_CONFIG (--config): FILE")
    assert says in message, message
    assert "\n" not in message


def test_all_that_is_wrong_is_told_at_once_with_the_lines_of_the_file(tmp_path):
    """Also behind entries that are passed over."""
    text = SHIPPED.replace("max_batch_size: 4", "max_batch_siz: 4").replace('"cuda:0"', "tpu")
    message = refusal(tmp_path, text)
    for line, key in ((34, "max_batch_siz"), (42, "max_batch_siz"), (45, "device")):
        assert f"line {line}: {key}: " in message, message


def test_two_of_one_name_are_refused(tmp_path):
    text = ONE + ONE.removeprefix("model_configs:\n")
    assert "line 7: name: 'one' is that of the entry of line 2" in refusal(tmp_path, text)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        read_catalog(Settings(config=str(tmp_path / "nowhere.yml")))
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_catalog(Settings(config=str(tmp_path / "binary.yml")))


def test_what_no_file_is_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yml")
    for path, says in (
        (tmp_path / "pipe.yml", "pipe or a device"),
        (Path("/dev/null"), "device"),
        (tmp_path, "direct"),
    ):
        with pytest.raises(SettingsError, match=says):
            read_catalog(Settings(config=str(path)))


def test_merged_blocks_and_anchors_are_read(tmp_path):
    text = """\
model_configs:
  - &first
    name: one
    model: some/repository
    model_type: VoiceFixerRestorer
    device_config: &where {device: cpu}
  - <<: *first
    name: two
    device_config: *where
"""
    assert [(one.name, one.device) for one in read(tmp_path, text).entries] == [("one", "cpu"), ("two", "cpu")]


def test_models_are_found_by_name_and_the_usual_ones_are_taken_by_default():
    catalog = Catalog(
        (
            ModelEntry("mine", "VoiceFixerRestorer"),
            ModelEntry("voicefixer-restorer", "SpectralGateRestorer"),
            ModelEntry("first", "GriffinLimVocoder"),
            ModelEntry("second", "VoiceFixerVocoder"),
        )
    )
    assert catalog.default("restore").name == "voicefixer-restorer"
    assert catalog.default("vocode").name == "first"
    assert catalog.find("restore", "mine").model_type == "VoiceFixerRestorer"
    assert catalog.find("restore", None).name == "voicefixer-restorer"
    with pytest.raises(ModelUnknown, match="there are: mine, voicefixer-restorer"):
        catalog.find("restore", "second")
    with pytest.raises(ModelUnknown, match="no model for the stage vocode"):
        Catalog(catalog.entries[:2]).default("vocode")
