"""Requests as bytes: well-formed ones, damaged ones, and those that lie about themselves."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.fuzz.mutate import mutated

BOUNDARY = b"----x"
LINE = b"\r\n"
_KIB = 1024
TYPES = (
    b"multipart/form-data; boundary=----x",
    b'multipart/form-data; boundary="----x"',
    b"multipart/form-data; boundary=----x; charset=utf-7",
    b"multipart/form-data; boundary=----x; boundary=----y",
    b"multipart/form-data; boundary*0=----; boundary*1=x",
    b"multipart/form-data; boundary*=utf-16''%2D%2D",
    b"multipart/form-data; boundary=" + b"x" * 200,
    b"multipart/form-data; boundary=" + b"x" * 201,
    b"multipart/form-data; boundary=\xc3\xa9",
    b"multipart/form-data; boundary=(.*)*$",
    b'multipart/form-data; boundary="\\r\\n"',
    b"multipart/form-data; boundary=",
    b"multipart/form-data",
    b"multipart/mixed; boundary=----x",
    b"application/json",
    b"application/json; charset=utf-16",
    b"application/x-www-form-urlencoded",
    b"text/plain",
    b"",
)
OPTIONS = (b"mode", b"stages", b"options", b"output", b"output.format", b"metadata", b"seed", b"file", b"nonsense", b"")
VALUES = (b"", b"0", b"1", b"9" * 40, b"-1", b"NaN", b"{}", b"[]", b'{"a": {"a": 1}}', b"flac", b"\xff\xfe", b"\x00")
NAMES = (
    b'filename="a.wav"',
    b"filename=a.wav",
    b'filename=""',
    b'filename="../../etc/passwd"',
    b'filename="a\x00b.wav"',
    b"filename*=utf-8''%c3%28.wav",
    b"filename*=utf-16''a.wav",
    b"filename*0=a; filename*1=.wav; filename*3=b",
    b'filename="' + b"n" * 10_000 + b'"',
    b'filename="\\"\\\\\\"',
    b'filename="\xf0\x9f\x8e\x99.wav"',
    b'filename="unended',
)


@dataclass(frozen=True)
class Request:
    """The bytes of a connection, in the pieces in which they are sent, with a pause between these."""

    pieces: Sequence[bytes]
    pause: float = 0.0
    name: str = ""

    @property
    def data(self) -> bytes:
        """All bytes."""
        return b"".join(self.pieces)


def part(name: bytes, value: bytes, more: bytes = b"", headers: bytes = b"") -> bytes:
    """Write a part of a form."""
    said = b'Content-Disposition: form-data; name="' + name + b'"' + (b"; " + more if more else b"")
    return b"--" + BOUNDARY + LINE + said + LINE + headers + LINE + value + LINE


def form(*parts: bytes) -> bytes:
    """Write a form of parts."""
    return b"".join(parts) + b"--" + BOUNDARY + b"--" + LINE


def head(kind: bytes = TYPES[0], *more: bytes, line: bytes = b"POST /v1/jobs HTTP/1.1") -> bytes:
    """Write the head of a request."""
    return LINE.join((line, b"Host: localhost", *((b"Content-Type: " + kind,) if kind else ()), *more)) + LINE * 2


def whole(body: bytes, kind: bytes = TYPES[0], *more: bytes) -> bytes:
    """Write a request whose length is right."""
    return head(kind, b"Content-Length: %d" % len(body), *more) + body


GOOD = form(part(b"file", b"RIFF....", b'filename="a.wav"'), part(b"mode", b"1"))


def crafted() -> list[Request]:
    """Give what mutations would not find."""
    sound = part(b"file", b"RIFF....", b'filename="a.wav"')
    many = {f"k{number}": 1 for number in range(60_000)}
    twice = json.dumps(many)[:-1].encode() + b',"z":1,"z":2}'
    deep = b"[" * 200_000 + b"]" * 200_000
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(20_000))
    odd = b'Content-Disposition: form-data; name="'
    named = {
        "thousands of parts": whole(form(*[part(b"mode", b"1")] * 5_000)),
        "thousands of empty parts": whole((b"--" + BOUNDARY + LINE) * 50_000),
        "a part header of 900 KB": whole(form(part(b"file", b"x", b'filename="a"', b"X: " + b"y" * 900_000 + LINE))),
        "a part header of 3 MB": whole(form(part(b"file", b"x", b'filename="a"', b"X: " + b"y" * 3_000_000 + LINE))),
        "thousands of part headers": whole(form(part(b"file", b"x", b'filename="a"', lines))),
        "a name of backslashes": whole(b"--" + BOUNDARY + LINE + odd + b"\\\\" * 300_000 + b'"' + LINE * 2 + b"x"),
        "a form in a form": whole(form(part(b"options", form(sound), b"", b"Content-Type: " + TYPES[0] + LINE), sound)),
        "no blank line": whole(b"--" + BOUNDARY + LINE + odd + b'file"; filename="a"' + LINE + b"y" * 2_000_000),
        "line feeds alone": whole(GOOD.replace(LINE, b"\n")),
        "carriage returns alone": whole(GOOD.replace(LINE, b"\r")),
        "nothing but carriage returns": whole(sound[:-2] + b"\r" * 2_000_000),
        "nothing but half boundaries": whole(sound[:-2] + b"\r\n------" * 200_000),
        "nothing but preamble": whole(b"--" * 1_000_000),
        "a field of 2 MB": whole(form(part(b"metadata", b"x" * 2_000_000), sound)),
        "deep JSON": whole(deep, b"application/json"),
        "deep JSON in a field": whole(form(part(b"options", deep), sound)),
        "JSON of many names, one twice": whole(twice, b"application/json"),
        "a field of many names, one twice": whole(form(part(b"metadata", twice), sound)),
        "JSON of unknown names": whole(json.dumps(many).encode(), b"application/json"),
        "a number of 900 000 digits": whole(b'{"seed": ' + b"1" * 900_000 + b"}", b"application/json"),
        "JSON of 3 MB": whole(b'{"a": "' + b"x" * 3_000_000 + b'"}', b"application/json"),
        "half of a surrogate": whole(b'{"input": {"key": "incoming/\\ud800"}}', b"application/json"),
        "a key out of the folder": whole(b'{"input": {"key": "incoming/../../x"}}', b"application/json"),
        "a gzip bomb": whole(b"\x1f\x8b" + bytes(50_000), TYPES[0], b"Content-Encoding: gzip"),
        "a length too short": head(TYPES[0], b"Content-Length: 30") + GOOD,
        "a length too long": head(TYPES[0], b"Content-Length: 3000") + GOOD,
        "a negative length": head(TYPES[0], b"Content-Length: -1") + GOOD,
        "a length with a sign": head(TYPES[0], b"Content-Length: +%d" % len(GOOD)) + GOOD,
        "a length of 2^64": head(TYPES[0], b"Content-Length: 18446744073709551616") + GOOD,
        "a length of a thousand digits": head(TYPES[0], b"Content-Length: " + b"9" * 1_000) + GOOD,
        "two lengths": head(TYPES[0], b"Content-Length: 10", b"Content-Length: %d" % len(GOOD)) + GOOD,
        "a length and chunks": head(TYPES[0], b"Content-Length: 5", b"Transfer-Encoding: chunked") + chunked(GOOD),
        "no length": head() + GOOD,
        "an unknown coding": head(TYPES[0], b"Transfer-Encoding: gzip, chunked") + chunked(GOOD),
        "a header line of 100 KB": head(TYPES[0], b"X: " + b"y" * 100_000) + GOOD,
        "thousands of header lines": head(TYPES[0], *lines.split(LINE)[:-1]) + GOOD,
        "a request line of 100 KB": head(line=b"GET /" + b"y" * 100_000 + b" HTTP/1.1"),
        "an expectation": whole(GOOD, TYPES[0], b"Expect: 100-continue"),
        "an unknown expectation": whole(GOOD, TYPES[0], b"Expect: wonders"),
        "requests in a row": whole(GOOD) * 5,
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    }
    return [Request((data,), name=name) for name, data in named.items()]


def chunked(body: bytes, size: int = 50) -> bytes:
    """Write a body in chunks."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def damaged(chance: random.Random) -> Request:
    """Give a request with something wrong, mostly."""
    return chance.choice(KINDS)(chance)


def _fields(chance: random.Random) -> bytes:
    parts = [part(chance.choice(OPTIONS), chance.choice(VALUES)) for _ in range(chance.choice((0, 1, 2, 120)))]
    parts += [part(b"file", chance.randbytes(chance.choice((0, 1, 5_000))), chance.choice(NAMES))]
    chance.shuffle(parts)
    return form(*parts)


def _damaged_form(chance: random.Random) -> Request:
    return Request((whole(mutated(chance, [GOOD, _fields(chance)]), chance.choice(TYPES[:4])),))


def _odd_fields(chance: random.Random) -> Request:
    return Request((whole(_fields(chance), chance.choice(TYPES)),))


def _damaged_request(chance: random.Random) -> Request:
    return Request((mutated(chance, [whole(_fields(chance)), head(TYPES[0], CHUNKS) + chunked(GOOD)]),))


def _damaged_chunks(chance: random.Random) -> Request:
    body = mutated(chance, [chunked(_fields(chance), chance.choice((1, 50, 5_000)))])
    size = chance.choice((b"", b"ffffffffffffffff\r\n", b"-1\r\n", b"5;" + b"x" * 9_000 + LINE, b"0x5\r\n", b"\r\n"))
    return Request((head(TYPES[0], CHUNKS) + chance.choice((body, size + body, body + b"X: y\r\n" * 500)),))


def _damaged_json(chance: random.Random) -> Request:
    good = json.dumps({"input": {"key": "incoming/a.wav"}, "mode": 1, "output": {"format": "flac"}}).encode()
    return Request((whole(mutated(chance, [good]), b"application/json"),))


def _wrong_length(chance: random.Random) -> Request:
    body = _fields(chance)
    length = len(body) + chance.choice((-len(body), -100, -1, 1, 100, 10_000, 2**31, 2**63))
    return Request((head(TYPES[0], b"Content-Length: %d" % length) + body,))


def _slow(chance: random.Random) -> Request:
    data = chance.choice((whole(GOOD), head(TYPES[0], CHUNKS) + chunked(GOOD)))
    size = chance.choice((40, 100))
    return Request([data[at : at + size] for at in range(0, len(data), size)], pause=0.01)


def _large(chance: random.Random) -> Request:
    """A file of a few MB, mostly below the limit, whose form ends as it should or not."""
    sound = part(b"file", bytes(chance.choice((1, 3, 6)) * _KIB * _KIB), b'filename="a.wav"')
    body = chance.choice((form(sound), sound, form(sound, sound), form(sound, part(b"mode", b"7"))))
    return Request((chance.choice((whole(body), head(TYPES[0], CHUNKS) + chunked(body, 100_000))),))


CHUNKS = b"Transfer-Encoding: chunked"
KINDS: tuple[Callable[[random.Random], Request], ...] = (
    *[_damaged_form] * 8,
    *[_odd_fields] * 6,
    *[_damaged_request] * 6,
    *[_damaged_chunks] * 4,
    *[_damaged_json] * 4,
    *[_wrong_length] * 2,
    _slow,
    _large,
)
