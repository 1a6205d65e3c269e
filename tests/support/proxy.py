"""A TCP proxy that fails on command: what a network and a dying server do to those who talk to them.

It stands between the processes under test and a real server on loopback. `tests.support.http_proxy` is the one that
understands HTTP.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from tests.support.ports import free_port

PIECE = 64 * 1024
_BACKLOG = 256
_WAIT_SECONDS = 10.0
#: Closed with this, a socket says RST and not FIN.
_RESET = struct.pack("ii", 1, 0)


class Broken(Exception):
    """The conversation ends here, with a reset."""


class Pair:
    """A client's connection and the one to the server that goes with it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client, self.to_client = reader, writer
        self.server: asyncio.StreamReader
        self.to_server: asyncio.StreamWriter | None = None

    async def connect(self, port: int) -> None:
        """Open the server's side."""
        self.server, self.to_server = await asyncio.open_connection("127.0.0.1", port)

    def close(self, *, reset: bool) -> None:
        """End both sides."""
        for writer in (self.to_client, self.to_server):
            if writer is None:
                continue
            if reset:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()


class FaultProxy:
    """
    Passes bytes on to a server on loopback, in a thread of its own, until it is told to fail.

    Attributes:
        port: where it listens; the same as long as it lives, so that nobody else gets it while it is down

    """

    def __init__(self, upstream: int, *, seed: int = 0) -> None:
        self._upstream = upstream
        self._random = random.Random(seed)
        self._latency = 0.0
        self._resets = 0.0
        self._up = True
        self._pairs: set[Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = _listener()
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._cut_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WAIT_SECONDS)
        self._listener.close()

    def down(self) -> None:
        """Refuse connections and reset those that there are, as when the server has died."""
        self._call(self._go_down)

    def freeze(self) -> None:
        """Let nothing pass, as when the network is gone: connections are taken and stay, and nothing answers.

        What was sent meanwhile arrives late, once it is `up` again, even if its sender has given up by then.
        """
        self._call(self._flowing.clear)

    def up(self) -> None:
        """End `down` and `freeze`."""
        self._call(self._go_up)

    def latency(self, seconds: float) -> None:
        """Hold up every message of a client for so long."""
        self._latency = seconds

    def reset_some(self, probability: float) -> None:
        """Break the connection at some messages of a client: half of them before the server gets them, half after."""
        self._resets = probability

    def calm(self) -> None:
        """End all faults."""
        self._latency = self._resets = 0.0
        self.up()

    # All below runs in the loop's thread.

    async def converse(self, pair: Pair) -> None:
        """Pass on what both sides say until one of them ends; `Broken` resets them."""
        ways = [self._forward(pair), self._backward(pair)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, pair: Pair) -> None:
        assert pair.to_server is not None
        while data := await pair.client.read(PIECE):
            await self.before()
            if self.chance(self._resets / 2):
                raise Broken
            pair.to_server.write(data)
            await pair.to_server.drain()
            if self.chance(self._resets / 2):
                raise Broken

    async def _backward(self, pair: Pair) -> None:
        while data := await pair.server.read(PIECE):
            await self._flowing.wait()
            pair.to_client.write(data)
            await pair.to_client.drain()

    async def before(self) -> None:
        """Wait as a message has to wait before it reaches the server."""
        if self._latency:
            await asyncio.sleep(self._latency)
        await self._flowing.wait()

    def chance(self, probability: float) -> bool:
        """Draw whether something of this probability happens."""
        return probability > 0 and self._random.random() < probability

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        accepting = self._loop.create_task(self._accept())
        self._loop.run_forever()
        left = [accepting, *self._tasks]
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _accept(self) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # it is down, and does not listen
                await asyncio.sleep(0.01)
                continue
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        pair = Pair(*await asyncio.open_connection(sock=connection))
        self._pairs.add(pair)
        reset = False
        try:
            await self._flowing.wait()
            await pair.connect(self._upstream)
            await self.converse(pair)
        except (Broken, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            reset = True
        finally:
            self._pairs.discard(pair)
            pair.close(reset=reset)

    def _go_down(self) -> None:
        if self._up:
            # On Linux this ends the listening and keeps the port (see `_listener`).
            self._listener.shutdown(socket.SHUT_RD)
            self._up = False
        self._cut_all()

    def _go_up(self) -> None:
        if not self._up:
            self._listener.listen(_BACKLOG)
            self._up = True
        self._flowing.set()

    def _cut_all(self) -> None:
        for pair in list(self._pairs):
            pair.close(reset=True)
        for task in list(self._tasks):
            task.cancel()

    def _call(self, act: Callable[[], Any]) -> None:
        """Do something in the loop's thread and wait until it is done."""
        done = threading.Event()

        def run() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(run)
        if not done.wait(_WAIT_SECONDS):
            raise RuntimeError(f"the proxy on port {self.port} hangs")


def _listener() -> socket.socket:
    """Listen on a port that was named: one that the kernel chose would be given up when the listening ends."""
    while True:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", free_port()))
        except OSError:  # someone took it between its choice and its use
            listener.close()
            continue
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        return listener
