"""What is sent: verified by the library that receivers use, and refused if it was tampered with."""

import base64
import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.webhooks.deliveries import Delivery
from shared.webhooks.events import hook, receiver_of, shown_url
from shared.webhooks.message import signed
from shared.webhooks.secrets import Secrets


def delivery(**more) -> Delivery:
    fields = {
        "id": "msg_ab_3_hook",
        "owner": "local",
        "subject": "ab",
        "target": "hook",
        "type": "job.succeeded",
        "sequence": 3,
        "status": "succeeded",
        "receiver": "example.org:443",
        "at": 1764062830.25,
        "state": "pending",
    }
    return Delivery(**{**fields, **more})


def message(secrets, *, now=None):
    return signed("msg_ab_3_hook", delivery().body(), secrets, now=time.time() if now is None else now)


def test_the_body_is_thin_and_says_what_is_needed():
    assert json.loads(delivery().body()) == {
        "type": "job.succeeded",
        "timestamp": "2025-11-25T09:27:10.250000Z",
        "data": {
            "id": "ab",
            "status": "succeeded",
            "sequence": 3,
            "urls": {"self": "/v1/jobs/ab", "result": "/v1/jobs/ab/result"},
        },
    }
    failed = json.loads(delivery(type="job.failed", status="failed").body())
    assert failed["data"]["urls"] == {"self": "/v1/jobs/ab"}


def test_secrets_have_the_form_of_the_standard():
    secret = Secrets.new().current
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
    assert secret != Secrets.new().current


def test_a_receiver_verifies_it_with_the_library():
    secrets = Secrets.new()
    sent = message(secrets)
    assert Webhook(secrets.current).verify(sent.body, sent.headers)["type"] == "job.succeeded"
    assert sent.headers["webhook-id"] == "msg_ab_3_hook"
    assert "." not in sent.headers["webhook-id"], "the signed text is joined by dots"


@pytest.mark.parametrize("harm", ["body", "id", "signature", "secret"])
def test_what_was_tampered_with_does_not_verify(harm):
    secrets = Secrets.new()
    sent = message(secrets)
    body, headers, key = sent.body, dict(sent.headers), secrets.current
    if harm == "body":
        body = body.replace(b"succeeded", b"failed")
    elif harm == "id":
        headers["webhook-id"] += "0"
    elif harm == "signature":
        headers["webhook-signature"] = "v1," + base64.b64encode(b"0" * 32).decode()
    else:
        key = Secrets.new().current
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(body, headers)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_an_old_timestamp_does_not_verify(seconds):
    secrets = Secrets.new()
    sent = message(secrets, now=time.time() + seconds)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets.current).verify(sent.body, sent.headers)


def test_after_a_rotation_both_secrets_verify_for_a_while():
    old = Secrets.new()
    new = old.rotated(grace=60)
    sent = message(new)
    assert len(sent.headers["webhook-signature"].split(" ")) == 2
    for secret in (old.current, new.current):
        Webhook(secret).verify(sent.body, sent.headers)
    later = signed("msg_1", "{}", new, now=new.previous_until + 1)
    assert len(later.headers["webhook-signature"].split(" ")) == 1


def test_a_rotation_without_grace_ends_the_old_secret():
    old = Secrets.new()
    new = old.rotated(grace=0)
    with pytest.raises(WebhookVerificationError):
        Webhook(old.current).verify(message(new).body, message(new).headers)


def test_no_secret_is_in_a_repr():
    old = Secrets.new()
    text = repr(old.rotated(grace=9)) + repr(delivery(url="https://u.example/?token=sesame"))
    assert old.current not in text
    assert "whsec_" not in text
    assert "sesame" not in text


def test_receivers_are_hosts_with_their_ports():
    assert receiver_of("https://A.example/x?y") == "a.example:443"
    assert receiver_of("http://a.example") == "a.example:80"
    assert receiver_of("http://a.example:8080/") == "a.example:8080"
    assert receiver_of("http://a.example:99999999/") == "a.example:80"
    assert hook(None, ()) == ""


def test_a_url_is_shown_without_what_may_be_secret():
    assert shown_url("https://me:sesame@a.example:8/x?token=sesame#sesame") == "https://a.example:8/x"
