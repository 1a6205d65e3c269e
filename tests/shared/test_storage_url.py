"""Which settings open a store, and what is said of those that do not."""

from __future__ import annotations

import pytest

from shared.errors import SettingsError
from shared.storage import open_storage
from shared.storage.folder import FolderStore
from shared.storage.s3 import S3Store


def test_the_scheme_says_which_store_it_is(tmp_path):
    assert isinstance(open_storage(f"file://{tmp_path}/a"), FolderStore)
    assert isinstance(open_storage(f"file://localhost{tmp_path}/a"), FolderStore)
    assert isinstance(open_storage("s3://bucket"), S3Store)
    assert isinstance(open_storage("s3://bucket/a/prefix/"), S3Store)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/lib/audio",
        "http://127.0.0.1:9000/bucket",
        "file:relative",
        "file://host/folder",
        "file://",
        "file:///a?b",
        "file:///a%00b",
        "s3:///prefix",
        "s3://b",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "s3://bucket/a#b",
        "s3://key:hunter2@bucket/prefix",
        "s3://[bucket",
    ],
)
def test_a_wrong_url_names_its_setting_and_shows_no_secret(url):
    with pytest.raises(SettingsError, match="VFQ_STORAGE_URL") as caught:
        open_storage(url)

    assert caught.value.code == "settings_error"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("setting", ["endpoint", "public_endpoint"])
@pytest.mark.parametrize(
    "url", ["127.0.0.1:9000", "s3://server", "http://", "http://key:hunter2@server", "http://a:b", "http://a?b"]
)
def test_a_wrong_endpoint_names_its_setting_and_shows_no_secret(setting, url):
    with pytest.raises(SettingsError, match=f"VFQ_S3_{setting.upper()}") as caught:
        open_storage("s3://bucket", **{setting: url})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("given", [{"access_key": "a"}, {"secret_key": "hunter2"}])
def test_half_a_pair_of_keys_is_refused(given):
    with pytest.raises(SettingsError, match="VFQ_S3_ACCESS_KEY and VFQ_S3_SECRET_KEY") as caught:
        open_storage("s3://bucket", **given)

    assert "hunter2" not in str(caught.value)
