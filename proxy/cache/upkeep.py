"""Look after a cache: count, list, verify and purge what is in it.

Everything here is a generator that does a millisecond or two of work at a time and yields what
there is to tell of it, which is often nothing. So a command can do it on a directory, and a server
in the thread that has the stores, with requests in between: see `DiskTier.step_by_step`. Entries
may come and go meanwhile. Faults of the storage are raised as they come.
"""

from __future__ import annotations

import io
import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from proxy.cache.entry import CorruptEntry, Entry
from proxy.cache.selection import Selection
from proxy.cache.steps import (
    Listed,
    Problem,
    Progress,
    Purged,
    Share,
    Stats,
    Step,
    StoreStats,
    Verified,
)
from proxy.cache.store import Row, Store

_FILES_A_STEP = 64


def stats(stores: Sequence[Store]) -> Iterator[list[Step]]:
    """Ends with `Stats`."""
    counted = []
    done, total = 0, _total(stores)
    for store in stores:
        found = StoreStats(store.tier, store.max_bytes, store.size_bytes())
        for rows in store.rows():
            for row in rows:
                _count(row, found)
            done += len(rows)
            yield [Progress(done, total)]
        counted.append(found)
    yield [Stats(counted)]


def entries(stores: Sequence[Store], selection: Selection) -> Iterator[list[Step]]:
    """`Listed` for every entry that is meant, those made first coming first in each store."""
    for store in stores:
        for rows in store.rows():
            yield [Listed.of(row) for row in rows if selection.holds(row)]


def verify(stores: Sequence[Store], repair: bool = False) -> Iterator[list[Step]]:
    """Read every entry and check all that can be checked. Ends with `Verified`.

    To repair is to delete what is damaged, so that it is made again when it is asked for; where
    only the row is wrong, it is written anew.
    """
    checked = 0
    total = _total(stores)
    tally = _Tally()
    for store in stores:
        for rows in store.rows():
            yield [Progress(checked, total)]
            for row in rows:
                yield tally.note(_verify_entry(store, row.id, repair))
                checked += 1
        for problem in _verify_rest(store, repair):
            yield tally.note(problem)
    yield [Verified(checked, tally.problems, tally.repaired)]


def purge(stores: Sequence[Store], selection: Selection) -> Iterator[list[Step]]:
    """Delete every entry that is meant, pinned ones, too, and databases that were set aside: what
    is in those nobody can tell. Ends with `Purged`."""
    for store in stores:
        yield from ([] for _ in _remove_folder(store.aside))
    done, total = 0, _total(stores)
    count = pinned = size_bytes = 0
    for store in stores:
        for rows in store.rows():
            done += len(rows)
            for row in filter(selection.holds, rows):
                if not store.delete(row.id):
                    continue
                count += 1
                pinned += row.tier == "pinned"
                size_bytes += row.size_bytes
                yield []
            yield [Progress(done, total)]
    yield [Purged(count, pinned, size_bytes)]


def purge_all(stores: Sequence[Store]) -> Iterator[list[Step]]:
    """Delete everything: also rows that are none of ours, and files that no row names. Ends with
    `Purged`."""
    for store in stores:
        while store.delete_foreign():
            yield []
        yield from ([] for _ in store.sweep())
    yield from purge(stores, Selection())


def prune(store: Store, named: Container[str]) -> Iterator[list[Step]]:
    """Delete every entry whose id is not among those that are named. Ends with `Purged`."""
    count = size_bytes = done = 0
    total = len(store)
    for rows in store.rows():
        for row in rows:
            if row.id not in named and store.delete(row.id):
                count += 1
                size_bytes += row.size_bytes
                yield []
        done += len(rows)
        yield [Progress(done, total)]
    yield [Purged(count, count if store.tier == "pinned" else 0, size_bytes)]


def flaw_of(entry: Entry) -> str | None:
    """What is wrong with an entry whose digests are right; None: nothing."""
    if entry.about.kind == "clip":
        try:
            soundfile.read(io.BytesIO(entry.payload), dtype="int16")
        except soundfile.LibsndfileError:
            return "its payload is not FLAC"
    return None


@dataclass(slots=True)
class _Tally:
    problems: int = 0
    repaired: int = 0

    def note(self, problem: Problem | None) -> list[Step]:
        if problem is None:
            return []
        self.problems += 1
        self.repaired += problem.repaired
        return [problem]


def _total(stores: Sequence[Store]) -> int:
    return sum(len(store) for store in stores)


def _count(row: Row, found: StoreStats) -> None:
    found.entries += 1
    known = [row.stored_at_s] + [
        each for each in (found.oldest_s, found.newest_s) if each is not None
    ]
    found.oldest_s, found.newest_s = min(known), max(known)
    kind, voice = (row.about.kind, row.about.voice) if row.about else ("unknown", "unknown")
    for share in (
        found.by_kind.setdefault(kind, Share()),
        found.by_voice.setdefault(voice, Share()),
    ):
        share.entries += 1
        share.size_bytes += row.size_bytes


def _verify_entry(store: Store, id: str, repair: bool) -> Problem | None:
    try:
        entry = store.read(id)
        if entry is None:
            return None  # Evicted since it was listed.
        what = flaw_of(entry)
    except CorruptEntry as damage:
        what = str(damage)
    except OSError as error:
        # It may be the disk for a moment only: no reason to delete what may be whole.
        return Problem(f"it cannot be read: {error.strerror or error}", id, store.tier)
    else:
        if what is None:
            if store.is_told_right(entry):
                return None
            if repair:
                store.tell_right(entry)
            return Problem("its row does not tell what it is", id, store.tier, repair)
    if repair:
        store.delete(id)
    return Problem(what, id, store.tier, repair)


def _verify_rest(store: Store, repair: bool) -> Iterator[Problem | None]:
    """What is in the directory beside entries."""
    if store.aside.is_dir():
        if repair:
            for _ in _remove_folder(store.aside):
                yield None
        what = f"a damaged database was set aside as {store.aside.name}"
        yield Problem(what, tier=store.tier, repaired=repair)
    if foreign := store.count_foreign():
        while repair and store.delete_foreign():
            yield None
        what = f"{foreign} {'row has a key' if foreign == 1 else 'rows have keys'} of no entry"
        yield Problem(what, tier=store.tier, repaired=repair)
    orphans = 0
    for some in store.sweep(delete=repair):
        orphans += some
        yield None
    if orphans:
        what = f"{orphans} {'file is' if orphans == 1 else 'files are'} named by no entry"
        yield Problem(what, tier=store.tier, repaired=repair)


def _remove_folder(folder: Path) -> Iterator[None]:
    """Delete a folder with all that is in it, some at a time."""
    removed = 0
    for inner, folders, files in os.walk(folder, topdown=False):
        for name in files:
            Path(inner, name).unlink(missing_ok=True)
            removed += 1
            if removed % _FILES_A_STEP == 0:
                yield
        for name in folders:
            path = Path(inner, name)
            path.unlink() if path.is_symlink() else path.rmdir()
    if folder.is_dir():
        folder.rmdir()
