"""Every error as a problem document (RFC 9457, `application/problem+json`)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Protocol

from flask import Flask, Response, current_app, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException

from api.errors import FieldError, RequestError
from api.http.access import address, request_id
from shared import log
from shared.errors import InvalidRequest, QueueUnavailable, ServiceError, StorageError

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
_NAME = "voicefixer-queue-problems"

_log = log.logger("api")
_HINTS = {
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not answer that method; the header Allow names those that it does.",
}


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    pointer: Annotated[str, Field(description="JSON pointer into the request, such as `#/output/format`.")]
    detail: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="For people: what is wrong and what can be done.")
    instance: str = Field(description="The address that was asked.")
    code: str = Field(description="Stable, for machines.")
    request_id: str = Field(description="Also in `X-Request-Id` and in the log.")
    errors: list[FieldProblem] | None = Field(None, description="The fields at fault, where there are any.")


class Respond(Protocol):
    """Makes the answer that tells an error."""

    def __call__(  # noqa: D102
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Response: ...


def install(app: Flask, *, elsewhere: Mapping[str, Respond]) -> None:
    """Let the application answer every error with a problem document; *elsewhere*: address's beginning → otherwise."""
    app.extensions[_NAME] = elsewhere
    app.register_error_handler(ServiceError, _from_service)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Exception, _from_bug)


def respond(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make the answer, in the manner of the address that was asked."""
    others: Mapping[str, Respond] = current_app.extensions[_NAME]
    for beginning, other in others.items():
        if request.path.startswith(beginning):
            return other(status, code, detail, errors=errors, headers=headers)
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=address(),
        code=code,
        request_id=request_id(),
        errors=[FieldProblem(pointer=error.pointer, detail=error.detail) for error in errors] or None,
    )
    response = Response(problem.model_dump_json(exclude_none=True), status, mimetype=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def _from_service(error: ServiceError) -> Response:
    if isinstance(error, RequestError):
        return respond(error.status, error.code, error.message, errors=error.errors, headers=error.headers)
    if isinstance(error, InvalidRequest):
        return respond(422, error.code, error.message)
    # What follows names settings and servers: for the log, not for callers.
    if isinstance(error, QueueUnavailable):
        return _unavailable("The queue", error)
    if isinstance(error, StorageError):
        return _unavailable("Storage", error)
    return _from_bug(error)


def _unavailable(what: str, error: ServiceError) -> Response:
    _log.warning("unavailable", code=error.code, reason=error.message)
    detail = f"{what} cannot be used right now; try again in a few seconds."
    return respond(503, error.code, detail, headers={"Retry-After": str(RETRY_SECONDS)})


def _from_http(error: HTTPException) -> Response | HTTPException:
    if error.response is not None or error.code is None or error.code < 400:
        return error  # a redirect
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    detail = _HINTS.get(error.code, f"{error.name}.")
    return respond(error.code, error.name.lower().replace(" ", "_"), detail, headers=headers)


def _from_bug(error: Exception) -> Response:
    _log.error("a request failed", exc_info=error)
    return respond(500, "internal_error", "Something went wrong on our side; the log has it under the request id.")
