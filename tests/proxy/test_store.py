"""One store: its entries, what it evicts, and what it tells of them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.cache.entry import CorruptEntry, Entry, WordSpan
from proxy.cache.store import Row, Store, Tier
from tests.proxy.entries import entry_of
from tests.proxy.storage import LARGE, MIB, SMALL, StoreFolder, both_sizes, both_tiers

some_examples = hypothesis_settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def folder(tmp_path: Path) -> StoreFolder:
    return StoreFolder(tmp_path / "store")


@contextmanager
def opened(
    folder: StoreFolder, max_bytes: int = 64 * MIB, tier: Tier = "traffic"
) -> Iterator[Store]:
    store = Store(tier, folder.path, max_bytes)
    store.open()
    try:
        yield store
    finally:
        store.close()


def put_named(store: Store, *names: str, size_bytes: int = 100) -> list[Entry]:
    entries = [entry_of(name, bytes(size_bytes)) for name in names]
    for entry in entries:
        store.put(entry)
    return entries


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@both_tiers
@both_sizes
def test_what_was_put_is_had_back_now_and_when_it_is_opened_again(
    folder: StoreFolder, entry: Entry, where: Tier
) -> None:
    with opened(folder, tier=where) as store:
        assert store.get(entry.key.id) is None
        assert not store.has(entry.key.id)
        store.put(entry)
        assert store.get(entry.key.id) == entry
        assert store.has(entry.key.id)
        assert len(store) == 1
    with opened(folder, tier=where) as store:
        assert store.get(entry.key.id) == entry


@pytest.mark.parametrize("again", [SMALL.payload, LARGE.payload[::-1]])
@both_sizes
def test_putting_again_replaces_and_leaves_no_file(
    folder: StoreFolder, entry: Entry, again: bytes
) -> None:
    with opened(folder) as store:
        store.put(entry)
        other = entry_of("small" if entry is SMALL else "large", again)
        store.put(other)
        assert store.get(entry.key.id) == other
        assert len(folder.value_files()) == (again is not SMALL.payload)


@both_sizes
def test_what_is_deleted_is_gone_with_its_file(folder: StoreFolder, entry: Entry) -> None:
    with opened(folder) as store:
        store.put(entry)
        assert store.delete(entry.key.id)
        assert not store.delete(entry.key.id)
        assert store.get(entry.key.id) is None
        assert len(store) == 0
        assert folder.value_files() == []


def test_nobody_else_can_look_into_the_folder(folder: StoreFolder) -> None:
    with opened(folder):
        assert mode_of(folder.path) == 0o700
    folder.path.chmod(0o755)
    with opened(folder):
        assert mode_of(folder.path) == 0o700


def test_a_store_that_is_not_open_is_a_fault_of_the_storage(folder: StoreFolder) -> None:
    with pytest.raises(OSError, match="not open"):
        Store("traffic", folder.path, MIB).get(SMALL.key.id)
    with opened(folder) as store:
        assert store.is_open
    store.close()
    with pytest.raises(OSError, match="not open"):
        store.put(SMALL)


@both_tiers
def test_reading_needs_no_lock(folder: StoreFolder, where: Tier) -> None:
    with opened(folder, tier=where) as store:
        store.put(SMALL)
        store.put(LARGE)
        with folder.locked():
            assert store.get(SMALL.key.id) == SMALL
            assert store.get(LARGE.key.id) == LARGE
            assert store.get("nothing") is None
            assert store.has(SMALL.key.id)


def test_reading_writes_nothing(folder: StoreFolder) -> None:
    with opened(folder) as store:
        store.put(SMALL)
        log = folder.path / "cache.db-wal"
        before = folder.database.read_bytes(), log.read_bytes()
        for _ in range(10):
            assert store.get(SMALL.key.id) == SMALL
        assert (folder.database.read_bytes(), log.read_bytes()) == before


def test_what_was_put_first_is_evicted_first(folder: StoreFolder) -> None:
    with opened(folder, MIB) as store:
        entries = put_named(store, *"abcdefghijkl", size_bytes=100_000)
        kept = [entry for entry in entries if store.has(entry.key.id)]
        assert 0 < len(kept) < len(entries)
        assert kept == entries[-len(kept) :]
        assert len(folder.value_files()) == len(kept) == len(store)


def test_what_is_touched_counts_as_used_just_now(folder: StoreFolder) -> None:
    with opened(folder, MIB) as store:
        [first] = put_named(store, "first", size_bytes=100_000)
        for number in range(40):
            store.touch([first.key.id, "nothing"])
            put_named(store, f"{number}", size_bytes=100_000)
        assert store.get(first.key.id) == first


sizes_bytes = st.lists(
    st.sampled_from([0, 1000, 20_000, 33_000, 150_000, 400_000, 900_000]), max_size=40
)


@given(sizes_bytes)
@some_examples
def test_traffic_never_takes_more_than_its_bytes_whatever_is_put(
    folder: StoreFolder, sizes_bytes: list[int]
) -> None:
    with opened(folder, MIB) as store:
        for number, size_bytes in enumerate(sizes_bytes):
            [entry] = put_named(store, f"{number}", size_bytes=size_bytes)
            assert store.size_bytes() <= MIB
            assert store.get(entry.key.id) == entry  # It was used last.
            assert sum(file.stat().st_size for file in folder.value_files()) <= MIB


def test_large_entries_make_room_for_themselves_among_small_ones(folder: StoreFolder) -> None:
    with opened(folder, 4 * MIB) as store:
        put_named(store, *(f"small {number}" for number in range(700)), size_bytes=6000)
        put_named(store, *(f"large {number}" for number in range(7)), size_bytes=500_000)
        assert store.size_bytes() <= 4 * MIB
        assert len(folder.value_files()) == 7


def test_no_more_is_evicted_than_must_be(folder: StoreFolder) -> None:
    with opened(folder, MIB) as store:
        put_named(store, *(f"{number}" for number in range(50)), size_bytes=50_000)
        assert store.size_bytes() > 0.9 * MIB


def test_what_is_pinned_is_never_evicted(folder: StoreFolder) -> None:
    with opened(folder, MIB, "pinned") as store:
        entries = put_named(store, *(f"{number}" for number in range(30)), size_bytes=50_000)
        assert all(store.get(entry.key.id) == entry for entry in entries)
        assert not store.has_room_for(SMALL)


def test_there_is_room_for_an_entry_as_long_as_it_fits(folder: StoreFolder) -> None:
    with opened(folder, MIB, "pinned") as store:
        assert store.has_room_for(entry_of("half", bytes(MIB // 2)))
        assert not store.has_room_for(entry_of("whole", bytes(MIB)))
        put_named(store, "half", size_bytes=MIB // 2)
        assert not store.has_room_for(entry_of("the other half", bytes(MIB // 2)))


@both_sizes
def test_what_has_expired_is_no_longer_had_and_can_be_deleted(
    folder: StoreFolder, entry: Entry
) -> None:
    with opened(folder) as store:
        over = replace(entry, expires_at_s=time.time() - 1)
        store.put(over)
        assert store.get(entry.key.id) is None
        assert not store.has(entry.key.id)
        assert store.read(entry.key.id) == over
        assert store.delete_expired() == 1
        assert store.delete_expired() == 0
        assert folder.ids() == set()
        assert folder.value_files() == []


def test_what_has_not_expired_stays(folder: StoreFolder) -> None:
    with opened(folder) as store:
        for_ever, for_long = SMALL, replace(LARGE, expires_at_s=time.time() + 1000)
        store.put(for_ever)
        store.put(for_long)
        assert store.delete_expired() == 0
        assert store.get(SMALL.key.id) == for_ever
        assert store.get(LARGE.key.id) == for_long


def test_what_has_expired_is_deleted_some_at_a_time(folder: StoreFolder) -> None:
    with opened(folder) as store:
        for number in range(250):
            store.put(replace(entry_of(f"{number}"), expires_at_s=1.0))
        deleted = list(iter(store.delete_expired, 0))
        assert sum(deleted) == 250
        assert len(deleted) > 1
        assert len(store) == 0


def test_rows_tell_of_every_entry_what_it_is(folder: StoreFolder) -> None:
    told = entry_of("told", text="told", words=(WordSpan(0, 4, 0.0, 0.5),))
    with opened(folder) as store:
        entries = [told, LARGE, *put_named(store, *(f"{number}" for number in range(250)))]
        for entry in entries:
            store.put(entry)
        steps = list(store.rows())
        rows = {row.id: row for step in steps for row in step}
    assert len(steps) > 1
    assert set(rows) == {entry.key.id for entry in entries}
    assert rows[told.key.id].about == replace(told.about, words=())
    assert rows[LARGE.key.id] == Row(
        LARGE.key.id,
        "traffic",
        LARGE.size_bytes,
        pytest.approx(LARGE.stored_at_s, abs=0.001),  # type: ignore[arg-type]
        LARGE.about,
    )


def test_rows_may_go_while_they_are_told(folder: StoreFolder) -> None:
    with opened(folder) as store:
        entries = put_named(store, *(f"{number}" for number in range(250)))
        told = store.rows()
        first = next(told)
        for entry in entries:
            store.delete(entry.key.id)
        assert len(first) == 100
        assert list(told) == []


@pytest.mark.parametrize("tag", [None, "", "text", b"\xff", 5, "1.0 5 {}", "x 5 {}", "1.0 x {}"])
def test_a_row_that_is_not_ours_is_told_without_what_it_claims(
    folder: StoreFolder, tag: object
) -> None:
    with opened(folder) as store:
        store.put(SMALL)
        folder.execute("UPDATE Cache SET tag = ?", tag)
        [[row]] = store.rows()
    assert (row.id, row.size_bytes, row.about) == (SMALL.key.id, 0, None)


def test_rows_whose_key_is_no_string_are_not_told_but_can_be_deleted(folder: StoreFolder) -> None:
    with opened(folder) as store:
        store.put(SMALL)
        folder.plant(b"a pickle", 1, b"", raw=0)
        folder.plant(b"bytes", 1, b"", raw=1)
        assert [row.id for step in store.rows() for row in step] == [SMALL.key.id]
        assert sum(iter(store.delete_foreign, 0)) == 2
        assert folder.ids() == {SMALL.key.id}


def test_a_store_knows_whether_its_database_is_still_in_place(folder: StoreFolder) -> None:
    with opened(folder) as store:
        assert store.is_in_place()
        os.rename(folder.database, folder.path / "elsewhere")
        assert not store.is_in_place()
        folder.database.write_bytes(b"another")
        assert not store.is_in_place()
        os.rename(folder.path / "elsewhere", folder.database)
        assert store.is_in_place()


def test_a_database_that_is_set_aside_is_kept_beside_an_empty_one(folder: StoreFolder) -> None:
    with opened(folder) as store:
        for name in ("before", "after"):
            [entry] = put_named(store, name)
            store.set_aside(ValueError("damaged"))
            assert len(store) == 0
            assert mode_of(folder.path) == 0o700
            assert StoreFolder(store.aside).ids() == {entry.key.id}
        store.put(SMALL)
        assert store.get(SMALL.key.id) == SMALL
    assert sorted(path.name for path in folder.path.parent.iterdir()) == ["store", "store.damaged"]


def test_reading_tells_a_damaged_entry_and_getting_deletes_it(folder: StoreFolder) -> None:
    with opened(folder) as store:
        store.put(SMALL)
        folder.overwrite(SMALL, b"damaged")
        with pytest.raises(CorruptEntry):
            store.read(SMALL.key.id)
        assert folder.ids() == {SMALL.key.id}
        with pytest.raises(CorruptEntry):
            store.get(SMALL.key.id)
        assert folder.ids() == set()
