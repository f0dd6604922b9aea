"""How long clients are waited for, while they send and while they receive."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web

from proxy.api.errors import BadRequest, SlowBody


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds."""

    request_s: float = 30.0
    """For a body to come whole; for a piece of it where the whole is large."""
    stalled_reader_s: float = 60.0
    """For a client to take anything of its answer."""


PATIENCE = web.AppKey("patience", Patience)

LOOKS = 4
"""So often the same, and a client takes nothing."""

_INT = struct.Struct("i")

STALLED = web.RequestKey("stalled", bool)
"""Set to True where the client was cut off because it took nothing any more."""


async def whole_body(request: web.Request) -> bytes:
    """The request's body.

    Raises:
        BadRequest: it is not encoded as its headers say.
        SlowBody: it did not come in time.
    """
    try:
        if request.content.is_eof():  # As a rule it came with the head, and needs no timer.
            return await request.read()
        within_s = _of(request).request_s
        try:
            async with asyncio.timeout(within_s):
                return await request.read()
        except TimeoutError:
            raise SlowBody(within_s) from None
    except web.RequestPayloadError:
        raise BadRequest("The body is not encoded as its headers say.") from None


async def pieces_of(request: web.Request, size_bytes: int) -> AsyncIterator[bytes]:
    """A body of any length, in pieces of so much at most.

    Raises:
        SlowBody: the next piece did not come in time.
    """
    within_s = _of(request).request_s
    pieces = request.content.iter_chunked(size_bytes)
    while True:
        try:
            async with asyncio.timeout(within_s):
                piece = await anext(pieces, b"")
        except TimeoutError:
            raise SlowBody(within_s) from None
        if not piece:
            return
        yield piece


class Progress:
    """Whether what is left to send becomes less."""

    def __init__(self) -> None:
        self._left_bytes = 0
        self._looks = 0

    def has_stalled(self, left_bytes: int) -> bool:
        """Whether this is the last of several looks that found the same."""
        self._looks = self._looks + 1 if 0 < left_bytes == self._left_bytes else 0
        self._left_bytes = left_bytes
        return self._looks == LOOKS


def left_bytes(transport: asyncio.WriteTransport) -> int:
    """What was written and the client has not taken yet, the kernel's share of it included.

    The kernel holds megabytes for a connection, and takes more only once a third of them is gone:
    by our own buffer alone, a slow reader takes nothing for minutes.
    """
    held = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if connection is None:
        return held
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
    except (OSError, ValueError):  # Not on Linux, or closed.
        return held
    (in_kernel,) = _INT.unpack(answer)
    return held + int(in_kernel)


class WaitingForReader:
    """While something is written: cuts the client off when it takes nothing of it for too long.

    Not by the time that the whole write takes: a player reads as fast as it plays.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._stalled_s = _of(request).stalled_reader_s
        self._progress = Progress()
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._look_later()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if kind is None and self._request.get(STALLED, False):
            raise ConnectionResetError("The client takes nothing of its answer.")

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(self._stalled_s / LOOKS, self._look)

    def _look(self) -> None:
        transport = self._request.transport
        if transport is None:
            return
        # Nothing else is written meanwhile, so it can only become less.
        if self._progress.has_stalled(left_bytes(transport)):
            self._request[STALLED] = True
            transport.abort()
        else:
            self._look_later()


def _of(request: web.Request) -> Patience:
    return request.app.get(PATIENCE) or Patience()
