import pytest

from shared.errors import SettingsError
from shared.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("VFQ_CORE_FRAMES", "3000", "64"),
        ("VFQ_CONTEXT_FRAMES", "-64", "greater than or equal to 0"),
        ("VFQ_DEVICE", "gpu", "VFQ_DEVICE"),
        ("VFQ_RESTORER", "voicefixer", "VoiceFixerRestorer"),
        ("VFQ_MAX_UPLOAD_BYTES", "2GB", "integer"),
        ("VFQ_FADE_FRAMES", "1000", "VFQ_CONTEXT_FRAMES"),
        ("VFQ_IN_FLIGHT", "1", "VFQ_MAX_BATCH_SIZE"),
        ("VFQ_LOG_LEVEL", "loud", "warning"),
        ("VFQ_MAX_DURATION_SECONDS", "inf", "finite"),
        ("VFQ_MAX_WAIT_MS", "inf", "finite"),
        ("VFQ_REDIS_URL", "localhost:6379", "redis://host:port/number"),
        ("VFQ_BROKER_URL", "redis://:hunter2@host:port/0", "redis://host:port/number"),
        ("VFQ_LEASE_SECONDS", "0.5", "greater than or equal to 1"),
        ("VFQ_MAX_ATTEMPTS", "0", "greater than or equal to 1"),
        ("VFQ_DEADLINE_SECONDS", "0", "greater than 0"),
        ("VFQ_MAX_OPEN_BULK", "0", "greater than or equal to 1"),
        ("VFQ_MAX_REDIS_SHARE", "60", "less than or equal to 1"),
        ("VFQ_DRAIN_SECONDS", "-1", "greater than or equal to 0"),
        ("VFQ_KEEP_RECORDS_DAYS", "1", "must not be less than VFQ_KEEP_RESULTS_DAYS"),
        ("VFQ_KEEP_RESULTS_DAYS", "31", "VFQ_KEEP_RECORDS_DAYS must not be less"),
        ("VFQ_KEEP_RESULTS_DAYS", "0", "must be set where VFQ_KEEP_RECORDS_DAYS is"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in caught.value.message
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert "hunter2" not in caught.value.message


def test_a_setting_that_does_not_exist_is_named_with_the_one_that_was_meant(monkeypatch):
    monkeypatch.setenv("VFQ_MAX_UPLOAD_BYTE", "1")
    with pytest.raises(SettingsError, match="VFQ_MAX_UPLOAD_BYTE is no setting; did you mean VFQ_MAX_UPLOAD_BYTES"):
        load_settings()
    monkeypatch.delenv("VFQ_MAX_UPLOAD_BYTE")
    monkeypatch.setenv("VFQ_SERVER", "http://127.0.0.1:8000")
    assert load_settings()


def test_two_wrong_settings_are_both_named(monkeypatch):
    monkeypatch.setenv("VFQ_DEVICE", "gpu")
    monkeypatch.setenv("VFQ_API_PORT", "0")
    with pytest.raises(SettingsError, match=r"VFQ_DEVICE.*VFQ_API_PORT|VFQ_API_PORT.*VFQ_DEVICE"):
        load_settings()


def test_what_is_kept_for_ever_may_be_all_or_the_records():
    assert load_settings(keep_results_days=0, keep_records_days=0)
    assert load_settings(keep_results_days=7, keep_records_days=0)


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("VFQ_S3_SECRET_KEY", "hunter2")
    monkeypatch.setenv("VFQ_REDIS_URL", "redis://:hunter2@127.0.0.1/0")
    assert "hunter2" not in repr(load_settings())


def test_prefixes_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("VFQ_INPUT_PREFIXES", "incoming/, archive/tapes/")
    assert load_settings().input_prefixes == ("incoming/", "archive/tapes/")


def test_every_setting_says_what_it_is():
    assert not [name for name, field in Settings.model_fields.items() if not field.description]
