"""A receiver that knows nothing of the product but what the library `standardwebhooks` knows, and behaves badly.

A process of its own: `python -m bench.webhooks.receiver`, told what to do by the variable RECEIVER. It writes a line
for each request into a file.
"""

import json
import os
import random
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from pydantic import BaseModel
from standardwebhooks import Webhook, WebhookVerificationError

MISCHIEF = ("error", "busy", "redirect", "late", "closed")


class Orders(BaseModel):
    """
    What a receiver is to do.

    Attributes:
        port: that it listens on, on loopback
        secrets: by path
        log: file for its lines
        share: of the requests that it treats badly
        most: times that it does so to one message
        late: seconds that it takes to answer when it is late
        seed: of its dice

    """

    port: int
    secrets: dict[str, str]
    log: Path
    share: float
    most: int
    late: float
    seed: int


def application(orders: Orders) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    dice = random.Random(orders.seed)
    refused: Counter[str] = Counter()
    lock = threading.Lock()

    def note(**line: Any) -> None:
        with lock, orders.log.open("a") as log:
            log.write(json.dumps(line) + "\n")

    def choose(message_id: str) -> str:
        with lock:
            if refused[message_id] >= orders.most or dice.random() >= orders.share:
                return "taken"
            refused[message_id] += 1
            return dice.choice(MISCHIEF)

    @app.post("/<place>")
    def take(place: str) -> Response:
        body = request.get_data()
        try:
            event = Webhook(orders.secrets[place]).verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError, KeyError) as error:
            note(place=place, how="unverified", why=type(error).__name__)
            return Response(status=400)
        message_id = f"{place} {request.headers['webhook-id']}"
        how = choose(message_id)
        data = event["data"]
        note(
            place=place,
            how=how,
            id=request.headers["webhook-id"],
            type=event["type"],
            timestamp=event["timestamp"],
            at=time.time(),
            job=data["id"],
            status=data["status"],
            sequence=data["sequence"],
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body.decode(),
        )
        return _answer(how, orders)

    @app.route("/followed", methods=["GET", "POST"])
    def followed() -> Response:
        note(place="", how="followed")
        return Response(status=200)

    return app


def _answer(how: str, orders: Orders) -> Response:
    if how == "late":
        time.sleep(orders.late)
    if how == "closed":
        request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return {
        "error": Response(status=500),
        "busy": Response(status=429, headers={"Retry-After": "1"}),
        "redirect": Response(status=302, headers={"Location": "/followed"}),
    }.get(how, Response(status=200))


def main() -> None:
    """Serve until the process is ended."""
    orders = Orders.model_validate_json(os.environ["RECEIVER"])
    application(orders).run("127.0.0.1", orders.port, threaded=True)


if __name__ == "__main__":
    main()
