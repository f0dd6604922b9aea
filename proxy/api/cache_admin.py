"""`/v1/admin/cache`: look after the cache while it is in use."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from aiohttp import web

from proxy import __version__
from proxy.api.access import ADMIN_PATH
from proxy.api.admin_routes import tell
from proxy.api.admin_schema import Filters, PurgeRequest, VerifyRequest, read_body, read_query
from proxy.api.middleware import NOT_ASKED, REQUEST_ID, Handler, total_timing
from proxy.api.patience import pieces_of
from proxy.api.streamed import Streamed
from proxy.cache import upkeep
from proxy.cache.archive import Keeping, export_entries, import_entries
from proxy.cache.disk import CacheUnavailable, DiskTier
from proxy.cache.memory import MemoryTier
from proxy.cache.steps import MemoryStats, Purged, Stats, Step, to_json
from proxy.cache.tiered import TieredCache
from proxy.phrasebook.mining.miner import Miner

logger = logging.getLogger(__name__)

T = TypeVar("T")

CACHE_PATH = f"{ADMIN_PATH}/cache"

_UPLOAD_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class CacheAdminApi:
    """What `kokoro-edge cache` asks of a running server. What takes long is told line by line."""

    disk: DiskTier
    memory: MemoryTier
    cache: TieredCache
    keeping: Keeping
    miner: Miner | None = None
    """What was heard, which holds text, goes with everything else."""
    step_deadline_s: float = 30.0
    """Of a millisecond of work. A disk that does not answer must not keep whoever asks for ever."""

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """By method and path."""
        return {
            ("GET", CACHE_PATH): self.stats,
            ("GET", f"{CACHE_PATH}/entries"): self.entries,
            ("POST", f"{CACHE_PATH}/verify"): self.verify,
            ("POST", f"{CACHE_PATH}/purge"): self.purge,
            ("GET", f"{CACHE_PATH}/export"): self.export_archive,
            ("POST", f"{CACHE_PATH}/import"): self.import_archive,
        }

    async def stats(self, request: web.Request) -> web.Response:
        found = Stats([])
        async for told in self._steps(upkeep.stats(self.disk.stores)):
            found = next((step for step in told if isinstance(step, Stats)), found)
        found = replace(
            found,
            memory=MemoryStats(len(self.memory), self.memory.size_bytes()),
            counts=self.disk.counts,
        )
        return web.Response(body=to_json(found), content_type="application/json")

    async def entries(self, request: web.Request) -> web.StreamResponse:
        selection = await read_query(Filters, request).selection()
        return await _tell(request, self._steps(upkeep.entries(self.disk.stores, selection)))

    async def verify(self, request: web.Request) -> web.StreamResponse:
        asked = await read_body(VerifyRequest, request)
        return await _tell(request, self._steps(upkeep.verify(self.disk.stores, asked.repair)))

    async def purge(self, request: web.Request) -> web.StreamResponse:
        asked = await read_body(PurgeRequest, request)
        if asked.all:
            steps = upkeep.purge_all(self.disk.stores)
            if self.miner is not None:
                await self.miner.forget()
        else:
            steps = upkeep.purge(self.disk.stores, await asked.selection())
        return await _tell(request, self._purged(steps))

    async def export_archive(self, request: web.Request) -> web.StreamResponse:
        selection = await read_query(Filters, request).selection()
        streamed = Streamed(
            request,
            headers={
                "Content-Type": "application/x-tar",
                "Content-Disposition": 'attachment; filename="kokoro-edge-cache.tar"',
                "Cache-Status": NOT_ASKED,
                "Server-Timing": total_timing(request),
                "X-Request-Id": request[REQUEST_ID],
            },
        )
        left_out = 0
        pieces = self._steps(export_entries(self.disk.stores, selection, __version__))
        try:
            async for piece, told in pieces:
                left_out += sum(step.step == "problem" for step in told)
                if not streamed.has_begun:
                    await streamed.begin()
                await streamed.write(piece)
        except CacheUnavailable as error:
            if not streamed.has_begun:
                raise
            logger.error("request %s broke off: %s", request[REQUEST_ID], error)
            return streamed.break_off()
        if left_out:
            logger.error("%d damaged entries were left out of the archive", left_out)
        return await streamed.end()

    async def import_archive(self, request: web.Request) -> web.StreamResponse:
        try:
            file = await asyncio.to_thread(_nameless_file, self.disk.pinned.directory.parent)
        except OSError as error:
            raise _unavailable(error) from None
        try:
            size_bytes = await _receive(request, file)
            steps = import_entries(self.disk.stores, file, size_bytes, self.keeping)
            return await _tell(request, self._steps(steps))
        finally:
            await asyncio.to_thread(file.close)

    def _steps(self, steps: Iterator[T]) -> AsyncIterator[T]:
        """Raises CacheUnavailable: the storage failed, or does not answer."""
        return self.disk.tell(steps, self.step_deadline_s)

    async def _purged(self, steps: Iterator[list[Step]]) -> AsyncIterator[list[Step]]:
        """Memory must not serve what was deleted from disk, nor write it there again."""
        self.cache.forget()
        try:
            async with asyncio.timeout(self.step_deadline_s):
                await self.disk.flush()
        except TimeoutError as error:
            raise _unavailable(error) from None
        try:
            async for told in self._steps(steps):
                if any(isinstance(step, Purged) for step in told):
                    self.cache.forget()
                yield told
        finally:
            self.cache.forget()


async def _tell(request: web.Request, steps: AsyncIterator[list[Step]]) -> web.StreamResponse:
    return await tell(request, ([to_json(step) for step in told] async for told in steps))


def _nameless_file(folder: Path) -> BinaryIO:
    """One that is gone when it is closed, however that comes about."""
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))


async def _receive(request: web.Request, file: BinaryIO) -> int:
    """Write the request's body to the file, whatever its size, and go back to the beginning.
    Returns its size in bytes."""
    size_bytes = 0
    async for chunk in pieces_of(request, _UPLOAD_BYTES):
        try:
            size_bytes += await asyncio.to_thread(file.write, chunk)
        except OSError as error:
            raise _unavailable(error) from None
    await asyncio.to_thread(file.seek, 0)
    return size_bytes


def _unavailable(error: Exception) -> CacheUnavailable:
    if isinstance(error, TimeoutError):
        return CacheUnavailable("The disk does not answer.")
    return CacheUnavailable(f"The cache on disk cannot be used: {error}.")
