"""The disk tier: keeps what it was given, and turns every fault of the storage into a miss."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import pytest
from diskcache.core import MODE_BINARY, MODE_PICKLE, MODE_RAW, MODE_TEXT
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.cache.disk import DiskTier
from proxy.cache.entry import Entry, pack

MIB = 1024**2

SMALL = Entry("a" * 32, b"a small payload, which lies in the database", {"clips": 1})
LARGE = Entry("b" * 32, bytes(range(256)) * 400, {"clips": 2})
"""Above 32 KiB: lies in a file of its own."""

both_sizes = pytest.mark.parametrize("entry", [SMALL, LARGE], ids=["in a row", "in a file"])

OpenTier = Callable[[], AbstractAsyncContextManager[DiskTier]]


async def write(tier: DiskTier, entry: Entry) -> None:
    """Put, and wait until it is written: the tier does one thing after the other."""
    tier.put(entry)
    await tier.get("nothing")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audio"


@pytest.fixture
def opened(directory: Path) -> OpenTier:
    """`async with opened() as tier`: the tier of `directory`, as after a restart."""
    return lambda: open_tier(directory)


@asynccontextmanager
async def open_tier(directory: Path, max_bytes: int = 64 * MIB) -> AsyncIterator[DiskTier]:
    tier = DiskTier(directory, max_bytes)
    await tier.open()
    try:
        yield tier
    finally:
        await tier.close()


def execute(directory: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Do something to the database behind the tier's back."""
    with closing(sqlite3.connect(directory / "cache.db")) as database, database:
        return database.execute(statement, values).fetchall()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def rows(directory: Path) -> set[object]:
    return {key for (key,) in execute(directory, "SELECT key FROM Cache")}


def value_files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.val"))


def stored(directory: Path, entry: Entry) -> bytes:
    if entry is LARGE:
        return value_files(directory)[0].read_bytes()
    [(value,)] = execute(directory, "SELECT value FROM Cache WHERE key = ?", entry.key)
    assert isinstance(value, bytes)
    return value


def overwrite(directory: Path, entry: Entry, data: bytes) -> None:
    if entry is LARGE:
        value_files(directory)[0].write_bytes(data)
    else:
        execute(directory, "UPDATE Cache SET value = ? WHERE key = ?", data, entry.key)


def plant(
    directory: Path,
    key: str,
    mode: int,
    value: object = None,
    filename: str | None = None,
    raw: int = 1,
) -> None:
    """Add a row as somebody would who can write to the directory."""
    execute(
        directory,
        "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag,"
        " size, mode, filename, value) VALUES (?, ?, 0, NULL, 0, 0, NULL, 0, ?, ?, ?)",
        *(key, raw, mode, filename, value),
    )


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self._path), "w")


async def test_what_was_put_is_had_back(opened: OpenTier) -> None:
    async with opened() as tier:
        for entry in (SMALL, LARGE):
            assert await tier.get(entry.key) is None
            await write(tier, entry)
            assert await tier.get(entry.key) == entry


async def test_entries_survive_a_restart(opened: OpenTier) -> None:
    async with opened() as tier:
        await write(tier, SMALL)
        await write(tier, LARGE)
    async with opened() as tier:
        assert await tier.get(SMALL.key) == SMALL
        assert await tier.get(LARGE.key) == LARGE


async def test_putting_again_replaces(directory: Path, opened: OpenTier) -> None:
    async with opened() as tier:
        await write(tier, LARGE)
        again = Entry(LARGE.key, LARGE.payload[::-1], {})
        await write(tier, again)
        assert await tier.get(LARGE.key) == again
        assert len(value_files(directory)) == 1


async def test_nobody_else_can_look_into_the_directory(directory: Path, opened: OpenTier) -> None:
    async with opened():
        pass
    assert mode_of(directory) == 0o700


async def test_a_directory_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    tier = DiskTier(tmp_path / "file" / "audio", MIB)
    with pytest.raises(OSError):
        await tier.open()
    await tier.close()


@both_sizes
async def test_a_damaged_entry_is_a_miss_and_deleted(
    directory: Path, opened: OpenTier, entry: Entry
) -> None:
    async with opened() as tier:
        await write(tier, entry)
        data = bytearray(stored(directory, entry))
        data[len(data) // 2] ^= 0x10
        overwrite(directory, entry, bytes(data))
        assert await tier.get(entry.key) is None
        assert rows(directory) == set()
        assert value_files(directory) == []
        await write(tier, entry)
        assert await tier.get(entry.key) == entry


@both_sizes
@given(data=st.data())
@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_a_bit_flipped_anywhere_is_a_miss_after_a_restart_too(
    directory: Path, opened: OpenTier, entry: Entry, data: st.DataObject
) -> None:
    async with opened() as tier:
        await write(tier, entry)
    flipped = bytearray(stored(directory, entry))
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    overwrite(directory, entry, bytes(flipped))
    async with opened() as tier:
        assert await tier.get(entry.key) is None
    assert rows(directory) == set()


@both_sizes
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
async def test_a_truncated_entry_is_a_miss_and_deleted(
    directory: Path, opened: OpenTier, entry: Entry, share: float
) -> None:
    async with opened() as tier:
        await write(tier, entry)
        data = stored(directory, entry)
        overwrite(directory, entry, data[: int(len(data) * share)])
        assert await tier.get(entry.key) is None
        assert rows(directory) == set()


async def test_an_entry_under_another_key_is_a_miss(directory: Path, opened: OpenTier) -> None:
    async with opened() as tier:
        await write(tier, SMALL)
        execute(directory, "UPDATE Cache SET key = ?", "c" * 32)
        assert await tier.get("c" * 32) is None
        assert rows(directory) == set()


async def test_a_planted_pickle_is_never_run(
    directory: Path, opened: OpenTier, tmp_path: Path
) -> None:
    proof = tmp_path / "it ran"
    bomb = pickle.dumps(Bomb(proof))
    async with opened():
        pass
    (directory / "bomb.val").write_bytes(bomb)
    plant(directory, "in the row", MODE_PICKLE, bomb)
    plant(directory, "in a file", MODE_PICKLE, filename="bomb.val")
    plant(directory, bomb.decode("latin-1"), MODE_RAW, b"its key is the pickle", raw=0)
    async with open_tier(directory, MIB) as tier:
        assert await tier.get("in the row") is None
        assert await tier.get("in a file") is None
        await fill(tier, 2 * MIB)
    assert rows(directory).isdisjoint({"in the row", "in a file"})
    assert not proof.exists()
    with pickle.loads(bomb):  # It would have worked.
        assert proof.exists()


@pytest.mark.parametrize("mode", [MODE_BINARY, MODE_TEXT])
@pytest.mark.parametrize("how", ["relative", "absolute", "through a link"])
async def test_a_row_that_points_outside_is_neither_read_nor_deleted_there(
    directory: Path, opened: OpenTier, tmp_path: Path, mode: int, how: str
) -> None:
    async with opened():
        pass
    outside = tmp_path / "outside.val"
    outside.write_bytes(pack(SMALL))  # What is read of it would be a hit.
    (directory / "link").symlink_to(tmp_path)
    filename = {
        "relative": "../outside.val",
        "absolute": str(outside),
        "through a link": "link/outside.val",
    }[how]
    plant(directory, SMALL.key, mode, filename=filename)
    async with opened() as tier:
        assert await tier.get(SMALL.key) is None
    assert outside.read_bytes() == pack(SMALL)
    assert rows(directory) == set()


async def test_eviction_deletes_nothing_outside(
    directory: Path, opened: OpenTier, tmp_path: Path
) -> None:
    async with opened():
        pass
    outside = tmp_path / "outside.val"
    outside.write_bytes(b"not ours")
    plant(directory, "planted", MODE_BINARY, filename="../outside.val")
    async with open_tier(directory, MIB) as tier:
        await fill(tier, 2 * MIB)
    assert "planted" not in rows(directory)
    assert outside.read_bytes() == b"not ours"


@pytest.mark.parametrize("value", ["text", 5, 1.5, b""])
async def test_a_row_that_holds_no_entry_is_a_miss_and_deleted(
    directory: Path, opened: OpenTier, value: object
) -> None:
    async with opened() as tier:
        plant(directory, "planted", MODE_RAW, value)
        assert await tier.get("planted") is None
        assert rows(directory) == set()


async def test_a_value_file_that_is_gone_is_a_miss(directory: Path, opened: OpenTier) -> None:
    async with opened() as tier:
        await write(tier, LARGE)
        value_files(directory)[0].unlink()
        assert await tier.get(LARGE.key) is None
        await write(tier, LARGE)
        assert await tier.get(LARGE.key) == LARGE


async def test_a_value_file_that_cannot_be_read_is_a_miss(
    directory: Path, opened: OpenTier
) -> None:
    async with opened() as tier:
        await write(tier, LARGE)
        [file] = value_files(directory)
        file.unlink()
        file.mkdir()
        assert await tier.get(LARGE.key) is None


def delete_all(directory: Path) -> None:
    shutil.rmtree(directory)


def garbage_in_the_database(directory: Path) -> None:
    for file in directory.glob("cache.db*"):
        file.write_bytes(os.urandom(8192))


def drop_the_table(directory: Path) -> None:
    execute(directory, "DROP TABLE Cache")


def a_file_in_place_of_the_directory(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.write_text("in the way")


@pytest.mark.parametrize(
    "break_it",
    [delete_all, garbage_in_the_database, drop_the_table, a_file_in_place_of_the_directory],
)
async def test_storage_that_breaks_while_it_is_open_is_a_miss_and_no_error(
    directory: Path, opened: OpenTier, break_it: Callable[[Path], None]
) -> None:
    async with opened() as tier:
        await write(tier, LARGE)
        break_it(directory)
        for entry in (SMALL, LARGE):
            await tier.get(entry.key)
            await write(tier, entry)
            assert await tier.get(entry.key) in (None, entry)


async def test_a_database_that_somebody_else_locks_is_a_miss_in_good_time(
    directory: Path, opened: OpenTier
) -> None:
    async with opened() as tier:
        await write(tier, SMALL)
        with closing(sqlite3.connect(directory / "cache.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(10):
                assert await tier.get(SMALL.key) is None
                await write(tier, LARGE)
        assert await tier.get(SMALL.key) == SMALL


@pytest.mark.parametrize("file", ["cache.db", "cache.db-wal"])
async def test_garbage_in_the_database_does_not_keep_the_server_from_starting(
    directory: Path, opened: OpenTier, file: str
) -> None:
    async with opened() as tier:
        await write(tier, SMALL)
    (directory / file).write_bytes(os.urandom(8192))
    async with opened() as tier:
        assert await tier.get(SMALL.key) in (None, SMALL)
        await write(tier, LARGE)
        assert await tier.get(LARGE.key) == LARGE
    async with opened() as tier:
        assert await tier.get(LARGE.key) == LARGE


async def test_a_damaged_database_is_set_aside_once(directory: Path, opened: OpenTier) -> None:
    for _ in range(3):
        async with opened() as tier:
            await write(tier, LARGE)
        (directory / "cache.db").write_bytes(os.urandom(8192))
    async with opened() as tier:
        assert await tier.get(LARGE.key) is None
        assert value_files(directory) == []
    assert sorted(path.name for path in directory.parent.iterdir()) == ["audio", "audio.damaged"]


async def test_what_is_kept_stays_within_its_bytes(directory: Path) -> None:
    async with open_tier(directory, MIB) as tier:
        last = await fill(tier, 4 * MIB)
        assert await tier.get(last.key) == last
        assert sum(file.stat().st_size for file in value_files(directory)) <= MIB


async def test_what_is_read_again_and_again_is_not_evicted(directory: Path) -> None:
    async with open_tier(directory, MIB) as tier:
        await write(tier, LARGE)
        for round in range(8):
            await fill(tier, MIB // 4, f"{round}")
            assert await tier.get(LARGE.key) == LARGE


async def fill(tier: DiskTier, total_bytes: int, prefix: str = "") -> Entry:
    """Put other entries of this many bytes. Returns the last."""
    for number in range(total_bytes // 50_000):
        entry = Entry(f"{prefix} filler {number}", b"x" * 50_000, {})
        await write(tier, entry)
    return entry
