"""`voicefixer-queue keys`: what it makes opens the service, and what it shows tells no key."""

import json
import re

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.access import KeyShelf, parse_token
from shared.storage import open_storage


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("VFQ_STORAGE_URL", raising=False)

    def run(*arguments):
        return CliRunner().invoke(app, ["keys", *arguments, "--data", str(tmp_path)])

    return run


def test_a_key_is_shown_once_listed_without_its_text_and_revoked(run, tmp_path):
    made = run("create", "radio archive", "--scope", "read", "--scope", "submit", "--max-open", "5")
    assert made.exit_code == 0, made.output
    [text] = [line for line in made.stdout.splitlines() if line.startswith("vfq_")]
    token = parse_token(text)
    shelf = KeyShelf(open_storage((tmp_path / "objects").as_uri()))
    kept = shelf.get(token.key_id)
    assert token.fits(kept.hash)
    assert (kept.scopes, kept.max_open, kept.name) == (("read", "submit"), 5, "radio archive")
    listed = run("list").stdout
    assert token.key_id in listed
    assert "radio archive" in listed
    assert text not in listed
    assert run("revoke", token.key_id).exit_code == 0
    assert shelf.get(token.key_id).revoked_at is not None
    assert "revoked" in run("list").stdout


def test_scripts_get_json(run):
    made = json.loads(run("create", "app", "--json").stdout)
    assert re.fullmatch(r"vfq_k[0-9a-f]{12}_.{43}", made["key"])
    assert made["scopes"] == ["submit", "read"]
    [listed] = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert json.loads(run("revoke", made["id"], "--json").stdout)["revoked_at"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("create", "x", "--scope", "all"), 2), (("create", ""), 2), (("revoke", "k000000000000"), 1)],
)
def test_what_cannot_be_is_refused_in_a_sentence(run, arguments, status):
    found = run(*arguments)
    assert found.exit_code == status
    assert "Traceback" not in found.output
