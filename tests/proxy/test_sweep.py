"""Sweeping: files that no entry names are deleted, and never one that an entry has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.cache.entry import Entry
from proxy.cache.store import Store, Tier
from tests.proxy.entries import entry_of
from tests.proxy.storage import LARGE, MIB, SMALL, Audio, StoreFolder, both_tiers, fill, write

ORPHANS = ("ab/cd/abcd-0123.val", "top.val", "ab/deep/er/x.val", ".val", "no id.val", "\udcff.val")


@pytest.fixture
def folder(tmp_path: Path) -> StoreFolder:
    return StoreFolder(tmp_path / "store")


@pytest.fixture
def store(folder: StoreFolder) -> Iterator[Store]:
    store = Store("traffic", folder.path, 64 * MIB)
    store.open()
    yield store
    store.close()


def large(name: str, fill: bytes = b"x") -> Entry:
    """One that lies in a file."""
    return entry_of(name, fill * 40_000)


def leave_files(folder: StoreFolder, *names: str) -> None:
    for name in names:
        path = folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half an ent")


def test_what_no_entry_names_is_deleted_and_what_one_names_stays(
    folder: StoreFolder, store: Store
) -> None:
    store.put(LARGE)
    store.put(SMALL)
    [live] = folder.value_files()
    beside = live.with_name(
        f"{LARGE.key.id}-00000000.val"
    )  # As a kill while it is replaced leaves.
    leave_files(folder, *ORPHANS, str(beside.relative_to(folder.path)))
    assert sum(store.sweep()) == len(ORPHANS) + 1
    assert folder.value_files() == [live]
    assert store.get(LARGE.key.id) == LARGE
    assert sum(store.sweep()) == 0


def test_what_is_no_value_stays(folder: StoreFolder, store: Store) -> None:
    leave_files(folder, "notes.txt", "ab/notes.val.txt")
    assert sum(store.sweep()) == 0
    assert (folder.path / "notes.txt").exists()
    assert (folder.path / "ab" / "notes.val.txt").exists()
    assert folder.database.exists()


def test_orphans_can_be_counted_and_left(folder: StoreFolder, store: Store) -> None:
    leave_files(folder, *ORPHANS)
    assert sum(store.sweep(delete=False)) == len(ORPHANS)
    assert sum(store.sweep()) == len(ORPHANS)


def test_links_are_not_followed(folder: StoreFolder, store: Store, tmp_path: Path) -> None:
    outside = StoreFolder(tmp_path / "outside")
    leave_files(outside, "not ours.val", "ab/not ours.val")
    (folder.path / "folder").symlink_to(outside.path)
    (folder.path / "file.val").symlink_to(outside.path / "not ours.val")
    (folder.path / "circle").symlink_to(folder.path)
    (folder.path / "nowhere.val").symlink_to(tmp_path / "nowhere")
    list(store.sweep())
    assert len(outside.value_files()) == 2


def test_a_folder_beside_is_not_swept(folder: StoreFolder, store: Store, tmp_path: Path) -> None:
    beside = StoreFolder(tmp_path / "store.damaged")
    leave_files(beside, "not yet.val")
    assert sum(store.sweep()) == 0
    assert len(beside.value_files()) == 1


def test_a_file_that_cannot_be_deleted_for_it_is_a_folder_is_left(
    folder: StoreFolder, store: Store
) -> None:
    (folder.path / "folder.val").mkdir()
    leave_files(folder, "folder.val/orphan.val")
    assert sum(store.sweep()) == 1


def test_it_goes_by_steps(folder: StoreFolder, store: Store) -> None:
    leave_files(folder, *(f"{number}.val" for number in range(1000)))
    steps = list(store.sweep())
    assert sum(steps) == 1000
    assert max(steps) < 100


changes = st.lists(
    st.tuples(st.sampled_from(["put", "replace", "delete", "shrink"]), st.integers(0, 49)),
    max_size=40,
)


@given(changes)
@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_put_replaced_and_deleted_meanwhile_keeps_its_file_and_leaves_none(
    folder: StoreFolder, store: Store, changes: list[tuple[str, int]]
) -> None:
    live = {f"{number}": large(f"{number}") for number in range(0, 50, 2)}
    for number in range(50):
        store.delete(entry_of(f"{number}").key.id)
    for entry in live.values():
        store.put(entry)
    leave_files(folder, *(f"{number:02x}/orphan {number}.val" for number in range(100)))
    sweep = store.sweep()
    found = 0
    for kind, number in changes:
        found += next(sweep, 0)
        name = f"{number}"
        if kind == "delete":
            store.delete(entry_of(name).key.id)
            live.pop(name, None)
        elif kind == "shrink":
            live[name] = entry_of(name)  # From now on it lies in a row.
            store.put(live[name])
        elif kind == "put" or name in live:
            live[name] = large(name, kind[:1].encode())
            store.put(live[name])
    found += sum(sweep)
    assert found == 100
    for entry in live.values():
        assert store.get(entry.key.id) == entry
    assert len(folder.value_files()) == sum(entry.size_bytes > 2**15 for entry in live.values())


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    return Audio(tmp_path / "audio")


@both_tiers
async def test_orphans_are_deleted_and_counted(audio: Audio, where: Tier) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        await tier.sweep()
        assert tier.counts.orphans == 0
        leave_files(audio[where], "ab/cd/abcd-0123.val", "top.val")
        await tier.sweep()
        assert tier.counts.orphans == 2
        assert await tier.get(LARGE.key.id) == LARGE


async def test_what_a_kill_left_is_deleted_after_the_next_start(audio: Audio) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE)
    leave_files(audio["traffic"], *ORPHANS)
    async with audio.opened() as tier:
        await tier.sweep()  # It takes its turn with the one that the start began.
        assert tier.counts.orphans == len(ORPHANS)
        assert len(audio["traffic"].value_files()) == 1


async def test_what_is_evicted_or_replaced_leaves_no_file(audio: Audio) -> None:
    async with audio.opened(traffic_bytes=MIB) as tier:
        for _ in range(2):
            await fill(tier, 3 * MIB)
        await tier.sweep()
        assert tier.counts.orphans == 0


async def test_without_its_folder_there_is_nothing_to_sweep(audio: Audio) -> None:
    async with audio.opened() as tier:
        for store in ("pinned", "traffic"):
            os.rename(audio.path / store, audio.path / f"{store} elsewhere")
        await tier.sweep()
        assert tier.counts.orphans == 0
