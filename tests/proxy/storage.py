"""A disk tier in a folder, and what can be done to the folder behind its back."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.cache.counts import Counts
from proxy.cache.disk import DiskTier
from proxy.cache.entry import Entry
from proxy.cache.store import Tier
from tests.proxy.entries import entry_of

MIB = 1024**2
FILLER_BYTES = 50_000

SMALL = entry_of("small", b"a small payload, which lies in the database")
LARGE = entry_of("large", bytes(range(256)) * 400)
"""Above 32 KiB: lies in a file of its own."""

TIERS: tuple[Tier, ...] = ("pinned", "traffic")

both_sizes = pytest.mark.parametrize("entry", [SMALL, LARGE], ids=["in a row", "in a file"])
both_tiers = pytest.mark.parametrize("where", TIERS)


@dataclass(frozen=True, slots=True)
class StoreFolder:
    """The folder of one store."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "cache.db"

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.database)) as database, database:
            return database.execute(statement, values).fetchall()

    def ids(self) -> set[object]:
        return {key for (key,) in self.execute("SELECT key FROM Cache")}

    def value_files(self) -> list[Path]:
        return sorted(self.path.rglob("*.val"))

    def stored(self, entry: Entry) -> bytes:
        """What lies there for this entry: SMALL or LARGE."""
        if entry is LARGE:
            [file] = self.value_files()
            return file.read_bytes()
        [(value,)] = self.execute("SELECT value FROM Cache WHERE key = ?", entry.key.id)
        assert isinstance(value, bytes)
        return value

    def overwrite(self, entry: Entry, data: bytes) -> None:
        if entry is LARGE:
            [file] = self.value_files()
            file.write_bytes(data)
        else:
            self.execute("UPDATE Cache SET value = ? WHERE key = ?", data, entry.key.id)

    def plant(
        self,
        key: object,
        mode: object,
        value: object = None,
        filename: object = None,
        raw: object = 1,
    ) -> None:
        """Add a row as somebody would who can write to the folder."""
        self.execute(
            "INSERT OR REPLACE INTO Cache (key, raw, store_time, expire_time, access_time,"
            " access_count, tag, size, mode, filename, value)"
            " VALUES (?, ?, 0, NULL, 0, 0, NULL, 0, ?, ?, ?)",
            *(key, raw, mode, filename, value),
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody else is writing to the database."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield


@dataclass(frozen=True, slots=True)
class Audio:
    """The folder of a disk tier."""

    path: Path

    def __getitem__(self, tier: Tier) -> StoreFolder:
        return StoreFolder(self.path / tier)

    def tier(self, traffic_bytes: int = 64 * MIB, pinned_bytes: int = 64 * MIB) -> DiskTier:
        """Not open yet."""
        return DiskTier(self.path, traffic_bytes, pinned_bytes, Counts())

    @asynccontextmanager
    async def opened(
        self, traffic_bytes: int = 64 * MIB, pinned_bytes: int = 64 * MIB
    ) -> AsyncIterator[DiskTier]:
        """Its tier, as after a restart."""
        tier = self.tier(traffic_bytes, pinned_bytes)
        await tier.open()
        try:
            yield tier
        finally:
            await tier.close()

    def where(self, entry: Entry) -> list[Tier]:
        """The stores that have it."""
        return [tier for tier in TIERS if entry.key.id in self[tier].ids()]


async def write(tier: DiskTier, entry: Entry, where: Tier = "traffic") -> None:
    """Put, and wait until it is written."""
    tier.put(entry, pinned=where == "pinned")
    await tier.flush()


async def fill(
    tier: DiskTier, total_bytes: int, prefix: str = "", where: Tier = "traffic"
) -> list[Entry]:
    """Put other entries of this many bytes."""
    entries = [
        entry_of(f"{prefix} filler {number}", b"x" * FILLER_BYTES)
        for number in range(total_bytes // FILLER_BYTES)
    ]
    for entry in entries:
        await write(tier, entry, where)
    return entries


@contextmanager
def no_file_beyond(size_bytes: int) -> Iterator[None]:
    """As on a full disk, no file of this process can be written to beyond that size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
