"""The disk tier: diskcache, made unable to run or read what it should not."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import MODE_PICKLE

from proxy.cache.entry import CorruptEntry, Entry, pack, unpack

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOCK_WAIT_S = 1.0
"""For somebody else who has the database locked. diskcache's own default is a minute, during which
every hit on disk would wait."""


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
    an entry not kept, never an error of the request.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk-tier")
        self._cache: diskcache.Cache | None = None

    async def open(self) -> None:
        """Open the directory; one whose database is damaged is set aside, and an empty one made.

        Raises:
            OSError: the directory cannot be made or written to.
        """
        await self._do(self._open)

    async def close(self) -> None:
        await self._do(self._close)
        self._thread.shutdown(wait=False)  # It has nothing left to do, and joining it would block.

    async def get(self, key: str) -> Entry | None:
        return await self._do(lambda: self._get(key))

    async def put(self, entry: Entry) -> None:
        await self._do(lambda: self._put(entry))

    async def _do(self, operation: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, operation)

    def _open(self) -> None:
        try:
            self._cache = self._connect()
        except sqlite3.OperationalError as error:
            # Locked, full or read-only: nothing that throwing it away would mend.
            raise OSError(f"the cache in {self._directory} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            aside = self._directory.with_name(self._directory.name + ".damaged")
            logger.error("set the damaged cache aside as %s: %s", aside, error)
            shutil.rmtree(aside, ignore_errors=True)
            self._directory.rename(aside)
            self._cache = self._connect()

    def _connect(self) -> diskcache.Cache:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
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
        assert self._cache is not None, "the disk tier is not open"
        try:
            data = self._cache.get(key)
            return None if data is None else unpack(key, data)
        except CorruptEntry as problem:
            logger.error("deleted the damaged cache entry %s…: %s", key[:12], problem)
            self._delete(key)
        except Exception:
            logger.exception("could not read the cache entry %s…; taken as a miss", key[:12])
        return None

    def _put(self, entry: Entry) -> None:
        assert self._cache is not None, "the disk tier is not open"
        try:
            self._cache.set(entry.key, pack(entry))
        except Exception:
            logger.exception("could not keep the cache entry %s…", entry.key[:12])

    def _delete(self, key: str) -> None:
        assert self._cache is not None
        try:
            del self._cache[key]
        except KeyError:
            pass
        except Exception:
            logger.exception("could not delete the cache entry %s…", key[:12])
