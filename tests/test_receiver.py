"""The receiver of docs/webhooks.md does what the page says, in ten lines."""

import re
import time
from pathlib import Path

import pytest

from shared.webhooks.message import signed
from shared.webhooks.secrets import Secrets

PAGE = Path(__file__).parents[1] / "docs" / "webhooks.md"
BODY = (
    '{"type":"job.succeeded","timestamp":"2026-11-22T20:15:36Z","data":{"id":"ab","status":"succeeded","sequence":7}}'
)


@pytest.fixture
def source():
    return re.search(r"<!-- receiver:.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def test_it_has_ten_lines(source):
    assert len([line for line in source.splitlines() if line.strip()]) <= 10


def test_it_takes_what_verifies_and_refuses_the_rest(source, monkeypatch, capsys):
    secrets = Secrets.new()
    monkeypatch.setenv("WEBHOOK_SECRET", secrets.current)
    space = {"__name__": "receiver"}
    exec(source, space)
    client = space["app"].test_client()

    def post(message, body=None, **headers):
        return client.post("/hooks", data=body or message.body, headers={**message.headers, **headers}).status_code

    message = signed("msg_1", BODY, secrets, now=time.time())
    assert post(message) == 204
    assert capsys.readouterr().out == "job.succeeded ab succeeded\n"
    assert post(message, body=message.body.replace(b"ab", b"ba")) == 400
    assert post(message, **{"webhook-signature": "nonsense"}) == 400
    assert post(signed("msg_1", BODY, secrets, now=time.time() - 600)) == 400
    assert post(signed("msg_1", BODY, Secrets.new(), now=time.time())) == 400
    assert post(signed("msg_1", BODY, secrets.rotated(grace=60), now=time.time())) == 204
    assert client.post("/hooks", data=BODY).status_code == 400
