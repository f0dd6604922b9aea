"""Whatever happens to what lies on disk, the disk tier makes it a miss, and goes on."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from diskcache.core import MODE_BINARY, MODE_PICKLE, MODE_RAW, MODE_TEXT
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxy.cache.counts import Counts
from proxy.cache.entry import CorruptEntry, Entry, pack
from proxy.cache.store import Store, Tier
from tests.proxy.storage import (
    LARGE,
    MIB,
    SMALL,
    Audio,
    StoreFolder,
    both_sizes,
    both_tiers,
    fill,
    write,
)


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    return Audio(tmp_path / "audio")


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self._path), "w")


@both_tiers
@both_sizes
async def test_a_damaged_entry_is_a_miss_and_deleted(
    audio: Audio, entry: Entry, where: Tier
) -> None:
    folder = audio[where]
    async with audio.opened() as tier:
        await write(tier, entry, where)
        data = bytearray(folder.stored(entry))
        data[len(data) // 2] ^= 0x10
        folder.overwrite(entry, bytes(data))
        assert await tier.get(entry.key.id) is None
        assert folder.ids() == set()
        assert folder.value_files() == []
        assert (tier.counts.corrupt, tier.counts.faults) == (1, 0)
        await write(tier, entry, where)
        assert await tier.get(entry.key.id) == entry


@both_tiers
@both_sizes
@given(data=st.data())
@hypothesis_settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_bit_flipped_anywhere_is_a_miss_after_a_restart_too(
    audio: Audio, entry: Entry, where: Tier, data: st.DataObject
) -> None:
    folder = audio[where]
    async with audio.opened() as tier:
        await write(tier, entry, where)
    flipped = bytearray(folder.stored(entry))
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    folder.overwrite(entry, bytes(flipped))
    async with audio.opened() as tier:
        assert await tier.get(entry.key.id) is None
        assert tier.counts.corrupt == 1
    assert folder.ids() == set()


@both_tiers
@both_sizes
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
async def test_a_truncated_entry_is_a_miss_and_deleted(
    audio: Audio, entry: Entry, where: Tier, share: float
) -> None:
    folder = audio[where]
    async with audio.opened() as tier:
        await write(tier, entry, where)
        data = folder.stored(entry)
        folder.overwrite(entry, data[: int(len(data) * share)])
        assert await tier.get(entry.key.id) is None
        assert folder.ids() == set()
        assert tier.counts.corrupt == 1


@both_tiers
async def test_an_entry_under_another_id_is_a_miss(audio: Audio, where: Tier) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL, where)
        audio[where].execute("UPDATE Cache SET key = ?", "c" * 32)
        assert await tier.get("c" * 32) is None
        assert audio[where].ids() == set()
        assert tier.counts.corrupt == 1


async def test_an_entry_that_is_damaged_among_what_is_pinned_may_be_whole_among_traffic(
    audio: Audio,
) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL)
        audio["pinned"].plant(SMALL.key.id, MODE_RAW, b"damaged")
        assert await tier.get(SMALL.key.id) == SMALL
        assert tier.counts.corrupt == 1


@both_tiers
async def test_a_planted_pickle_is_never_run(audio: Audio, tmp_path: Path, where: Tier) -> None:
    proof = tmp_path / "it ran"
    bomb = pickle.dumps(Bomb(proof))
    folder = audio[where]
    async with audio.opened():
        pass
    (folder.path / "bomb.val").write_bytes(bomb)
    folder.plant("in the row", MODE_PICKLE, bomb)
    folder.plant("in a file", MODE_PICKLE, filename="bomb.val")
    folder.plant(bomb.decode("latin-1"), MODE_RAW, b"its key is the pickle", raw=0)
    async with audio.opened(traffic_bytes=MIB) as tier:
        for id in ("in the row", "in a file", bomb.decode("latin-1")):
            assert await tier.get(id) is None
            assert not await tier.pin(id)
        await fill(tier, 2 * MIB, where=where)
        await tier.sweep()
        await tier.upkeep()
    assert folder.ids().isdisjoint({"in the row", "in a file"})
    assert not proof.exists()
    with pickle.loads(bomb):  # It would have worked.
        assert proof.exists()


@both_tiers
@pytest.mark.parametrize("mode", [MODE_BINARY, MODE_TEXT])
@pytest.mark.parametrize("how", ["relative", "absolute", "through a link"])
async def test_a_row_that_points_outside_is_neither_read_nor_deleted_there(
    audio: Audio, tmp_path: Path, mode: int, how: str, where: Tier
) -> None:
    async with audio.opened():
        pass
    outside = tmp_path / "outside.val"
    outside.write_bytes(pack(SMALL))  # What is read of it would be a hit.
    (audio[where].path / "link").symlink_to(tmp_path)
    filename = {
        "relative": "../../outside.val",
        "absolute": str(outside),
        "through a link": "link/outside.val",
    }[how]
    audio[where].plant(SMALL.key.id, mode, filename=filename)
    async with audio.opened() as tier:
        assert await tier.get(SMALL.key.id) is None
    assert outside.read_bytes() == pack(SMALL)
    assert audio[where].ids() == set()


@both_tiers
async def test_a_row_that_points_into_the_other_store_is_not_read(
    audio: Audio, where: Tier
) -> None:
    other: Tier = "traffic" if where == "pinned" else "pinned"
    async with audio.opened() as tier:
        await write(tier, LARGE, other)
        [file] = audio[other].value_files()
        filename = f"../{other}/{file.relative_to(audio[other].path)}"
        audio[where].plant("planted", MODE_BINARY, filename=filename)
        assert await tier.get("planted") is None
        assert await tier.get(LARGE.key.id) == LARGE


async def test_eviction_deletes_nothing_outside(audio: Audio, tmp_path: Path) -> None:
    async with audio.opened():
        pass
    outside = tmp_path / "outside.val"
    outside.write_bytes(b"not ours")
    audio["traffic"].plant("planted", MODE_BINARY, filename="../../outside.val")
    async with audio.opened(traffic_bytes=MIB) as tier:
        await fill(tier, 2 * MIB)
    assert "planted" not in audio["traffic"].ids()
    assert outside.read_bytes() == b"not ours"


@both_tiers
@pytest.mark.parametrize("value", ["text", 5, 1.5, b"", None])
async def test_a_row_that_holds_no_entry_is_a_miss_and_deleted(
    audio: Audio, value: object, where: Tier
) -> None:
    async with audio.opened() as tier:
        audio[where].plant("planted", MODE_RAW, value)
        assert await tier.get("planted") is None
        assert audio[where].ids() == set()


anything = (
    st.none() | st.integers(-9, 9) | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
)
modes = st.integers(0, 7) | anything
filenames = (
    st.sampled_from(["", ".", "..", "/", "a\0b.val", "loop/x.val", "cache.db", "x" * 300 + ".val"])
    | anything
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store("traffic", tmp_path / "store", MIB)
    store.open()
    (store.directory / "loop").symlink_to(store.directory / "loop")
    yield store
    store.close()


@given(mode=modes, value=anything, filename=filenames)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_that_holds_anything_is_no_entry_and_no_error_and_can_be_replaced(
    store: Store, mode: object, value: object, filename: object
) -> None:
    folder = StoreFolder(store.directory)
    folder.plant(SMALL.key.id, mode, value, filename)
    with pytest.raises(CorruptEntry):
        store.get(SMALL.key.id)
    assert not store.has(SMALL.key.id)
    folder.plant(SMALL.key.id, mode, value, filename)
    store.put(SMALL)
    assert store.get(SMALL.key.id) == SMALL
    assert store.is_in_place()


@both_tiers
async def test_a_value_file_that_is_gone_is_a_miss(audio: Audio, where: Tier) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        audio[where].value_files()[0].unlink()
        assert await tier.get(LARGE.key.id) is None
        await write(tier, LARGE, where)
        assert await tier.get(LARGE.key.id) == LARGE


@both_tiers
async def test_a_value_file_that_cannot_be_read_is_a_miss(audio: Audio, where: Tier) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        [file] = audio[where].value_files()
        file.unlink()
        file.mkdir()
        assert await tier.get(LARGE.key.id) is None


@both_tiers
async def test_a_database_that_somebody_else_locks_takes_nothing_and_is_no_error(
    audio: Audio, where: Tier
) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL, where)
        with audio[where].locked():
            await write(tier, LARGE, where)
            assert await tier.get(SMALL.key.id) == SMALL
            assert await tier.get(LARGE.key.id) is None
            assert tier.counts == Counts(stored=1, dropped=1, faults=1)
            tier.touch([SMALL.key.id])
            await tier.upkeep()
        assert audio[where].value_files() == []
        await write(tier, LARGE, where)
        assert await tier.get(LARGE.key.id) == LARGE


async def test_a_database_whose_settings_are_damaged_while_it_is_open_costs_what_it_held(
    audio: Audio,
) -> None:
    """diskcache stumbles over that with an error that is none of a storage."""
    async with audio.opened() as tier:
        await write(tier, LARGE)
        audio["traffic"].execute("DELETE FROM Settings WHERE key = 'size'")
        await write(tier, SMALL)
        await write(tier, SMALL)
        assert await tier.get(SMALL.key.id) == SMALL
        assert tier.counts.faults > 0
