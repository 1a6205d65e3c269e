"""A service that keeps jobs by the caller's names, and does with each recording what a test says."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cli.fake_server import Answer, document, problem

MODELS = [{"stage": "restore", "model_type": "SpectralGateRestorer"}]
NOT_FOUND = problem(404, "job_not_found", "There is no job of this id; it may have been deleted.")


@dataclass
class FakeJobs:
    """
    The service.

    Attributes:
        errors: by file name, what becomes of its jobs, the last for ever: a code, or "" for a result
        first: answers by method that come before the real ones
        jobs: by id
        put: names of the files that were sent, as they came

    """

    errors: dict[str, list[str]] = field(default_factory=dict)
    first: dict[str, list[Answer]] = field(default_factory=dict)
    never: set[str] = field(default_factory=set)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    receipts: bool = False
    elsewhere: bool = False
    put: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        with self.lock:
            self.asked.append(f"{method} {path}")
            if path != "/healthz" and self.first.get(method):
                return self.first[method].pop(0)
            if path.startswith("/s3/"):
                return self._stored(path.removeprefix("/s3/"), headers)
            match = re.fullmatch(r"/v1/jobs/([^/]+)(/\w+)?", path)
            if match is None:
                return document({"status": "ok"})
            return self._about(method, match[1], match[2] or "", headers, body)

    def _about(self, method: str, name: str, rest: str, headers: Any, body: bytes) -> Answer:
        job = next((job for job in self.jobs.values() if name in (job["id"], job["client_id"])), None)
        if method == "PUT":
            return document(job, 200) if job else document(self._take(name, headers, body), 202)
        if job is None:
            return NOT_FOUND
        if rest == "/result":
            return self._result(job)
        if rest == "/receipt":
            return document({"job_id": job["id"]}) if self.receipts else problem(404, "not_found", "Nothing here.")
        if method == "DELETE":
            del self.jobs[job["id"]]
            return Answer(204)
        return document(job)

    def _take(self, name: str, headers: Any, body: bytes) -> dict[str, Any]:
        form = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body)
        data = b""
        for part in form.iter_parts():
            if part.get_filename() is not None:
                filename, data = str(part.get_filename()), part.get_payload(decode=True)
            else:
                self.fields[str(part.get_param("name", header="content-disposition"))] = part.get_content().strip()
        self.put.append(filename)
        outcomes = self.errors.get(filename, [""])
        code = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        number = f"{len(self.put):032x}"
        result = b"restored " + data
        job = {
            "id": number,
            "client_id": name,
            "status": "failed" if code else "succeeded",
            "progress": {"percent": 100.0, "stage": "done"},
            "models": MODELS,
            "error": {"code": code, "message": f"It is {code}."} if code else None,
            "output": None if code else {"filename": "x-restored.flac", "bytes": len(result)},
        }
        if code.startswith("job_"):
            job |= {"status": code.removeprefix("job_"), "error": None}
        if filename in self.never:
            job |= {"status": "processing", "output": None}
        self.jobs[number] = job
        self.results[number] = result
        return job

    def _stored(self, number: str, headers: Any) -> Answer:
        """As a presigned URL answers."""
        if number not in self.results:
            return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        data = self.results[number]
        first = int(headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return Answer(206 if "Range" in headers else 200, data[first:], "audio/flac")

    def _result(self, job: dict[str, Any]) -> Answer:
        if self.elsewhere:
            return Answer(302, b"", "text/plain")
        if job["id"] not in self.results:
            return problem(410, "result_gone", "The result was deleted from storage; send the recording again.")
        return Answer(200, self.results[job["id"]], "audio/flac")


@contextmanager
def fake_jobs(**facts: Any) -> Iterator[FakeJobs]:
    fake = FakeJobs(**facts)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # an answer in one piece, or the kernel waits between header and body
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = fake.answer(self.command, self.path, self.headers, body)
            if answer.status == 0:  # the server dies
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.type)
            self.send_header("Content-Length", str(answer.promised or len(answer.body)))
            if answer.status == 302:
                self.send_header("Location", f"/s3/{self.path.split('/')[3]}")
            if answer.status in (200, 206) and self.path.startswith("/s3/"):
                self.send_header("ETag", '"5"')
            if answer.status in (409, 429, 503):
                self.send_header("Retry-After", "0.1")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.close_connection = answer.promised is not None

        do_PUT = do_HEAD = do_DELETE = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def lines_of(text: str) -> dict[str, dict[str, Any]]:
    """The lines for files, by their paths."""
    return {line["path"]: line for line in map(json.loads, text.splitlines()) if "path" in line}
