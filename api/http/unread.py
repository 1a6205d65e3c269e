"""What the server refuses before the application sees it, for it is no HTTP that can be served: told as a problem."""

import uuid
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]

from api.http.access import HEADER
from api.http.problems import MEDIA_TYPE, Problem

_MOST_DETAIL = 200


def install() -> None:
    """Let gunicorn, which would answer with a page, answer so."""
    util.write_error = write_problem


def write_problem(connection: Any, status: int, reason: str, message: str) -> None:
    """Answer on a connection that is closed then; which address was meant may not be known."""
    title = "Not Implemented" if status == 501 else reason  # gunicorn says otherwise
    request_id = uuid.uuid4().hex
    problem = Problem(
        title=title,
        status=status,
        detail=f"{message[:_MOST_DETAIL] or title}.",
        instance="",
        code="internal_error" if status == 500 else title.lower().replace(" ", "_"),
        request_id=request_id,
    )
    body = problem.model_dump_json(exclude_none=True).encode()
    head = (
        f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n{HEADER}: {request_id}\r\n\r\n"
    )
    util.write_nonblock(connection, head.encode() + body)
