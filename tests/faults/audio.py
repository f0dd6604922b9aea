"""A cache's directory as a test finds it: what is in it, and whether that is whole."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.cache.entry import Entry
from proxy.cache.store import Store, Tier

TIERS: tuple[Tier, Tier] = ("pinned", "traffic")
_MAX_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Content:
    """All that is in a cache."""

    entries: dict[str, Entry]
    """By id. Each was read back whole: see `proxy.cache.entry.unpack`."""
    orphans: frozenset[Path]
    """Files that no row names, by their path in the cache's directory."""


def value_files(cache: Path) -> set[Path]:
    return set((cache / "audio").rglob("*.val"))


@contextmanager
def stores(cache: Path) -> Iterator[list[Store]]:
    """The stores of a server that is stopped."""
    opened = [Store(tier, cache / "audio" / tier, _MAX_BYTES) for tier in TIERS]
    try:
        for store in opened:
            store.open()
        yield opened
    finally:
        for store in opened:
            store.close()


def read_all(cache: Path) -> Content:
    """Everything in the cache of a server that is stopped.

    Raises CorruptEntry: something is torn. Nothing was set aside as damaged, either.
    """
    entries: dict[str, Entry] = {}
    orphans = {path.relative_to(cache) for path in value_files(cache)}
    with stores(cache) as opened:
        for store in opened:
            assert not store.aside.exists()
            for row in (row for rows in store.rows() for row in rows):
                entry = store.read(row.id)
                assert entry is not None
                assert store.is_told_right(entry)
                entries[row.id] = entry
    for tier in TIERS:
        folder = cache / "audio" / tier
        with closing(sqlite3.connect(folder / "cache.db")) as database:
            named = database.execute("SELECT filename FROM Cache WHERE filename IS NOT NULL")
            orphans -= {(folder / name).relative_to(cache) for (name,) in named}
    return Content(entries, frozenset(orphans))


def read_copy(cache: Path, to: Path) -> Content:
    """As `read_all`, of a server that was killed: opening what it left would mend it."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(cache, to)
    return read_all(to)


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Write something else where the file's bytes were: the file stays the same one."""
    data = change(path.read_bytes())
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()
