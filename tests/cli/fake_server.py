"""A server that answers what a test tells it to, in order."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """One answer; `promised` is a Content-Length that the body does not keep."""

    status: int = 200
    body: bytes = b""
    type: str = JSON
    promised: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


def document(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def problem(status: int, code: str, detail: str, **more: Any) -> Answer:
    return Answer(status, json.dumps({"status": status, "code": code, "detail": detail, **more}).encode(), PROBLEM)


@dataclass
class FakeServer:
    """Answers per method and path, the last of them for ever; `asked` tells who came."""

    answers: dict[str, list[Answer]]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def answer(self, request: str, body: bytes) -> Answer:
        self.asked.append(request)
        self.bodies.append(body)
        rest = self.answers.get(request, [problem(404, "not_found", "There is nothing at this address.")])
        return rest.pop(0) if len(rest) > 1 else rest[0]


@contextmanager
def fake_server(answers: dict[str, list[Answer]]) -> Iterator[FakeServer]:
    fake = FakeServer(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fake.keys.append(self.headers.get("Authorization"))
            answer = fake.answer(f"{self.command} {self.path}", body)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.type)
            self.send_header("Content-Length", str(answer.promised or len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
