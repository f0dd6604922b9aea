"""The cache of a running server, through its admin API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from proxy.api.cache_admin import CACHE_PATH
from proxy.cache.steps import Progress, Step, from_json
from proxy.commands.admin_client import AdminClient
from proxy.commands.source import Filters, Steps

_CHUNK_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class There:
    """A server's cache."""

    client: AdminClient

    @property
    def where(self) -> str:
        return f"the cache of the server at {self.client.url}"

    @property
    def is_there(self) -> bool:
        return True

    async def stats(self) -> Steps:
        async with self.client.ask("GET", CACHE_PATH) as answer:
            yield [self._read(await answer.read())]

    def entries(self, filters: Filters) -> Steps:
        return self._lines("GET", "/entries", params=_as_query(filters))

    def verify(self, repair: bool) -> Steps:
        return self._lines("POST", "/verify", json={"repair": repair})

    def purge(self, filters: Filters) -> Steps:
        return self._lines("POST", "/purge", json=filters or {"all": True})

    async def export_archive(self, filters: Filters) -> AsyncIterator[tuple[bytes, list[Step]]]:
        query = _as_query(filters)
        async with self.client.ask("GET", f"{CACHE_PATH}/export", params=query) as answer:
            done_bytes = 0
            async for piece in answer.content.iter_chunked(_CHUNK_BYTES):
                done_bytes += len(piece)
                yield piece, [Progress(done_bytes, None, "bytes")]

    def import_archive(self, file: BinaryIO, size_bytes: int | None) -> Steps:
        return self._lines("POST", "/import", data=_pieces(file))

    async def _lines(self, method: str, path: str, **asked: Any) -> Steps:
        async for line in self.client.lines(method, CACHE_PATH + path, **asked):
            yield [self._read(line)]

    def _read(self, line: bytes) -> Step:
        try:
            return from_json(line)
        except ValueError:
            raise self.client.broken_off(line) from None


def _as_query(filters: Filters) -> dict[str, str]:
    return {name: str(value) for name, value in filters.items()}


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _CHUNK_BYTES):
        yield piece
