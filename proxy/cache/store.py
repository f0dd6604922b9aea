"""One directory of entries: diskcache, made unable to run or read what it should not.

Blocking, and for one thread of one process: see `proxy.cache.disk`. Faults of the storage are
raised as they come (`STORAGE_FAULTS`); whoever calls decides what they mean.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import diskcache
from diskcache.core import MODE_BINARY, MODE_PICKLE, MODE_RAW
from pydantic import TypeAdapter

from proxy.cache.entry import About, CorruptEntry, Entry, pack, unpack

logger = logging.getLogger(__name__)

Tier = Literal["pinned", "traffic"]

STORAGE_FAULTS = (OSError, sqlite3.Error, diskcache.Timeout)

_DATABASE = "cache.db"
_SUFFIX = ".val"
_LOCK_WAIT_S = 1.0
"""For somebody else who has the database locked. diskcache's own default is a minute, during which
every hit on disk would wait."""
_ROWS_A_STEP = 100
_FILES_A_STEP = 64
"""How much is done at a time where there may be a million: a millisecond or two, since whoever
waits for an entry waits for the step before it."""

_OURS = "raw = 1 AND typeof(key) = 'text' AND key NOT GLOB '*[^ -~]*'"
"""A row whose key is a plain string, as ours are. Of others it is not even safe to read the key: a
pickle must not be, and of a damaged one Python cannot make a string."""

_ABOUT = TypeAdapter(About)


class _BytesOnlyDisk(diskcache.Disk):  # type: ignore[misc]
    """Refuses pickles. diskcache unpickles any row that says it is one, so whoever can write to
    the directory could run code in this process (CVE-2025-69872)."""

    last_named: str | None = None
    """The file that was begun last."""

    def store(self, value: object, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        if not isinstance(value, bytes) or not isinstance(key, str):
            raise TypeError("the disk tier holds bytes under string keys")
        return super().store(value, read, key)

    def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
        """Tells the id, so that a sweep can ask whose file it is. The rest keeps a file that
        replaces another, or an orphan, apart from it."""
        name = f"{str(key)[:2]}/{str(key)[2:4]}/{key}-{secrets.token_hex(4)}{_SUFFIX}"
        self.last_named = name
        return name, str(Path(self._directory) / name)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:
        if mode == MODE_PICKLE:
            raise CorruptEntry("it is a pickle")
        if mode not in (MODE_RAW, MODE_BINARY):
            raise CorruptEntry("it is not bytes")
        if mode == MODE_BINARY and not self._is_inside(filename):
            raise CorruptEntry("its file is none of the cache")
        data = super().fetch(mode, filename, value, read)
        if not isinstance(data, bytes):
            raise CorruptEntry("it is not bytes")
        return data

    def remove(self, file_path: str) -> None:
        if self._is_inside(file_path):
            super().remove(file_path)

    def _is_inside(self, filename: object) -> bool:
        if not isinstance(filename, str) or "\0" in filename or not filename.endswith(_SUFFIX):
            return False
        directory = Path(self._directory).resolve()
        try:
            return (directory / filename).resolve().is_relative_to(directory)
        except (OSError, RuntimeError):  # Links that lead in a circle, or nowhere.
            return False


@dataclass(frozen=True, slots=True)
class Row:
    """What the database knows of an entry, without reading or checking it."""

    id: str
    tier: Tier
    size_bytes: int
    """0 where the row does not tell it."""
    stored_at_s: float
    about: About | None
    """None where the row was not written by us."""


class Store:
    """Entries by id. Not usable before `open`, nor where that left it closed: see `is_open`."""

    def __init__(self, tier: Tier, directory: Path, max_bytes: int) -> None:
        self.tier = tier
        self.directory = directory
        self.max_bytes = max_bytes
        self._cache: diskcache.Cache | None = None
        self._database: tuple[int, int] | None = None

    @property
    def is_open(self) -> bool:
        return self._cache is not None

    @property
    def aside(self) -> Path:
        """Where a damaged database is moved to, with all its files."""
        return self.directory.with_name(self.directory.name + ".damaged")

    def open(self) -> None:
        """Open the directory; one whose database is damaged is set aside, and an empty one made.

        Raises:
            STORAGE_FAULTS: it cannot be made, read or written to, or there is no room.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)
        try:
            self._connect()
        except (sqlite3.OperationalError, OSError):
            raise  # Locked, read-only or full: nothing that throwing it away would mend.
        except Exception as error:  # diskcache stumbles over its own settings, too.
            self.set_aside(error)

    def close(self) -> None:
        cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()

    def set_aside(self, error: Exception) -> None:
        """Move a database that is damaged out of the way, and begin an empty one."""
        self.close()
        logger.error("set the damaged cache aside as %s: %s", self.aside, error)
        shutil.rmtree(self.aside, ignore_errors=True)
        self.directory.rename(self.aside)
        self.directory.mkdir(mode=0o700)
        self._connect()

    def is_in_place(self) -> bool:
        """Whether the database that is open is still the one in the directory."""
        return self._database == self._find_database()

    def get(self, id: str) -> Entry | None:
        """Raises CorruptEntry: it was there and is damaged; it is deleted now."""
        try:
            entry = self.read(id)
        except CorruptEntry:
            self.delete(id)
            raise
        return None if entry is None or entry.expired() else entry

    def read(self, id: str) -> Entry | None:
        """What lies under `id`, be its time over or not.

        Raises:
            CorruptEntry: it is damaged, or its file is gone. It is left as it is.
        """
        rows = self._sql("SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1", id)
        if not rows:
            return None
        try:
            data = self._open_cache.disk.fetch(*rows[0], False)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise CorruptEntry("its file is missing") from None
        except (TypeError, ValueError):
            raise CorruptEntry("its row is not one of an entry") from None
        return unpack(data, id)

    def put(self, entry: Entry) -> None:
        expire_s = None if entry.expires_at_s is None else entry.expires_at_s - time.time()
        disk = self._open_cache.disk
        disk.last_named = None
        try:
            self._open_cache.set(entry.key.id, pack(entry), expire=expire_s, tag=_tag(entry))
        except STORAGE_FAULTS:
            # Else a full disk would stay full of what could not be written to it.
            if disk.last_named is not None:
                disk.remove(disk.last_named)
            raise
        while self.tier == "traffic" and self.size_bytes() > self.max_bytes:
            if not self._delete("TRUE ORDER BY store_time", at_most=1):
                break

    def is_told_right(self, entry: Entry) -> bool:
        """Whether the entry's row tells of it what is so."""
        tags = self._sql(
            "SELECT CAST(tag AS BLOB) FROM Cache WHERE key = ? AND raw = 1", entry.key.id
        )
        told = [self._row(entry.key.id, tag, 0.0) for (tag,) in tags]
        return told == [self._row(entry.key.id, _tag(entry).encode(), 0.0)]

    def tell_right(self, entry: Entry) -> None:
        """Write again what the entry's row tells of it, and leave the rest as it is."""
        with self._open_cache.transact():
            self._sql(
                "UPDATE Cache SET tag = ? WHERE key = ? AND raw = 1", _tag(entry), entry.key.id
            )

    def delete(self, id: str) -> bool:
        """Whether it was there."""
        return self._delete("key = ? AND raw = 1", id) > 0

    def has(self, id: str) -> bool:
        return id in self._open_cache

    def has_room_for(self, entry: Entry) -> bool:
        return self.size_bytes() + entry.size_bytes <= self.max_bytes

    def touch(self, ids: Iterable[str]) -> None:
        """Count as used just now. What was not used for longest is evicted first.

        diskcache evicts by time of storing here: its own policy of that name would make every read
        a write, which is slow, fails on a full disk, and knows nothing of what memory serves.
        """
        now_s = time.time()
        with self._open_cache.transact():
            for id in ids:
                self._sql("UPDATE Cache SET store_time = ? WHERE key = ? AND raw = 1", now_s, id)

    def limit(self, ttl_s: float) -> int:
        """Give an end to some entries that have none. Returns how many; 0: there are no more."""
        with self._open_cache._transact(False) as (sql, _):
            # A tag begins with the time at which its entry was stored.
            changed = sql(
                "UPDATE Cache SET expire_time = COALESCE("
                " NULLIF(CAST(CAST(tag AS TEXT) AS REAL), 0.0), store_time, 0.0) + ?"
                " WHERE rowid IN (SELECT rowid FROM Cache WHERE expire_time IS NULL LIMIT ?)",
                (ttl_s, _ROWS_A_STEP),
            )
            return int(changed.rowcount)

    def delete_expired(self) -> int:
        """Delete some entries whose time is over. Returns how many; 0: there are no more."""
        return self._delete("expire_time < ?", time.time())

    def count_foreign(self) -> int:
        """How many rows have a key that is none of ours, such as a pickle."""
        return int(self._sql(f"SELECT COUNT(*) FROM Cache WHERE ({_OURS}) IS NOT TRUE")[0][0])

    def delete_foreign(self) -> int:
        """Delete some of these rows. Returns how many; 0: there are no more."""
        return self._delete(f"({_OURS}) IS NOT TRUE")

    def __len__(self) -> int:
        return len(self._open_cache)

    def size_bytes(self) -> int:
        """What the entries and their database take, without orphans."""
        return int(self._open_cache.volume())

    def rows(self) -> Iterator[list[Row]]:
        """Every entry there is, some at a time. Entries may come and go in between."""
        last = 0
        while found := self._sql(
            "SELECT rowid, key, CAST(tag AS BLOB), COALESCE(CAST(store_time AS REAL), 0.0)"
            f" FROM Cache WHERE {_OURS} AND rowid > ? ORDER BY rowid LIMIT ?",
            last,
            _ROWS_A_STEP,
        ):
            last = found[-1][0]
            yield [self._row(key, tag, store_time) for _, key, tag, store_time in found]

    def sweep(self, delete: bool = True) -> Iterator[int]:
        """Find files that no row names, such as a kill in mid-write leaves, and delete them; how
        many there are, by step."""
        looked_at = found = 0
        for folder, _, names in os.walk(self.directory):
            for name in names:
                if not name.endswith(_SUFFIX):
                    continue
                path = Path(folder, name)
                id = name.removesuffix(_SUFFIX).partition("-")[0]
                id = id.encode(errors="replace").decode()  # It need not be a string to others.
                relative = str(path.relative_to(self.directory))
                rows = self._sql("SELECT filename FROM Cache WHERE key = ? AND raw = 1", id)
                # One that was evicted since it was listed is none of them.
                if (relative,) not in rows and path.exists():
                    if delete:
                        path.unlink(missing_ok=True)
                    found += 1
                looked_at += 1
                if looked_at % _FILES_A_STEP == 0:
                    yield found
                    found = 0
        yield found

    @property
    def _open_cache(self) -> diskcache.Cache:
        if self._cache is None:
            raise OSError(f"the cache in {self.directory} is not open")
        return self._cache

    def _connect(self) -> None:
        self._cache = diskcache.Cache(
            str(self.directory),
            timeout=_LOCK_WAIT_S,
            disk=_BytesOnlyDisk,
            size_limit=self.max_bytes,
            eviction_policy="none" if self.tier == "pinned" else "least-recently-stored",
            cull_limit=0,  # It evicts ten for one, however large they are: see `put`.
            sqlite_mmap_size=0,  # A mapped file that somebody cuts short ends the process.
        )
        self._database = self._find_database()

    def _find_database(self) -> tuple[int, int] | None:
        try:
            found = (self.directory / _DATABASE).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """diskcache has no public way to read rows without their values."""
        return list(self._open_cache._sql(statement, values).fetchall())

    def _delete(self, where: str, *values: object, at_most: int = _ROWS_A_STEP) -> int:
        with self._open_cache._transact(False) as (sql, cleanup):
            rows = sql(
                f"SELECT rowid, filename FROM Cache WHERE {where} LIMIT ?",
                (*values, at_most),
            ).fetchall()
            for rowid, filename in rows:
                sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))
                cleanup(filename)
        return len(rows)

    def _row(self, id: str, tag: bytes | None, store_time: float) -> Row:
        try:
            stored_at_s, size_bytes, about = (tag or b"").decode().split(" ", 2)
            return Row(
                id,
                self.tier,
                int(size_bytes),
                float(stored_at_s),
                _ABOUT.validate_json(about),
            )
        except ValueError:
            return Row(id, self.tier, 0, store_time, None)


def _tag(entry: Entry) -> str:
    """What a row tells of its entry: `Store.rows` reads it."""
    about = _ABOUT.dump_json(entry.about, exclude={"words"}, exclude_none=True).decode()
    return f"{entry.stored_at_s:.3f} {entry.size_bytes} {about}"
