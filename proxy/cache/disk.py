"""The disk tier: what outlives a restart, in two stores.

`pinned` holds what phrasebooks name, and traffic never evicts it; `traffic` holds the rest, within
its size, and what was not used for longest is evicted first.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from proxy.cache.counts import Counts
from proxy.cache.entry import CorruptEntry, Entry
from proxy.cache.key import Key
from proxy.cache.owner import CacheInUse, Ownership
from proxy.cache.store import STORAGE_FAULTS, Store

logger = logging.getLogger(__name__)

T = TypeVar("T")

_READ_DEADLINE_S = 1.0
_MAX_PENDING_WRITES = 256
_MAX_PENDING_BYTES = 256 * 1024**2
_UPKEEP_EVERY_S = 20.0
_STEP_DEADLINE_S = 30.0
"""Of a millisecond of work. A disk that does not answer must not keep whoever asks for ever."""
_CLOSE_DEADLINE_S = 10.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_FAULTS = (*STORAGE_FAULTS, ValueError, TypeError)
"""The last two are diskcache's own, where its settings in the database are damaged."""


class CacheUnavailable(Exception):
    """The storage failed while somebody looked after it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """An entry that is to be written."""

    entry: Entry
    pinned: bool


class DiskTier:
    """Entries by id, in a directory that this process owns.

    One thread does everything, one operation after the other; writes go one at a time, so that who
    wants to read waits for one of them at most. A fault of the storage is a miss, or an entry not
    kept, never an error of the request; and nobody waits long for a slow one.
    """

    def __init__(
        self,
        directory: Path,
        traffic_bytes: int,
        pinned_bytes: int,
        counts: Counts,
        ttl_s: float | None = None,
    ) -> None:
        """`ttl_s`: how long what traffic left is kept at most; None: while there is room."""
        self.pinned = Store("pinned", directory / "pinned", pinned_bytes)
        self.traffic = Store("traffic", directory / "traffic", traffic_bytes)
        self.counts = counts
        self._ttl_s = ttl_s
        self.owner = Ownership(directory)
        self._directory = directory
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk-tier")
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._pending_bytes = 0
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def stores(self) -> tuple[Store, Store]:
        """In the order in which they are asked."""
        return self.pinned, self.traffic

    async def open(self) -> None:
        """Take the directory and open what is in it. A damaged database is set aside, and one that
        a full disk keeps from being opened is tried again later.

        Raises:
            CacheInUse: another process has it.
            OSError: the directory cannot be made or written to.
        """
        await self.run(self._open)
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._keep_up())]

    async def close(self) -> None:
        """Write what is to be written still, and close."""
        try:
            async with asyncio.timeout(_CLOSE_DEADLINE_S):
                await self.flush()
        except TimeoutError:
            logger.error("the disk is too slow: %d entries are not kept", len(self._pending))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.run(self._close)
        self._thread.shutdown(wait=False)  # It has nothing left to do, and joining it would block.

    async def get(self, id: str) -> Entry | None:
        """What is stored under `id`; None also where it is damaged, or the disk does not answer."""
        if (pending := self._pending.get(id)) is not None:
            return pending.entry
        try:
            async with asyncio.timeout(_READ_DEADLINE_S):
                return await self.run(lambda: self._get(id))
        except TimeoutError:
            self.counts.faults += 1
            logger.error("the disk did not answer for %.0f s; taken as a miss", _READ_DEADLINE_S)
            return None

    def put(self, entry: Entry, pinned: bool = False) -> None:
        """Have the entry written, some time soon and before `close` is done. Returns at once.

        What is pinned already stays so.
        """
        if (
            len(self._pending) >= _MAX_PENDING_WRITES
            or self._pending_bytes + entry.size_bytes > _MAX_PENDING_BYTES
        ):
            self.counts.dropped += 1
            logger.error("the disk is too slow to keep the cache entry %s…", entry.key.id[:12])
            return
        before = self._pending.get(entry.key.id)
        if before is not None:
            pinned |= before.pinned
            self._pending_bytes -= before.entry.size_bytes
        self._pending[entry.key.id] = _Pending(entry, pinned)
        self._pending_bytes += entry.size_bytes
        self._wake()

    async def flush(self) -> None:
        """Wait until all that was put is written, or was found impossible to write."""
        while self._pending and self._tasks:
            await self._changed.wait()

    async def pin(self, id: str) -> bool:
        """Make sure that an entry which is on disk is pinned. Whether there is one.

        Raises:
            CacheUnavailable: the disk does not answer.
        """
        if (pending := self._pending.get(id)) is not None:
            self._pending[id] = replace(pending, pinned=True)
            return True
        try:
            async with asyncio.timeout(_STEP_DEADLINE_S):
                return await self.run(lambda: self._pin(id))
        except TimeoutError:
            raise CacheUnavailable("The disk does not answer.") from None

    async def is_pinned(self, key: Key) -> bool:
        """Whether an entry is pinned, whole, and the one that is meant. Reads all of it.

        Raises:
            CacheUnavailable: the disk does not answer.
        """
        if (pending := self._pending.get(key.id)) is not None:
            return pending.pinned and pending.entry.key == key
        try:
            async with asyncio.timeout(_STEP_DEADLINE_S):
                entry = await self.run(lambda: self._get(key.id, (self.pinned,)))
        except TimeoutError:
            raise CacheUnavailable("The disk does not answer.") from None
        return entry is not None and entry.key == key

    def touch(self, ids: Iterable[str]) -> None:
        """Have these entries count as used just now."""
        self._thread.submit(self._touch, tuple(ids))

    async def upkeep(self) -> None:
        """Mend what broke since the last time, and delete what has expired."""
        await self.run(self._mend)
        while await self.run(self._delete_expired):
            pass

    async def sweep(self) -> None:
        """Delete files that no entry names, such as a kill in mid-write leaves."""
        removed = 0
        for store in self.stores:
            if store.is_open:
                async for some in self.step_by_step(store.sweep()):
                    removed += some
        self.counts.orphans += removed
        if removed:
            logger.warning("deleted %d files in the cache that no entry named", removed)

    async def run(self, operation: Callable[[], T]) -> T:
        """Do something in the thread that has the stores. For upkeep and administration."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, operation)

    async def step_by_step(self, steps: Iterator[T]) -> AsyncIterator[T]:
        """Take one step after the other in that thread, and let others in between."""
        done = object()
        while (step := await self.run(lambda: next(steps, done))) is not done:
            yield step  # type: ignore[misc]

    async def tell(
        self, steps: Iterator[T], step_deadline_s: float = _STEP_DEADLINE_S
    ) -> AsyncIterator[T]:
        """As `step_by_step`, for whoever is told what goes wrong.

        Raises:
            CacheUnavailable: the storage failed, or does not answer.
        """
        taken = self.step_by_step(steps)
        while True:
            try:
                async with asyncio.timeout(step_deadline_s):
                    step = await anext(taken)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise CacheUnavailable("The disk does not answer.") from None
            except STORAGE_FAULTS as error:
                raise CacheUnavailable(f"The cache on disk cannot be used: {error}.") from None
            yield step

    async def _write(self) -> None:
        while True:
            while self._pending:
                id, pending = next(iter(self._pending.items()))
                try:
                    await self.run(partial(self._put, pending.entry, pending.pinned))
                except Exception:
                    # Whatever it was, without this loop nothing would be kept any more.
                    self.counts.faults += 1
                    self.counts.dropped += 1
                    logger.exception("could not keep the cache entry %s…", id[:12])
                # Not where something else is to be written there by now.
                if self._pending[id] is pending:
                    del self._pending[id]
                    self._pending_bytes -= pending.entry.size_bytes
                self._wake()
            await self._changed.wait()

    def _wake(self) -> None:
        """Let whoever waits for a change of what is pending look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _keep_up(self) -> None:
        work: Callable[[], Awaitable[None]] = self.sweep
        while True:
            try:
                await work()
            except Exception:
                self.counts.faults += 1
                logger.exception("the upkeep of the cache failed; it is tried again")
            work = self.upkeep
            await asyncio.sleep(_UPKEEP_EVERY_S)

    def _open(self) -> None:
        self.owner.take()
        for store in self.stores:
            try:
                store.open()
            except _FAULTS as error:
                if not _has_no_room(error):
                    self._close()
                    raise OSError(
                        f"the cache in {store.directory} cannot be opened: {error}"
                    ) from error
                logger.error(
                    "the disk is full or fails: nothing said before is known, and nothing is kept "
                    "beyond memory, until %s can be written to: %s",
                    store.directory,
                    error,
                )

    def _close(self) -> None:
        for store in self.stores:
            with suppress(*STORAGE_FAULTS):
                store.close()
        self.owner.release()

    def _get(self, id: str, stores: Sequence[Store] | None = None) -> Entry | None:
        for store in stores or self.stores:
            if not store.is_open:
                continue
            try:
                if (entry := store.get(id)) is not None:
                    return self._limited(entry) if store is self.traffic else entry
            except CorruptEntry as problem:
                self.counts.corrupt += 1
                logger.error("deleted the damaged cache entry %s…: %s", id[:12], problem)
            except _FAULTS as problem:
                self._fault(store, problem, f"could not read the cache entry {id[:12]}…; a miss")
        return None

    def _limited(self, entry: Entry) -> Entry:
        """It may have been stored when there was no time to live, or a longer one."""
        if self._ttl_s is None:
            return entry
        until_s = entry.stored_at_s + self._ttl_s
        return replace(entry, expires_at_s=min(until_s, entry.expires_at_s or until_s))

    def _put(self, entry: Entry, pinned: bool) -> None:
        # Asked every time: a directory that somebody deletes takes writes without complaint.
        self._mend_where_it_is_gone()
        store = self.traffic
        if pinned or self._is_pinned(entry.key.id):
            entry = replace(entry, expires_at_s=None)
            if self._has_room_to_pin(entry):
                store = self.pinned
        if not store.is_open or entry.size_bytes > store.max_bytes:
            self.counts.dropped += 1
            return
        try:
            store.put(entry)
        except _FAULTS as problem:
            self.counts.dropped += 1
            self._fault(store, problem, f"could not keep the cache entry {entry.key.id[:12]}…")
            return
        self.counts.stored += 1
        if store is self.pinned:
            self._delete_from_traffic(entry.key.id)

    def _is_pinned(self, id: str) -> bool:
        try:
            return self.pinned.is_open and self.pinned.has(id)
        except _FAULTS as problem:
            self._fault(self.pinned, problem, f"could not look for {id[:12]}…")
            return False

    def _has_room_to_pin(self, entry: Entry) -> bool:
        try:
            if not self.pinned.is_open:
                return False
            if self.pinned.has(entry.key.id) or self.pinned.has_room_for(entry):
                return True
            logger.error(
                "cache.pinned_bytes is used up: %s… is kept among traffic", entry.key.id[:12]
            )
        except _FAULTS as problem:
            self._fault(self.pinned, problem, "could not see how much room there is to pin")
        return False

    def _delete_from_traffic(self, id: str) -> None:
        try:
            if self.traffic.is_open:
                self.traffic.delete(id)
        except _FAULTS as problem:
            self._fault(self.traffic, problem, f"could not delete what is pinned now, {id[:12]}…")

    def _pin(self, id: str) -> bool:
        if self._is_pinned(id):
            return True
        entry = self._get(id)
        if entry is None:
            return False
        self._put(entry, pinned=True)
        return True

    def _touch(self, ids: tuple[str, ...]) -> None:
        if not self.traffic.is_open:
            return
        try:
            self.traffic.touch(ids)
        except _FAULTS as problem:
            self._fault(self.traffic, problem, "could not note which entries were used")

    def _delete_expired(self) -> int:
        if not self.traffic.is_open:
            return 0
        try:
            if self._ttl_s is not None and (limited := self.traffic.limit(self._ttl_s)):
                return limited
            return self.traffic.delete_expired()
        except _FAULTS as problem:
            self._fault(self.traffic, problem, "could not delete what has expired")
            return 0

    def _fault(self, store: Store, problem: Exception, what: str) -> None:
        self.counts.faults += 1
        logger.error("%s: %r", what, problem)
        if _is_damaged(problem):
            try:
                store.set_aside(problem)
            except _FAULTS as error:
                logger.error("could not begin an empty cache in %s: %s", store.directory, error)
        else:
            self._mend()

    def _mend_where_it_is_gone(self) -> None:
        if not all(store.is_in_place() for store in self.stores if store.is_open):
            self._mend()

    def _mend(self) -> None:
        """Open again what is closed, or was deleted or replaced under our hands."""
        try:
            if not self.owner.is_in_place():
                self.owner.take()
        except CacheInUse as error:
            logger.error("%s", error)
            self._close()
            return
        except OSError as error:
            logger.error("cannot take the cache's directory: %s", error)
            return
        for store in self.stores:
            if store.is_open and store.is_in_place():
                continue
            try:
                store.close()
                store.open()
                logger.warning("opened the cache in %s again", store.directory)
            except _FAULTS as error:
                store.close()
                logger.error("cannot open the cache in %s: %s", store.directory, error)


def _is_damaged(problem: Exception) -> bool:
    """Whether it is the database itself, and not what stands in its way. SQLITE_ERROR is a table
    that is gone: our statements have no mistakes of their own."""
    if isinstance(problem, ValueError | TypeError):
        return True
    if not isinstance(problem, sqlite3.OperationalError):
        return isinstance(problem, sqlite3.DatabaseError)
    return getattr(problem, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


def _has_no_room(error: Exception) -> bool:
    """Also where it may be something else: SQLite has no other words for a quota, or for a full
    disk where it writes its index."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # Without its details.
        return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return isinstance(error, OSError) and error.errno in _NO_ROOM
