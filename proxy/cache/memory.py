"""The memory tier: what is asked for most, within a number of bytes."""

from __future__ import annotations

from typing import Literal, get_args

from moka_py import Moka

from proxy.cache.entry import Entry

Policy = Literal["tiny_lfu", "lru"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
"""`tiny_lfu` keeps what is asked for often, and lets a newcomer in only in place of something asked
for less; `lru` keeps what was asked for last."""

_OVERHEAD_BYTES = 1024
"""What Python needs for an entry beside its payload, roughly."""


class MemoryTier:
    """Entries by id, evicted by `policy`. Never waits, never fails."""

    def __init__(self, max_bytes: int, policy: Policy = "tiny_lfu") -> None:
        self._max_bytes = max_bytes
        self._entries: Moka[str, Entry] = Moka(
            max_bytes,
            policy=policy,
            weigher=lambda _, entry: entry.size_bytes + _OVERHEAD_BYTES,
        )

    def get(self, id: str) -> Entry | None:
        return self._entries.get(id)

    def put(self, entry: Entry) -> None:
        """Keep the entry, unless it is larger than the whole tier."""
        if entry.size_bytes + _OVERHEAD_BYTES <= self._max_bytes:
            self._entries.set(entry.key.id, entry)
            self._entries.run_pending_tasks()  # Evicts now, not at some later call.

    def clear(self) -> None:
        self._entries.clear()
        self._entries.run_pending_tasks()  # Frees them now.

    def __len__(self) -> int:
        return self._entries.count()

    def size_bytes(self) -> int:
        return self._entries.weighted_size()
