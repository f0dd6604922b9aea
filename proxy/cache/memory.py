"""The memory tier: the entries used last, within a number of bytes."""

from __future__ import annotations

from cachetools import LRUCache

from proxy.cache.entry import Entry

_OVERHEAD_BYTES = 1024
"""What Python needs for an entry beside its payload, roughly."""


class MemoryTier:
    """Least recently used goes first. Not thread-safe: for the event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._entries: LRUCache[str, Entry] = LRUCache(
            max_bytes, getsizeof=lambda entry: entry.size_bytes + _OVERHEAD_BYTES
        )

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def put(self, entry: Entry) -> None:
        """Keep the entry, unless it is larger than the whole tier."""
        if entry.size_bytes + _OVERHEAD_BYTES <= self._entries.maxsize:
            self._entries[entry.key] = entry
