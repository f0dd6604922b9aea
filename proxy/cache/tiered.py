"""Memory in front of disk, and what is kept in either."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal
from weakref import WeakValueDictionary

from proxy.cache.counts import Counts
from proxy.cache.disk import DiskTier
from proxy.cache.entry import Entry
from proxy.cache.key import Key
from proxy.cache.memory import MemoryTier

Admission = Literal["first", "second"]
"""When an entry is written to disk: when it is made, or when it is asked for again."""

Where = Literal["memory", "disk"]

_MAX_REMEMBERED = 65_536
_TOUCH_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """An entry, and which tier had it."""

    entry: Entry
    where: Where


class TieredCache:
    """Asks the fast tier first, and brings to it what only the slow one had."""

    def __init__(
        self,
        memory: MemoryTier,
        disk: DiskTier,
        counts: Counts,
        ttl_s: float | None = None,
        admission: Admission = "first",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ttl_s`: how long an entry is served; None: for ever. What is pinned has no end."""
        self._memory = memory
        self._disk = disk
        self._counts = counts
        self._ttl_s = ttl_s
        self._admission = admission
        self._asked_once: OrderedDict[str, None] = OrderedDict()
        """Ids of what was made and is in memory at most. Empty where `first` is the rule."""
        self._in_use: WeakValueDictionary[str, Entry] = WeakValueDictionary()
        """What came from disk and is being sent: many who read it slowly hold one copy, not each
        their own, even where memory did not take it."""
        self._used: set[str] = set()
        """What memory served since the disk was last told: else the disk would take what is asked
        for most for what nobody asks for, and evict it."""
        self.generation = 0
        """How often entries were deleted on purpose."""
        self._clock = clock
        self._told_s = clock()

    def get_at_once(self, key: Key) -> Entry | None:
        """What memory holds: no waiting, so no other task comes between."""
        entry = self.peek(key.id)
        if entry is None or not self._is(entry, key):
            return None
        self._counts.memory_hits += 1
        self._note_use(key.id)
        if self._asked_once and key.id in self._asked_once:
            del self._asked_once[key.id]
            self._disk.put(entry)
        return entry

    def peek(self, id: str) -> Entry | None:
        """What memory holds under this id, whatever it was made of."""
        entry = self._memory.get(id)
        return None if entry is None or entry.expired() else entry

    async def get(self, key: Key) -> Found | None:
        entry = self.get_at_once(key)
        if entry is not None:
            return Found(entry, "memory")
        entry = await self.find(key.id)
        if entry is None or not self._is(entry, key):
            self._counts.misses += 1
            return None
        self._counts.disk_hits += 1
        return Found(entry, "disk")

    async def find(self, id: str) -> Entry | None:
        """What disk holds under this id, whatever it was made of; memory has it from now on."""
        generation = self.generation
        entry = await self._disk.get(id)
        if entry is None or entry.expired() or self.generation != generation:
            return None
        in_use = self._in_use.get(id)
        if in_use == entry:
            entry = in_use
        self._in_use[id] = entry
        self._memory.put(entry)
        self._note_use(id)
        return entry

    def put(self, entry: Entry, generation: int | None = None, admit: bool = False) -> bool:
        """In memory at once, so that whoever asks next finds it; on disk as soon as that can.

        `generation` is that of when the making of it began: where entries were deleted since, it
        is not kept, since it may be one of those. `admit`: write it to disk whatever the rule.

        Returns whether memory has it now: it need not take what nobody has asked for before.
        """
        if generation is not None and generation != self.generation:
            return False
        if self._ttl_s is not None:
            entry = replace(entry, expires_at_s=entry.stored_at_s + self._ttl_s)
        self._memory.put(entry)
        if admit or self._admit(entry.key.id):
            self._asked_once.pop(entry.key.id, None)
            self._disk.put(entry)
        else:
            self._counts.withheld += 1
        return self._memory.get(entry.key.id) is entry

    async def pin(self, key: Key) -> bool:
        """Keep from eviction what is there. Returns whether there is anything."""
        if await self._disk.pin(key.id):
            return True
        entry = self.peek(key.id)
        if entry is not None:
            self._asked_once.pop(key.id, None)
            self._disk.put(entry, pinned=True)
        return entry is not None

    def forget(self) -> None:
        """Empty memory, and keep nothing of what is being made. For when entries are deleted."""
        self.generation += 1
        self._memory.clear()
        self._asked_once.clear()
        self._used.clear()

    def _is(self, entry: Entry, key: Key) -> bool:
        if entry.key.check == key.check:
            return True
        self._counts.collisions += 1
        return False

    def _admit(self, id: str) -> bool:
        if self._admission == "first":
            return True
        if id in self._asked_once:
            return True
        self._asked_once[id] = None
        if len(self._asked_once) > _MAX_REMEMBERED:
            self._asked_once.popitem(last=False)
        return False

    def _note_use(self, id: str) -> None:
        self._used.add(id)
        now_s = self._clock()
        if now_s - self._told_s > _TOUCH_EVERY_S or len(self._used) > _MAX_REMEMBERED:
            self._disk.touch(self._used)
            self._used = set()
            self._told_s = now_s
