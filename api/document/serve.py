"""`/openapi.json`, and `/docs`, its page, whose files come from a package and not from the net."""

import json
import threading

from flask import Response, render_template_string
from flask_openapi3.openapi import OpenAPI
from flask_openapi3_swagger.plugins import RegisterPlugin  # type: ignore[import-untyped]
from flask_openapi3_swagger.templates import swagger_html_string  # type: ignore[import-untyped]

from api.document.finish import finished
from api.services import services


def install(app: OpenAPI) -> None:
    """Serve both, once all routes are there."""
    app.register_blueprint(RegisterPlugin.register(doc_url="openapi.json"))
    app.add_url_rule("/openapi.json", "document", _Document(app))
    app.add_url_rule("/docs", "docs", _swagger_page)


class _Document:
    """Answers with the document, which is made when it is asked for first."""

    def __init__(self, app: OpenAPI) -> None:
        self._app = app
        self._text: str | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Response:
        with self._lock:
            if self._text is None:
                document = finished(self._app.api_doc, services().settings, services().catalog)
                self._text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        return Response(self._text, mimetype="application/json")


def _swagger_page() -> str:
    # Without this Swagger asks a validator on the net.
    offline = {"validatorUrl": None}
    page = render_template_string(
        swagger_html_string, doc_url="openapi.json", swagger_config=offline, oauth_config=None
    )
    return page.strip()
