"""The disk tier: diskcache, made unable to run or read what it should not."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, TypeVar

import diskcache
from diskcache.core import MODE_PICKLE

from proxy.cache.entry import CorruptEntry, Entry, pack, unpack

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOCK_WAIT_S = 1.0
"""For somebody else who has the database locked. diskcache's own default is a minute, during which
every hit on disk would wait."""

_READ_DEADLINE_S = 1.0
_MAX_PENDING_WRITES = 256


class _BytesOnlyDisk(diskcache.Disk):  # type: ignore[misc]
    """Refuses pickles. diskcache unpickles any row that says it is one, so whoever can write to
    the directory could run code in this process (CVE-2025-69872)."""

    def store(self, value: object, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        if not isinstance(value, bytes) or not isinstance(key, str):
            raise TypeError("the disk tier holds bytes under string keys")
        return super().store(value, read, key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:
        if mode == MODE_PICKLE:
            raise CorruptEntry("it is a pickle")
        if filename is not None and not self._is_inside(filename):
            raise CorruptEntry("its file lies outside of the cache")
        data = super().fetch(mode, filename, value, read)
        if not isinstance(data, bytes):
            raise CorruptEntry("it is not bytes")
        return data

    def remove(self, file_path: str) -> None:
        if self._is_inside(file_path):
            super().remove(file_path)

    def _is_inside(self, filename: str) -> bool:
        directory = Path(self._directory).resolve()
        return (directory / filename).resolve().is_relative_to(directory)


class DiskTier:
    """Entries in a directory, the least recently used evicted first.

    One thread does everything, one operation after the other. A fault of the storage is a miss, or
    an entry not kept, never an error of the request; and nobody waits long for a slow one.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk-tier")
        self._writes = BoundedSemaphore(_MAX_PENDING_WRITES)
        self._cache: diskcache.Cache | None = None
        """None before it is opened, and where the disk was full when it should have been."""

    async def open(self) -> None:
        """Open the directory; one whose database is damaged is set aside, and an empty one made.

        Raises:
            OSError: the directory cannot be made or written to.
        """
        await self._do(self._open)

    async def close(self) -> None:
        """Write what is to be written still, and close."""
        await self._do(self._close)
        self._thread.shutdown(wait=False)  # It has nothing left to do, and joining it would block.

    async def get(self, key: str) -> Entry | None:
        try:
            async with asyncio.timeout(_READ_DEADLINE_S):
                return await self._do(lambda: self._get(key))
        except TimeoutError:
            logger.error("the disk did not answer for %.0f s; taken as a miss", _READ_DEADLINE_S)
            return None

    def put(self, entry: Entry) -> None:
        """Have the entry written, some time soon and before `close` is done. Returns at once."""
        if not self._writes.acquire(blocking=False):
            logger.error("the disk is too slow to keep the cache entry %s…", entry.key[:12])
            return
        self._thread.submit(self._put, entry).add_done_callback(lambda _: self._writes.release())

    async def _do(self, operation: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, operation)

    def _open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory.chmod(0o700)
        try:
            self._cache = self._connect()
        except Exception as error:
            if "disk is full" in str(error):
                logger.error(
                    "the disk is full: nothing said before is known, and nothing is kept beyond "
                    "memory, until there is room in %s and the server is started again",
                    self._directory,
                )
            elif isinstance(error, sqlite3.OperationalError):
                # Locked or read-only: nothing that throwing it away would mend.
                raise OSError(
                    f"the cache in {self._directory} cannot be opened: {error}"
                ) from error
            else:
                self._set_aside(error)

    def _set_aside(self, error: Exception) -> None:
        aside = self._directory.with_name(self._directory.name + ".damaged")
        logger.error("set the damaged cache aside as %s: %s", aside, error)
        shutil.rmtree(aside, ignore_errors=True)
        self._directory.rename(aside)
        self._directory.mkdir(mode=0o700)
        self._cache = self._connect()

    def _connect(self) -> diskcache.Cache:
        return diskcache.Cache(
            str(self._directory),
            timeout=_LOCK_WAIT_S,
            disk=_BytesOnlyDisk,
            size_limit=self._max_bytes,
            eviction_policy="least-recently-used",
        )

    def _close(self) -> None:
        if self._cache is not None:
            self._cache.close()

    def _get(self, key: str) -> Entry | None:
        if self._cache is None:
            return None
        try:
            data = self._cache.get(key)
            return None if data is None else unpack(key, data)
        except CorruptEntry as problem:
            logger.error("deleted the damaged cache entry %s…: %s", key[:12], problem)
            self._delete(self._cache, key)
        except Exception as problem:
            logger.error("could not read the cache entry %s…; a miss: %r", key[:12], problem)
        return None

    def _put(self, entry: Entry) -> None:
        if self._cache is None:
            return
        try:
            self._cache.set(entry.key, pack(entry))
        except Exception as problem:
            logger.error("could not keep the cache entry %s…: %r", entry.key[:12], problem)

    @staticmethod
    def _delete(cache: diskcache.Cache, key: str) -> None:
        try:
            del cache[key]
        except KeyError:
            pass
        except Exception as problem:
            logger.error("could not delete the cache entry %s…: %r", key[:12], problem)
