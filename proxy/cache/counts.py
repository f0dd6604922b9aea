"""What has happened to a cache since the server started, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Counted by the parts of the cache, read by whoever wants to know."""

    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    collisions: int = 0
    """Entries found under the right id whose check is another's; misses, too."""
    stored: int = 0
    """Entries written to disk."""
    withheld: int = 0
    """Entries not written to disk because nobody has asked for them twice."""
    dropped: int = 0
    """Entries not written to disk because it was too slow, too full, or failed."""
    corrupt: int = 0
    """Damaged entries that were found and deleted."""
    faults: int = 0
    """Operations that the storage failed, or did not answer in time."""
    orphans: int = 0
    """Files deleted that no entry named."""
