"""Clients that ask one server for one reply over and over; every answer is checked.

What has to be sent is built once and of an answer only its head is read, so that the client takes
less of the machine than the server it measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import cast

HIT = b"kokoro-edge; hit"
PATH = "/v1/audio/speech"

DEADLINE_S = 30.0


class LoadError(Exception):
    """A server did not answer as it must, or a client could not be run."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for, and of whom."""

    host: str
    port: int
    body: bytes
    must_be_hit: bool = True
    """Whether answers without `Cache-Status: kokoro-edge; hit` are errors."""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}{PATH}"

    @property
    def request(self) -> bytes:
        lines = (
            f"POST {PATH} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/json",
            f"Content-Length: {len(self.body)}",
        )
        return "\r\n".join((*lines, "", "")).encode() + self.body


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a client measured."""

    requests: int
    elapsed_s: float
    p50_s: float
    p99_s: float
    late_p99_s: float = 0.0
    """Open loop: by how much the client itself missed its schedule."""

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.elapsed_s


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def schedule(rate_per_s: float, seconds: float) -> Iterator[float]:
    """When to send, in seconds from the start."""
    return (index / rate_per_s for index in range(round(rate_per_s * seconds)))


class _Connection(asyncio.Protocol):
    """A kept connection with at most one request under way."""

    def __init__(self, target: Target) -> None:
        self._request = target.request
        self._must_be_hit = target.must_be_hit
        self._answered: asyncio.Future[None] | None = None
        self._head = b""
        self._left_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are not derived of it.

    async def ask(self) -> None:
        """Send the request and wait for the last byte of the answer."""
        self._answered = asyncio.get_running_loop().create_future()
        self._head = b""
        self._transport.write(self._request)
        await self._answered

    def data_received(self, data: bytes) -> None:
        if self._left_bytes:
            self._left_bytes -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            body_bytes = len(self._head) - end - 4
            try:
                self._left_bytes = _length_bytes(self._head[:end], self._must_be_hit) - body_bytes
            except LoadError as error:
                self._end(error)
                return
        if self._left_bytes <= 0:
            self._end(LoadError("more came than was said") if self._left_bytes else None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(LoadError(f"the server closed the connection{f': {exc}' if exc else ''}"))

    def close(self) -> None:
        self._transport.close()

    def _end(self, error: LoadError | None) -> None:
        if self._answered is None or self._answered.done():
            return
        if error is None:
            self._answered.set_result(None)
        else:
            self._answered.set_exception(error)


def _length_bytes(head: bytes, must_be_hit: bool) -> int:
    """How long the body is, from a head that must be that of a 200, and of a hit where so said."""
    status, *lines = head.split(b"\r\n")
    if not status.startswith(b"HTTP/1.1 200 "):
        raise LoadError(f"answered {status.decode('latin-1')!r} where a 200 was due")
    fields = {
        name.lower(): value.strip() for name, _, value in (ln.partition(b":") for ln in lines)
    }
    if must_be_hit and not fields.get(b"cache-status", b"").startswith(HIT):
        said = fields.get(b"cache-status", b"none").decode("latin-1")
        raise LoadError(f"a reply that is cached is no hit: Cache-Status is {said!r}")
    if b"content-length" not in fields:
        raise LoadError("a reply has no Content-Length")
    return int(fields[b"content-length"])


@contextlib.asynccontextmanager
async def _connected(target: Target, connections: int) -> AsyncIterator[list[_Connection]]:
    """Open connections, each of which has answered once, so that none is slow for being new."""
    loop = asyncio.get_running_loop()
    opened: list[_Connection] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(connections):
                _, connection = await loop.create_connection(
                    lambda: _Connection(target), target.host, target.port
                )
                opened.append(connection)
                await connection.ask()
        yield opened
    except (OSError, TimeoutError) as error:
        raise LoadError(f"{target.url}: {str(error) or 'no answer'}") from None
    finally:
        for connection in opened:
            connection.close()


async def closed_loop(target: Target, connections: int, seconds: float) -> Load:
    """As many requests as go through: every connection asks again as soon as it was answered."""
    took_s: list[float] = []

    async def work(connection: _Connection, end_s: float) -> None:
        began_s = time.perf_counter()
        while began_s < end_s:
            await connection.ask()
            ended_s = time.perf_counter()
            took_s.append(ended_s - began_s)
            began_s = ended_s

    async with _connected(target, connections) as opened:
        began_s = time.perf_counter()
        async with asyncio.timeout(seconds + DEADLINE_S):
            await asyncio.gather(*(work(each, began_s + seconds) for each in opened))
        elapsed_s = time.perf_counter() - began_s
    return _load(took_s, elapsed_s)


async def open_loop(target: Target, connections: int, rate_per_s: float, seconds: float) -> Load:
    """Requests by schedule, whether or not the ones before are answered.

    Latency counts from the scheduled time: a request that finds no free connection, because the
    server is slow, is as late as its caller would find it.
    """
    took_s: list[float] = []
    late_s: list[float] = []

    async def work(connection: _Connection, due: Iterator[float], began_s: float) -> None:
        for offset_s in due:
            due_s = began_s + offset_s
            if (wait_s := due_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
                late_s.append(time.perf_counter() - due_s)
            await connection.ask()
            took_s.append(time.perf_counter() - due_s)

    async with _connected(target, connections) as opened:
        began_s = time.perf_counter()
        due = schedule(rate_per_s, seconds)
        async with asyncio.timeout(seconds + DEADLINE_S):
            await asyncio.gather(*(work(each, due, began_s) for each in opened))
        elapsed_s = time.perf_counter() - began_s
    return _load(took_s, elapsed_s, late_s)


def _load(took_s: Sequence[float], elapsed_s: float, late_s: Sequence[float] = ()) -> Load:
    return Load(
        len(took_s),
        elapsed_s,
        percentile(took_s, 0.5),
        percentile(took_s, 0.99),
        percentile(late_s, 0.99) if late_s else 0.0,
    )


def fast_loop() -> asyncio.AbstractEventLoop:
    """The loop that takes least of the CPU, chosen as `proxy.serve` chooses it."""
    if find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def punctual_loop() -> asyncio.AbstractEventLoop:
    """A loop that keeps a schedule: the timers of epoll and of uvloop count whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())
