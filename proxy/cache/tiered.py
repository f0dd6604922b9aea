"""Memory in front of disk."""

from __future__ import annotations

from proxy.cache.disk import DiskTier
from proxy.cache.entry import Entry
from proxy.cache.memory import MemoryTier


class TieredCache:
    """Asks the fast tier first, and brings to it what only the slow one had."""

    def __init__(self, memory: MemoryTier, disk: DiskTier) -> None:
        self._memory = memory
        self._disk = disk

    def get_at_once(self, key: str) -> Entry | None:
        """What memory holds: no waiting, so no other task comes between."""
        return self._memory.get(key)

    async def get(self, key: str) -> Entry | None:
        entry = self._memory.get(key)
        if entry is None and (entry := await self._disk.get(key)) is not None:
            self._memory.put(entry)
        return entry

    def put(self, entry: Entry) -> None:
        """In memory at once, so that whoever asks next finds it; on disk as soon as that can."""
        self._memory.put(entry)
        self._disk.put(entry)
