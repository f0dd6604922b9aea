"""Entries as a file that another machine can take: a tar of envelopes.

First a member that says what it is, then `pinned/<id>` and `traffic/<id>`. Nothing is ever
extracted to a path. Both ways are generators, as in `proxy.cache.upkeep`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import BinaryIO

from proxy.cache.entry import CorruptEntry, Entry, pack, unpack
from proxy.cache.selection import Selection
from proxy.cache.steps import Exported, Imported, Problem, Progress, Step
from proxy.cache.store import Store, Tier
from proxy.cache.tar import END, Damage, Member, Reader, pack_member
from proxy.cache.upkeep import flaw_of

_FIRST = "kokoro-edge-cache.json"
_SCHEMA = 1
_ENTRY = re.compile(r"(?P<tier>pinned|traffic)/(?P<id>[0-9a-f]{32})")
_NAMES = re.compile(rf"{re.escape(_FIRST)}|{_ENTRY.pattern}")

_MEMBERS_A_PROGRESS = 16


class NotAnArchive(ValueError):
    """The file is none that `export` has made."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What this machine keeps of what another one had."""

    text: bool = False
    """Whether text is kept beside the audio."""
    ttl_s: float | None = None
    """How long an entry is served; None: for ever. What is pinned has no end."""

    def apply(self, entry: Entry, tier: Tier) -> Entry:
        if not self.text and entry.about.text is not None:
            entry = replace(entry, about=replace(entry.about, text=None))
        if tier == "pinned":
            return replace(entry, expires_at_s=None)
        if self.ttl_s is None:
            return entry
        end_s = entry.stored_at_s + self.ttl_s
        return replace(entry, expires_at_s=min(end_s, entry.expires_at_s or end_s))


def export_entries(
    stores: Sequence[Store], selection: Selection, version: str
) -> Iterator[tuple[bytes, list[Step]]]:
    """The archive's bytes, piece by piece, and what there is to tell. Ends with `Exported`."""
    done, total = 0, sum(len(store) for store in stores)
    count = left_out = 0
    yield _first_member(version), []
    for store in stores:
        for rows in store.rows():
            for row in filter(selection.holds, rows):
                try:
                    entry = store.read(row.id)
                except (CorruptEntry, OSError) as damage:
                    left_out += 1
                    yield b"", [Problem(f"left out: {damage}", row.id, store.tier)]
                    continue
                if entry is not None and not entry.expired():
                    count += 1
                    name = f"{store.tier}/{row.id}"
                    yield pack_member(name, pack(entry), entry.stored_at_s), []
            done += len(rows)
            yield b"", [Progress(done, total)]
    yield END, [Exported(count, left_out)]


def import_entries(
    stores: Sequence[Store], file: BinaryIO, size_bytes: int | None, keeping: Keeping
) -> Iterator[list[Step]]:
    """Take what is whole, and leave alone what is here already. Ends with `Imported`.

    `size_bytes` is that of the file, where it is known.

    Raises:
        NotAnArchive: nothing was taken.
    """
    reader = Reader(file, _NAMES)
    members = iter(reader)
    _check_first(next(members, None))
    intake = _Intake({store.tier: store for store in stores}, keeping)
    for number, found in enumerate(members):
        told: list[Step] = []
        if number % _MEMBERS_A_PROGRESS == 0:
            told.append(Progress(reader.read_bytes, size_bytes, "bytes"))
        if found is not None and (problem := intake.take(found)) is not None:
            told.append(problem)
        yield told
    yield [Progress(reader.read_bytes, size_bytes, "bytes"), intake.summary()]


class _Intake:
    """Puts what comes where it belongs, and counts."""

    def __init__(self, stores: dict[Tier, Store], keeping: Keeping) -> None:
        self._stores = stores
        self._keeping = keeping
        self._stored = self._here_already = self._expired = self._problems = 0

    def take(self, found: Member | Damage) -> Problem | None:
        try:
            if isinstance(found, Damage):
                raise CorruptEntry(found.what)
            if match := _ENTRY.fullmatch(found.name):
                self._put(unpack(found.data, match["id"]), _tier(match["tier"]))
        except CorruptEntry as damage:
            self._problems += 1
            id = found.name.rpartition("/")[2] if isinstance(found, Member) else None
            return Problem(f"left out: {damage}", id)
        return None

    def summary(self) -> Imported:
        return Imported(self._stored, self._here_already, self._expired, self._problems)

    def _put(self, entry: Entry, tier: Tier) -> None:
        """Raises CorruptEntry: it is not to be taken."""
        if (flaw := flaw_of(entry)) is not None:
            raise CorruptEntry(flaw)
        if any(store.has(entry.key.id) for store in self._stores.values()):
            self._here_already += 1
            return
        # As `DiskTier` does with what it is given.
        if tier == "pinned" and not self._stores["pinned"].has_room_for(entry):
            tier = "traffic"
        entry = self._keeping.apply(entry, tier)
        if entry.expired():
            self._expired += 1
            return
        if entry.size_bytes > self._stores[tier].max_bytes:
            raise CorruptEntry("it is larger than cache.disk_bytes")
        self._stores[tier].put(entry)
        self._stored += 1


def _first_member(version: str) -> bytes:
    now_s = time.time()
    told = {
        "schema": _SCHEMA,
        "created": datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds"),
        "version": version,
    }
    return pack_member(_FIRST, json.dumps(told).encode(), now_s)


def _check_first(found: Member | Damage | None) -> None:
    if not isinstance(found, Member) or found.name != _FIRST:
        raise NotAnArchive("This is no archive that `kokoro-edge cache export` has made.")
    try:
        schema = json.loads(found.data)["schema"]
    except (ValueError, TypeError, KeyError):
        raise NotAnArchive("The archive is damaged: it does not say of which kind it is.") from None
    if schema != _SCHEMA:
        raise NotAnArchive(
            f"The archive is of kind {ascii(schema)[:20]}, and this version of kokoro-edge takes "
            f"kind {_SCHEMA}."
        )


def _tier(name: str) -> Tier:
    return "pinned" if name == "pinned" else "traffic"
