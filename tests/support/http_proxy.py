"""A proxy before an HTTP server, such as S3: it spoils single requests, on connections that stay open too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tests.support.proxy import PIECE, Broken, FaultProxy, Pair

_REFUSALS = {500: "Internal Server Error", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Head:
    """The first lines of a request or an answer."""

    raw: bytes
    start: tuple[str, ...]
    fields: Mapping[str, str]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Self | None:
        """Read one; None at the end of the connection."""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = raw.decode("latin-1").strip().split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        return cls(raw, tuple(first.split(" ", 2)), {name.strip().lower(): value.strip() for name, value in pairs})

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start[1])

    @property
    def length(self) -> int | None:
        """Bytes of the body, if that is told."""
        text = self.fields.get("content-length")
        return int(text) if text is not None else None

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks, each with its length."""
        return self.fields.get("transfer-encoding", "").lower() == "chunked"


class HttpFaultProxy(FaultProxy):
    """A `FaultProxy` that takes requests apart: `latency` and `reset_some` are by request here."""

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        super().__init__(upstream, seed=seed)
        self._errors = 0.0
        self._cuts = 0.0

    def fail_some(self, probability: float) -> None:
        """Answer some requests with 500 or 503; the server never hears of them."""
        self._errors = probability

    def cut_some(self, probability: float) -> None:
        """Send of some answers to a GET the head and half of the body, then close."""
        self._cuts = probability

    def calm(self) -> None:
        """End all faults."""
        self._errors = self._cuts = 0.0
        super().calm()

    async def converse(self, pair: Pair) -> None:
        """Pass on requests and answers in turn, or spoil them."""
        while (request := await Head.read(pair.client)) is not None:
            await self.before()
            if self.chance(self._errors):
                await self._refuse(pair, request)
                return
            if self.chance(self._resets / 2):
                raise Broken
            if not await self._exchange(pair, request, lose_answer=self.chance(self._resets / 2)):
                return

    async def _refuse(self, pair: Pair, request: Head) -> None:
        if "expect" not in request.fields:  # who expects to be asked for the body keeps it back
            await _copy_body(request, pair.client, None)
        status = self._random.choice(list(_REFUSALS))
        text = f"HTTP/1.1 {status} {_REFUSALS[status]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        pair.to_client.write(text.encode())
        await pair.to_client.drain()

    async def _exchange(self, pair: Pair, request: Head, *, lose_answer: bool) -> bool:
        """Pass on one request and its answer; tells whether the connection goes on."""
        assert pair.to_server is not None
        pair.to_server.write(request.raw)
        body = asyncio.ensure_future(self._send_body(pair, request))
        try:
            answer = await _final_answer(pair)
            if lose_answer:
                raise Broken
            whole = await self._answer(pair, request, answer)
            # Who answers before the body has come, as to one who expects to be asked for it, wants no more of it.
            return whole and body.done()
        finally:
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)

    async def _send_body(self, pair: Pair, request: Head) -> None:
        try:
            await _copy_body(request, pair.client, pair.to_server)
        except (Broken, OSError, asyncio.IncompleteReadError):  # no answer will come then
            pair.close(reset=True)

    async def _answer(self, pair: Pair, request: Head, answer: Head) -> bool:
        await self._flowing.wait()
        pair.to_client.write(answer.raw)
        if request.start[0] == "HEAD" or answer.status in (204, 304):
            await pair.to_client.drain()
            return True
        size = answer.length or 0
        if size > 1 and request.start[0] == "GET" and self.chance(self._cuts):
            await _copy(pair.server, pair.to_client, size // 2)
            return False
        await _copy_body(answer, pair.server, pair.to_client, until_end=True)
        return answer.fields.get("connection", "").lower() != "close" and (answer.length is not None or answer.chunked)


async def _final_answer(pair: Pair) -> Head:
    """Read the server's answer and pass on what comes before it, such as `100 Continue`."""
    while True:
        answer = await Head.read(pair.server)
        if answer is None:
            raise Broken
        if answer.status >= 200:
            return answer
        pair.to_client.write(answer.raw)
        await pair.to_client.drain()


async def _copy_body(
    head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, *, until_end: bool = False
) -> None:
    if head.chunked:
        await _copy_chunks(reader, writer)
    elif head.length is not None or not until_end:
        await _copy(reader, writer, head.length or 0)
    else:
        while data := await reader.read(PIECE):
            await _write(writer, data)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, size: int) -> None:
    while size:
        data = await reader.read(min(PIECE, size))
        if not data:
            raise Broken
        await _write(writer, data)
        size -= len(data)


async def _copy_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        await _write(writer, line)
        size = int(line.split(b";")[0], 16)
        if size:
            await _copy(reader, writer, size + 2)
            continue
        while True:  # the trailers, up to an empty line
            line = await reader.readuntil(b"\r\n")
            await _write(writer, line)
            if line == b"\r\n":
                return


async def _write(writer: asyncio.StreamWriter | None, data: bytes) -> None:
    if writer is not None:
        writer.write(data)
        await writer.drain()
