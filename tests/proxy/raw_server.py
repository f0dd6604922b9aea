"""A server that answers with the bytes it is given, whether they are HTTP or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HANG = b"HANG"
"""At the end of an answer: send no more, and keep the connection open."""


@dataclass(slots=True)
class RawServer:
    """One answer for each connection, the last one for all further ones."""

    answers: Sequence[bytes]
    base_url: str = ""
    heads: list[str] = field(default_factory=list)
    """Of the requests: their first lines and headers."""
    bodies: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """A client ended its connection while it was kept open."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            size_bytes = int(head.lower().partition("content-length:")[2].split()[0])
            self.bodies.append(await reader.readexactly(size_bytes))
            self.heads.append(head)
            self.asked.set()
            answer = self.answers[min(len(self.heads), len(self.answers)) - 1]
            writer.write(answer.removesuffix(HANG))
            await writer.drain()
            if answer.endswith(HANG):
                await reader.read()
                self.hung_up.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(*answers: bytes) -> AsyncIterator[RawServer]:
    """`answers`: see `RawServer`."""
    scripted = RawServer(answers)
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    scripted.base_url = f"http://127.0.0.1:{port}/v1"
    async with server:
        yield scripted


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {status} Said", "Connection: close"]
    given = {"Content_Type": "audio/mpeg", "Content_Length": str(len(body)), **headers}
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
