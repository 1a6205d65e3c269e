"""Damaged requests, one after the other, to a real API process."""

import json
import random
import socket
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from api import errors
from bench.fuzz.http import GOOD, Request, crafted, damaged, whole
from bench.fuzz.server import Server, server
from bench.fuzz.tally import Tally

MOST_SECONDS = 20.0
"""An answer that takes longer is none."""
MOST_PEAK_MIB = 192
"""That the process may need beyond what it had at the beginning, whatever comes."""
OF_HTTP = {"not_found": 404, "method_not_allowed": 405}
OF_SERVER = {
    "uri_too_long": 414,
    "expectation_failed": 417,
    "request_header_fields_too_large": 431,
    "not_implemented": 501,
}
"""What gunicorn answers itself where a request is no HTTP; 501 is for an unknown Transfer-Encoding."""
UNAVAILABLE = ("queue_unavailable", "storage_unavailable", "storage_denied", "storage_error", "object_missing")
GOOD_STATUSES = (200, 202, 301, 308)
GOOD_EVERY, FORGET_EVERY = 20, 500
_OVER = b"a request failed", b"Traceback"


def fuzz_door(seconds: float, seed: int, folder: Path, data: Path, *, most: int = sys.maxsize) -> Tally:
    """Send what is crafted, then what is damaged, for so long or so many in all."""
    tally, until = Tally("door", folder), time.monotonic() + seconds
    with server(data) as api:
        first, log = api.worker(), 0
        _good(api, tally)
        api.forget()
        start = api.peak_kib()
        for number, request in enumerate(islice(_requests(random.Random(seed)), most)):
            if time.monotonic() > until:
                break
            _try(api, tally, request)
            log = _read_log(api, tally, request, log)
            if number % GOOD_EVERY == 0:
                _good(api, tally)
            if number % FORGET_EVERY == 0:
                api.forget()
        _good(api, tally)
        if api.worker() != first:
            tally.findings.append("the process that answers died and was replaced")
        elif (grown := (api.peak_kib() - start) // 1024) > MOST_PEAK_MIB:
            tally.findings.append(f"the API needed {grown} MiB more at its peak")
    tally.close()
    return tally


def _requests(chance: random.Random) -> Iterator[Request]:
    yield from crafted()
    while True:
        yield damaged(chance)


def _try(api: Server, tally: Tally, request: Request) -> None:
    before, peak, began = api.left(), api.peak_kib(), time.monotonic()
    try:
        answers = list(answers_to(api.port, request))
    except TimeoutError:
        answers = []
        tally.fault(f"no answer within {MOST_SECONDS:g} seconds", request.data)
    seconds = time.monotonic() - began
    fault = next(filter(None, (judge(status, body) for status, body in answers)), "")
    accepted = sum(status == 202 for status, _ in answers)
    if len(left := _settled(api, before, accepted)) != accepted:
        fault = fault or f"{accepted} jobs were accepted, but there is {sorted(left)[:3]}"
    ending = " ".join(ending_of(status, body) for status, body in answers[:1]) or "closed"
    tally.note(ending, request.data, seconds=seconds, grown_kib=api.peak_kib() - peak, label=request.name)
    tally.level(api.rss_kib(), api.open_files())
    if fault:
        tally.fault(fault, request.data)


def _settled(api: Server, before: set[str], wanted: int) -> set[str]:
    """What an exchange has left, once that is as it should be; an answer may come before a file is closed."""
    until = time.monotonic() + 5
    while len(left := api.left() - before) != wanted and time.monotonic() < until:
        time.sleep(0.01)
    return left


def answers_to(port: int, request: Request) -> Iterator[tuple[int, bytes]]:
    """Send, say that nothing more comes, and give every answer: its status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=MOST_SECONDS) as connection:
        try:
            for piece in request.pieces:
                connection.sendall(piece)
                time.sleep(request.pause)
            connection.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # it has heard enough
        received = _received(connection)
    while b"\r\n\r\n" in received:
        said, _, received = received.partition(b"\r\n\r\n")
        status = int(said.split(b" ", 2)[1])
        lengths = [line[15:] for line in said.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0]) if lengths and status >= 200 else 0
        if status >= 200:  # 100 says to go on
            yield status, received[:length]
        received = received[length:]


def _received(connection: socket.socket) -> bytes:
    received = bytearray()
    try:
        while piece := connection.recv(1 << 16):
            received += piece
    except ConnectionResetError:
        pass  # what was unread when it closed
    return bytes(received)


def judge(status: int, body: bytes) -> str:
    """Say what is wrong with an answer: a code that is not documented, or a fault of ours."""
    code = _code(body)
    if code is None:
        return "" if status in GOOD_STATUSES else f"{status} without a code"
    if (status == 503 and code in UNAVAILABLE) or OF_SERVER.get(code) == status:
        return ""
    wanted = DOCUMENTED.get(code)
    return "" if status < 500 and wanted == status else f"{status} {code} is not documented"


def ending_of(status: int, body: bytes) -> str:
    """Name an answer in the figures."""
    return f"{status} {_code(body) or ''}".strip()


def _code(body: bytes) -> str | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    code = value.get("code") if isinstance(value, dict) else None
    return code if isinstance(code, str) else None


def _statuses(kind: type[errors.RequestError]) -> dict[str, int]:
    """By code; kinds without one of their own are told in another manner."""
    found = {kind.code: kind.status} if "code" in vars(kind) else {}
    for one in kind.__subclasses__():
        found |= _statuses(one)
    return found


DOCUMENTED = {**_statuses(errors.RequestError), "invalid_key": 422, "output_not_possible": 422, **OF_HTTP}


def _good(api: Server, tally: Tally) -> None:
    """A well-formed request is still taken."""
    request = Request((whole(GOOD, b"multipart/form-data; boundary=----x", b"Connection: close"),))
    statuses = [status for status, _ in answers_to(api.port, request)]
    if statuses != [202]:
        tally.fault(f"a well-formed request was answered with {statuses}", request.data)


def _read_log(api: Server, tally: Tally, request: Request, start: int) -> int:
    lines = api.lines(start)
    if any(sign in lines for sign in _OVER):
        tally.fault(f"the log has {lines.decode(errors='replace')[-600:]}", request.data)
    return start + len(lines)
