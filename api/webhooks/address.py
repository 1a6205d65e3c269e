"""How the addresses of endpoints are told from those of what stands beside them."""

from flask import Flask
from werkzeug.routing import BaseConverter

NAME = "hook"


class _EndpointId(BaseConverter):
    """What may be an endpoint's id; `secret` and `test` are addresses of their own, with methods of their own."""

    regex = r"(?!(?:secret|test)(?:/|$))[^/]+"


def install(app: Flask) -> None:
    """Let routes have `<hook:webhook_id>`."""
    app.url_map.converters[NAME] = _EndpointId
