"""The cache of a running server, through its admin API."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import aiohttp

from proxy.api.admin import CACHE_PATH
from proxy.cache.steps import Progress, Step, from_json
from proxy.commands.failure import EXIT_USAGE, CommandFailed
from proxy.commands.source import Filters, Steps

_TIMEOUTS = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)
"""The server tells of its progress all the time, but says nothing while it counts."""

_CHUNK_BYTES = 1024**2
_LINE_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class There:
    """A server, by the address that it or its operator has told."""

    url: str
    """Without a path."""
    session: aiohttp.ClientSession

    @property
    def where(self) -> str:
        return f"the cache of the server at {self.url}"

    @property
    def is_there(self) -> bool:
        return True

    async def stats(self) -> Steps:
        async with self._ask("GET", "") as answer:
            yield [self._read(await answer.read())]

    def entries(self, filters: Filters) -> Steps:
        return self._lines("GET", "/entries", params=_as_query(filters))

    def verify(self, repair: bool) -> Steps:
        return self._lines("POST", "/verify", json={"repair": repair})

    def purge(self, filters: Filters) -> Steps:
        return self._lines("POST", "/purge", json=filters or {"all": True})

    async def export_archive(self, filters: Filters) -> AsyncIterator[tuple[bytes, list[Step]]]:
        async with self._ask("GET", "/export", params=_as_query(filters)) as answer:
            done_bytes = 0
            async for piece in answer.content.iter_chunked(_CHUNK_BYTES):
                done_bytes += len(piece)
                yield piece, [Progress(done_bytes, None, "bytes")]

    def import_archive(self, file: BinaryIO, size_bytes: int | None) -> Steps:
        return self._lines("POST", "/import", data=_pieces(file))

    async def _lines(self, method: str, path: str, **asked: Any) -> Steps:
        async with self._ask(method, path, **asked) as answer:
            async for line in answer.content:
                yield [self._read(line)]

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, **asked: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self.session.request(
                method, self.url + CACHE_PATH + path, allow_redirects=False, **asked
            ) as answer:
                if answer.status != 200:
                    raise self._refused(answer.status, await answer.read())
                yield answer
        except aiohttp.InvalidURL:
            raise CommandFailed(f"{self.url} is no address of a server", EXIT_USAGE) from None
        except aiohttp.ClientConnectorError as error:
            why = os.strerror(error.os_error.errno) if error.os_error.errno else str(error)
            raise CommandFailed(
                f"cannot reach the server at {self.url}: {why}. Is it running?"
            ) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise CommandFailed(
                f"the server at {self.url} broke off: {str(error) or type(error).__name__}. Its "
                "log may tell why"
            ) from None

    def _refused(self, status: int, body: bytes) -> CommandFailed:
        message = _message_in(body)
        if message is None or status in (404, 405):
            return CommandFailed(
                f"what answers at {self.url} is no kokoro-edge that can do this (status {status})"
            )
        if status == 401:
            return CommandFailed(
                f"the server at {self.url} wants its key, and got another or none: set "
                "server.admin_key as it has it, in the file or as KOKORO_EDGE_SERVER_ADMIN_KEY"
            )
        return CommandFailed(f"the server at {self.url} refused: {message}")

    def _read(self, line: bytes) -> Step:
        try:
            return from_json(line)
        except ValueError:
            message = _message_in(line) or "it answered something else than it should"
            raise CommandFailed(f"the server at {self.url} broke off: {message}") from None


@asynccontextmanager
async def open_there(url: str, admin_key: str | None) -> AsyncIterator[There]:
    """Raises CommandFailed: this is no address of a server."""
    base = url.rstrip("/").removesuffix("/v1")
    try:
        parts = urlsplit(base)
        port_is_right = parts.port != 0
    except ValueError:
        port_is_right = False
    if not port_is_right or parts.scheme not in ("http", "https") or not parts.hostname:
        raise CommandFailed(
            f"{url} is no address of a server: write it as in http://127.0.0.1:8000", EXIT_USAGE
        )
    headers = {} if admin_key is None else {"Authorization": f"Bearer {admin_key}"}
    async with aiohttp.ClientSession(
        headers=headers, timeout=_TIMEOUTS, read_bufsize=_LINE_BYTES
    ) as session:
        yield There(base, session)


def _as_query(filters: Filters) -> dict[str, str]:
    return {name: str(value) for name, value in filters.items()}


def _message_in(body: bytes) -> str | None:
    """What our error object says; None: it is none."""
    try:
        match json.loads(body):
            case {"error": {"message": str(message)}}:
                return message.rstrip(".")
    except ValueError:
        pass
    return None


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _CHUNK_BYTES):
        yield piece
