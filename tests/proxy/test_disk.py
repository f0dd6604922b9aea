"""The disk tier: keeps what it was given, what is pinned whatever traffic does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.cache.counts import Counts
from proxy.cache.disk import DiskTier
from proxy.cache.entry import Entry
from proxy.cache.store import Tier
from tests.proxy.entries import entry_of
from tests.proxy.storage import (
    FILLER_BYTES,
    LARGE,
    MIB,
    SMALL,
    TIERS,
    Audio,
    both_sizes,
    both_tiers,
    fill,
    write,
)


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    return Audio(tmp_path / "audio")


@asynccontextmanager
async def stalled(tier: DiskTier) -> AsyncIterator[None]:
    """The disk takes its time."""
    begun, go_on = threading.Event(), threading.Event()

    def stall() -> None:
        begun.set()
        go_on.wait()

    stalling = asyncio.create_task(tier.run(stall))
    await asyncio.to_thread(begun.wait)
    try:
        yield
    finally:
        go_on.set()
        await stalling


@both_tiers
async def test_what_was_put_is_had_back(audio: Audio, where: Tier) -> None:
    async with audio.opened() as tier:
        for entry in (SMALL, LARGE):
            assert await tier.get(entry.key.id) is None
            await write(tier, entry, where)
            assert await tier.get(entry.key.id) == entry
            assert audio.where(entry) == [where]
        assert tier.counts == Counts(stored=2)


@both_tiers
async def test_entries_survive_a_restart(audio: Audio, where: Tier) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL, where)
        await write(tier, LARGE, where)
    async with audio.opened() as tier:
        assert await tier.get(SMALL.key.id) == SMALL
        assert await tier.get(LARGE.key.id) == LARGE


async def test_what_was_put_last_is_written_before_it_closes(audio: Audio) -> None:
    async with audio.opened() as tier:
        for number in range(100):
            tier.put(entry_of(f"{number}"))
    async with audio.opened() as tier:
        assert await tier.get(entry_of("99").key.id) is not None


async def test_its_folder_holds_a_lock_its_owner_and_two_stores(audio: Audio) -> None:
    async with audio.opened():
        names = {path.name for path in audio.path.iterdir()}
        assert names == {"lock", "owner.json", "pinned", "traffic"}
    names = {path.name for path in audio.path.iterdir()}
    assert names == {"lock", "pinned", "traffic"}


async def test_nobody_else_can_look_into_its_folder(audio: Audio) -> None:
    audio.path.mkdir(mode=0o755)
    async with audio.opened() as tier:
        await write(tier, LARGE)
        assert [path.stat().st_mode & 0o777 for path in (audio.path, audio["traffic"].path)] == [
            0o700,
            0o700,
        ]
        assert (audio.path / "lock").stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    tier = Audio(tmp_path / "file" / "audio").tier()
    with pytest.raises(OSError):
        await tier.open()
    await tier.close()


@pytest.mark.parametrize("store", ["pinned", "traffic"])
async def test_a_store_that_cannot_be_made_is_an_error_at_the_start_and_lets_go_of_the_folder(
    audio: Audio, store: Tier
) -> None:
    audio.path.mkdir()
    audio[store].path.write_text("in the way")
    tier = audio.tier()
    with pytest.raises(OSError, match=store):
        await tier.open()
    audio[store].path.unlink()
    async with audio.opened() as another:
        await write(another, SMALL)
        assert await another.get(SMALL.key.id) == SMALL
    await tier.close()


async def test_traffic_stays_within_its_bytes(audio: Audio) -> None:
    async with audio.opened(traffic_bytes=MIB) as tier:
        entries = await fill(tier, 4 * MIB)
        assert await tier.get(entries[-1].key.id) == entries[-1]
        assert await tier.get(entries[0].key.id) is None
        assert sum(file.stat().st_size for file in audio["traffic"].value_files()) <= MIB
        assert tier.counts == Counts(stored=len(entries))


async def test_what_is_pinned_survives_a_flood_of_traffic(audio: Audio) -> None:
    async with audio.opened(traffic_bytes=MIB) as tier:
        pinned = [SMALL, *await fill(tier, 3 * MIB, "pinned", "pinned")]
        await write(tier, SMALL, "pinned")
        await fill(tier, 5 * MIB)
        for entry in pinned:
            assert await tier.get(entry.key.id) == entry
        assert sum(file.stat().st_size for file in audio["traffic"].value_files()) <= MIB


@both_sizes
async def test_what_is_pinned_stays_so_when_it_is_put_again(audio: Audio, entry: Entry) -> None:
    async with audio.opened() as tier:
        await write(tier, entry, "pinned")
        again = replace(entry, payload=entry.payload[::-1], digest="")
        await write(tier, again)
        assert audio.where(entry) == ["pinned"]
        assert await tier.get(entry.key.id) == again


async def test_what_is_pinned_has_no_end(audio: Audio) -> None:
    soon = replace(SMALL, expires_at_s=time.time() + 1000)
    async with audio.opened() as tier:
        await write(tier, soon, "pinned")
        assert await tier.get(SMALL.key.id) == SMALL
        await write(tier, soon)
        assert await tier.get(SMALL.key.id) == SMALL


@both_sizes
async def test_putting_as_pinned_moves_it_out_of_traffic(audio: Audio, entry: Entry) -> None:
    async with audio.opened() as tier:
        await write(tier, entry)
        await write(tier, entry, "pinned")
        assert audio.where(entry) == ["pinned"]
        assert audio["traffic"].value_files() == []


@both_sizes
async def test_pinning_moves_an_entry_from_traffic(audio: Audio, entry: Entry) -> None:
    async with audio.opened() as tier:
        await write(tier, replace(entry, expires_at_s=time.time() + 1000))
        assert await tier.pin(entry.key.id)
        assert audio.where(entry) == ["pinned"]
        assert await tier.get(entry.key.id) == entry
        assert audio["traffic"].value_files() == []


async def test_pinning_what_is_pinned_writes_nothing(audio: Audio) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE, "pinned")
        with audio["pinned"].locked():
            assert await tier.pin(LARGE.key.id)
        assert tier.counts == Counts(stored=1)


async def test_there_is_nothing_to_pin_where_nothing_is_or_it_is_damaged(audio: Audio) -> None:
    async with audio.opened() as tier:
        assert not await tier.pin(SMALL.key.id)
        await write(tier, SMALL)
        audio["traffic"].overwrite(SMALL, b"damaged")
        assert not await tier.pin(SMALL.key.id)
        await write(tier, replace(SMALL, expires_at_s=time.time() - 1))
        assert not await tier.pin(SMALL.key.id)
        assert audio.where(SMALL) in ([], ["traffic"])


async def test_what_no_longer_fits_among_what_is_pinned_is_kept_among_traffic(
    audio: Audio,
) -> None:
    async with audio.opened(pinned_bytes=MIB) as tier:
        entries = await fill(tier, 2 * MIB, where="pinned")
        places = [audio.where(entry) for entry in entries]
        count = places.count(["pinned"])
        assert 10 < count <= MIB // FILLER_BYTES
        assert places == [["pinned"]] * count + [["traffic"]] * (len(entries) - count)
        for entry in entries:
            assert await tier.get(entry.key.id) == entry
        assert tier.counts == Counts(stored=len(entries))


async def test_what_is_pinned_can_be_replaced_though_there_is_no_more_room(audio: Audio) -> None:
    async with audio.opened(pinned_bytes=MIB) as tier:
        first, *_ = await fill(tier, 2 * MIB, where="pinned")
        again = replace(first, payload=b"y" * FILLER_BYTES, digest="")
        for where in TIERS:
            await write(tier, again, where)
            assert audio.where(first) == ["pinned"]
            assert await tier.get(first.key.id) == again


@both_tiers
async def test_an_entry_larger_than_its_store_is_not_kept(audio: Audio, where: Tier) -> None:
    async with audio.opened(traffic_bytes=MIB, pinned_bytes=MIB) as tier:
        await write(tier, SMALL)
        await write(tier, entry_of("too large", bytes(MIB + 1)), where)
        assert audio.where(entry_of("too large")) == []
        assert await tier.get(SMALL.key.id) == SMALL
        assert tier.counts == Counts(stored=1, dropped=1)


async def test_what_has_expired_is_not_served_and_goes_with_the_upkeep(audio: Audio) -> None:
    async with audio.opened() as tier:
        await write(tier, replace(LARGE, expires_at_s=time.time() - 1))
        for number in range(150):
            tier.put(replace(entry_of(f"{number}"), expires_at_s=time.time() - 1))
        await write(tier, replace(SMALL, expires_at_s=time.time() + 1000))
        assert await tier.get(LARGE.key.id) is None
        assert len(audio["traffic"].ids()) == 152
        await tier.upkeep()
        assert audio["traffic"].ids() == {SMALL.key.id}
        assert audio["traffic"].value_files() == []
        assert await tier.get(SMALL.key.id) is not None


async def test_what_memory_serves_is_kept_from_eviction(audio: Audio) -> None:
    async with audio.opened(traffic_bytes=MIB) as tier:
        await write(tier, SMALL)
        await write(tier, LARGE)
        for round in range(8):
            tier.touch([SMALL.key.id, LARGE.key.id, "nothing"])
            await fill(tier, MIB // 2, f"{round}")
        assert await tier.get(SMALL.key.id) == SMALL
        assert await tier.get(LARGE.key.id) == LARGE
        assert tier.counts.faults == 0


async def test_touching_makes_nothing_that_is_not_there(audio: Audio) -> None:
    async with audio.opened() as tier:
        tier.touch(f"{number}" for number in range(1000))
        await tier.run(lambda: None)
        assert audio["traffic"].ids() == set()


async def test_only_so_many_entries_wait_to_be_written(audio: Audio) -> None:
    async with audio.opened() as tier:
        async with stalled(tier):
            for number in range(300):
                tier.put(entry_of(f"{number}"))
            assert tier.counts == Counts(dropped=300 - 256)
        await tier.run(lambda: None)
        await write(tier, SMALL)
        assert tier.counts == Counts(stored=256 + 1, dropped=300 - 256)


async def test_a_disk_that_does_not_answer_is_a_miss_in_good_time(audio: Audio) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL)
        async with stalled(tier):
            assert await tier.get(SMALL.key.id) is None
        assert tier.counts.faults == 1
        assert await tier.get(SMALL.key.id) == SMALL


async def test_work_that_takes_long_lets_others_in_between(audio: Audio) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL)
        seen: list[object] = []
        async for step in tier.step_by_step(iter(range(5))):
            assert await tier.get(SMALL.key.id) == SMALL
            seen.append(step)
        assert seen == [0, 1, 2, 3, 4]
