"""The disk tier outlives its storage: what breaks is a miss, and begun again without a restart."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cache.owner import CacheInUse
from proxy.cache.store import Tier
from tests.proxy.entries import entry_of
from tests.proxy.storage import LARGE, SMALL, TIERS, Audio, StoreFolder, both_tiers, fill, write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    return Audio(tmp_path / "audio")


def overwrite_with_garbage(folder: StoreFolder) -> None:
    """In place, and without making anything shorter: of that SQLite's own mapping would die."""
    for path in folder.path.glob("cache.db*"):
        size_bytes = path.stat().st_size
        with path.open("r+b") as file:
            file.write(os.urandom(size_bytes))


def cut_short(folder: StoreFolder) -> None:
    overwrite_with_garbage(folder)
    os.truncate(folder.database, 0)


def drop_the_table(folder: StoreFolder) -> None:
    folder.execute("DROP TABLE Cache")


def delete_all(folder: StoreFolder) -> None:
    shutil.rmtree(folder.path)


def delete_the_database(folder: StoreFolder) -> None:
    folder.database.unlink()


def move_away(folder: StoreFolder) -> None:
    folder.path.rename(folder.path.with_name("elsewhere"))


def put_another_in_its_place(folder: StoreFolder) -> None:
    copy = folder.path.with_name("copy")
    shutil.copytree(folder.path, copy)
    shutil.rmtree(folder.path)
    copy.rename(folder.path)


def a_file_in_place_of_the_folder(folder: StoreFolder) -> None:
    shutil.rmtree(folder.path)
    folder.path.write_text("in the way")


@both_tiers
@pytest.mark.parametrize(
    "break_it",
    [
        overwrite_with_garbage,
        cut_short,
        drop_the_table,
        delete_all,
        delete_the_database,
        move_away,
        put_another_in_its_place,
        a_file_in_place_of_the_folder,
    ],
)
async def test_storage_that_breaks_while_it_is_open_is_a_miss_and_no_error(
    audio: Audio, where: Tier, break_it: Callable[[StoreFolder], None]
) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        break_it(audio[where])
        for entry in (SMALL, LARGE):
            await tier.get(entry.key.id)
            await write(tier, entry, where)
            assert await tier.get(entry.key.id) in (None, entry)
        await tier.pin(LARGE.key.id)
        tier.touch([LARGE.key.id])
        await tier.upkeep()


@both_tiers
@pytest.mark.parametrize(
    "break_it",
    [delete_all, delete_the_database, move_away, put_another_in_its_place],
)
async def test_a_store_that_is_gone_is_begun_anew_by_the_next_put(
    audio: Audio, where: Tier, break_it: Callable[[StoreFolder], None]
) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        break_it(audio[where])
        await write(tier, SMALL, where)
        assert await tier.get(SMALL.key.id) == SMALL
        assert tier.counts.dropped == 0
    async with audio.opened() as tier:
        assert await tier.get(SMALL.key.id) == SMALL


@both_tiers
async def test_a_database_found_damaged_while_it_is_open_is_set_aside_and_an_empty_one_begun(
    audio: Audio, where: Tier
) -> None:
    other: Tier = "traffic" if where == "pinned" else "pinned"
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        untouched = entry_of("untouched")
        await write(tier, untouched, other)
        overwrite_with_garbage(audio[where])
        await write(tier, SMALL, where)
        assert tier.counts.faults > 0
        assert audio[where].path.with_name(f"{where}.damaged").exists()
        await write(tier, SMALL, where)
        assert await tier.get(SMALL.key.id) == SMALL
        assert await tier.get(LARGE.key.id) is None
        assert await tier.get(untouched.key.id) == untouched
        assert not audio[where].path.with_name(f"{other}.damaged").exists()
    async with audio.opened() as tier:
        assert await tier.get(SMALL.key.id) == SMALL
        assert await tier.get(untouched.key.id) == untouched


@pytest.mark.parametrize("pinned", [True, False])
@both_tiers
async def test_one_damaged_database_costs_the_other_nothing(
    audio: Audio, where: Tier, pinned: bool
) -> None:
    """Whichever is written to."""
    other: Tier = "traffic" if where == "pinned" else "pinned"
    async with audio.opened() as tier:
        await write(tier, LARGE, other)
        overwrite_with_garbage(audio[where])
        for _ in range(3):
            tier.put(SMALL, pinned)
            await tier.upkeep()
        assert await tier.get(LARGE.key.id) == LARGE
        assert await tier.get(SMALL.key.id) == SMALL
        assert not audio[where].path.with_name(f"{other}.damaged").exists()


CUT_SHORT = """
import asyncio, os, sys
from pathlib import Path
from tests.proxy.entries import entry_of
from tests.proxy.storage import Audio, write

async def main():
    audio = Audio(Path(sys.argv[1]))
    entries = [entry_of(f"{number}", bytes(20_000)) for number in range(300)]
    async with audio.opened() as tier:
        for entry in entries:
            await write(tier, entry)
        os.truncate(audio["traffic"].database, 8192)
        for entry in entries:
            assert await tier.get(entry.key.id) in (None, entry)

asyncio.run(main())
"""


def test_a_database_that_is_cut_short_while_it_is_open_does_not_end_the_process(
    audio: Audio,
) -> None:
    command = [sys.executable, "-c", CUT_SHORT, str(audio.path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


async def test_the_whole_folder_may_be_deleted_while_it_is_open(audio: Audio) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE)
        shutil.rmtree(audio.path)
        await tier.get(LARGE.key.id)
        await write(tier, SMALL)
        assert await tier.get(SMALL.key.id) == SMALL
        assert await tier.get(LARGE.key.id) is None
        with pytest.raises(CacheInUse, match=f"process {os.getpid()}"):
            async with audio.opened():
                pass
    async with audio.opened() as tier:
        assert await tier.get(SMALL.key.id) == SMALL


async def test_a_folder_that_was_deleted_comes_back_with_the_upkeep_too(audio: Audio) -> None:
    async with audio.opened() as tier:
        shutil.rmtree(audio.path)
        await tier.upkeep()
        assert all(audio[where].database.exists() for where in TIERS)
        with pytest.raises(CacheInUse):
            async with audio.opened():
                pass


async def test_a_lock_that_was_deleted_is_taken_anew(audio: Audio) -> None:
    async with audio.opened() as tier:
        (audio.path / "lock").unlink()
        await tier.upkeep()
        with pytest.raises(CacheInUse):
            async with audio.opened():
                pass
        await write(tier, SMALL)
        assert await tier.get(SMALL.key.id) == SMALL


async def test_who_lost_the_folder_to_another_leaves_it_alone_until_that_one_is_gone(
    audio: Audio,
) -> None:
    async with audio.opened() as tier:
        shutil.rmtree(audio.path)
        async with audio.opened() as another:
            await write(another, LARGE)
            await write(tier, SMALL)
            assert await tier.get(SMALL.key.id) is None
            await tier.upkeep()
            await write(tier, SMALL)
            assert tier.counts.dropped == 2
            assert audio["traffic"].ids() == {LARGE.key.id}
            assert (audio.path / "owner.json").exists()
        await tier.upkeep()
        await write(tier, SMALL)
        assert await tier.get(SMALL.key.id) == SMALL
        assert await tier.get(LARGE.key.id) == LARGE


async def test_a_file_in_the_way_is_no_error_and_once_it_is_gone_all_is_well(audio: Audio) -> None:
    async with audio.opened() as tier:
        a_file_in_place_of_the_folder(audio["traffic"])
        await write(tier, SMALL)
        assert await tier.get(SMALL.key.id) is None
        await write(tier, LARGE, "pinned")
        assert await tier.get(LARGE.key.id) == LARGE
        audio["traffic"].path.unlink()
        await tier.upkeep()
        await write(tier, SMALL)
        assert await tier.get(SMALL.key.id) == SMALL


@both_tiers
@pytest.mark.parametrize("file", ["cache.db", "cache.db-wal"])
async def test_garbage_in_the_database_does_not_keep_the_server_from_starting(
    audio: Audio, file: str, where: Tier
) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL, where)
    (audio[where].path / file).write_bytes(os.urandom(8192))
    async with audio.opened() as tier:
        assert await tier.get(SMALL.key.id) in (None, SMALL)
        await write(tier, LARGE, where)
        assert await tier.get(LARGE.key.id) == LARGE
    async with audio.opened() as tier:
        assert await tier.get(LARGE.key.id) == LARGE


@both_tiers
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE Settings SET key = 'disk_nothing' WHERE key = 'disk_min_file_size'",
        "UPDATE Settings SET value = 'many' WHERE key = 'count'",
        "DELETE FROM Settings",
        "DROP TABLE Settings",
        "DROP TABLE Cache",
    ],
)
async def test_settings_that_nobody_made_do_not_keep_the_server_from_starting(
    audio: Audio, statement: str, where: Tier
) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL, where)
    audio[where].execute(statement)
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        assert await tier.get(LARGE.key.id) == LARGE


@both_tiers
async def test_a_damaged_database_is_set_aside_once(audio: Audio, where: Tier) -> None:
    for _ in range(3):
        async with audio.opened() as tier:
            await write(tier, LARGE, where)
        audio[where].database.write_bytes(os.urandom(8192))
    async with audio.opened() as tier:
        assert await tier.get(LARGE.key.id) is None
        assert audio[where].value_files() == []
    names = {path.name for path in audio.path.iterdir()}
    assert names == {"lock", "pinned", "traffic", f"{where}.damaged"}


async def test_what_is_set_aside_is_not_served_nor_swept(audio: Audio) -> None:
    async with audio.opened() as tier:
        entries = await fill(tier, 200_000)
    audio["traffic"].database.write_bytes(os.urandom(8192))
    async with audio.opened() as tier:
        await tier.sweep()
        for entry in entries:
            assert await tier.get(entry.key.id) is None
    aside = StoreFolder(audio.path / "traffic.damaged")
    assert len(aside.value_files()) == len(entries)
