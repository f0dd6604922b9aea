"""A server as `kokoro-edge serve` runs it, within the test's process and on a socket of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

from proxy.api.stopping import STOPPING, Stopping
from proxy.app import POOL
from proxy.serve import serve_on
from proxy.settings import Settings

ScriptedApp = Callable[..., web.Application]


@dataclass(frozen=True, slots=True)
class Serving:
    """It may not be up yet: connections wait until it is."""

    app: web.Application
    task: asyncio.Task[None]
    port: int
    connections: list[Connection] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stopping(self) -> Stopping:
        return self.app[STOPPING]

    async def wait_until_ready(self) -> None:
        await self.app[POOL].wait_until_ready()

    async def connect(self) -> Connection:
        """Closed with the server, at the latest."""
        self.connections.append(await connect(self.port))
        return self.connections[-1]


@dataclass(frozen=True, slots=True)
class Connection:
    """Bytes to a server and back."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, what: str) -> None:
        self.writer.write(what.replace("\n", "\r\n").encode())
        await self.writer.drain()

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def rest(self) -> bytes:
        """Until the server closes it, which it does cleanly or not."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


async def connect(port: int) -> Connection:
    return Connection(*await asyncio.open_connection("127.0.0.1", port))


@asynccontextmanager
async def serving(scripted_app: ScriptedApp, settings: Settings) -> AsyncIterator[Serving]:
    """Stopped at once when the block ends, unless it was before."""
    app = scripted_app(settings=settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(serve_on([listener], app, settings.server))
        server = Serving(app, task, port)
        try:
            async with asyncio.timeout(60):
                yield server
        finally:
            for connection in server.connections:
                await connection.close()
            app[STOPPING].ask()
            app[STOPPING].ask()
            await task
