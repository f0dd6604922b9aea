"""Memory in front of disk: what is served from where, and what is kept in either."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from proxy.cache.counts import Counts
from proxy.cache.disk import DiskTier
from proxy.cache.entry import Entry
from proxy.cache.key import Key, digest
from proxy.cache.memory import MemoryTier
from proxy.cache.tiered import Admission, Found, TieredCache
from tests.proxy.entries import entry_of
from tests.proxy.storage import LARGE, MIB, SMALL, Audio, both_sizes, fill, write

DAY_S = 86_400.0


@dataclass
class Clock:
    """Goes on when it is told to."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True, slots=True)
class Tiers:
    """A tiered cache, and the parts it is made of."""

    cache: TieredCache
    memory: MemoryTier
    disk: DiskTier
    clock: Clock = field(default_factory=Clock)

    @property
    def counts(self) -> Counts:
        return self.disk.counts

    async def written(self) -> None:
        """Wait until all that was put is on disk."""
        await self.disk.flush()

    async def is_on_disk(self, entry: Entry) -> bool:
        await self.written()
        return await self.disk.get(entry.key.id) is not None


@dataclass(frozen=True, slots=True)
class Place:
    """Where caches of one test lie."""

    audio: Audio

    @asynccontextmanager
    async def opened(
        self,
        memory_bytes: int = 64 * MIB,
        traffic_bytes: int = 64 * MIB,
        ttl_s: float | None = None,
        admission: Admission = "first",
    ) -> AsyncIterator[Tiers]:
        """As after a restart."""
        async with self.audio.opened(traffic_bytes) as disk:
            memory, clock = MemoryTier(memory_bytes), Clock()
            cache = TieredCache(memory, disk, disk.counts, ttl_s, admission, clock)
            yield Tiers(cache, memory, disk, clock)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(Audio(tmp_path / "audio"))


def planted(entry: Entry) -> Entry:
    """Another entry under the same id, as a text made to collide would have."""
    return replace(
        entry, key=Key(entry.key.id, digest("another").check), payload=b"other", digest=""
    )


@both_sizes
async def test_what_was_put_is_found_in_memory_at_once(place: Place, entry: Entry) -> None:
    async with place.opened() as tiers:
        assert tiers.cache.get_at_once(entry.key) is None
        assert tiers.cache.put(entry)
        assert tiers.cache.get_at_once(entry.key) is entry
        assert await tiers.cache.get(entry.key) == Found(entry, "memory")
        assert tiers.counts.memory_hits == 2


@both_sizes
async def test_what_is_on_disk_is_found_there_once_and_in_memory_from_then_on(
    place: Place, entry: Entry
) -> None:
    async with place.opened() as tiers:
        tiers.cache.put(entry)
    async with place.opened() as tiers:
        assert tiers.cache.get_at_once(entry.key) is None
        assert await tiers.cache.get(entry.key) == Found(entry, "disk")
        assert await tiers.cache.get(entry.key) == Found(entry, "memory")
        assert tiers.counts == Counts(memory_hits=1, disk_hits=1)


async def test_what_is_nowhere_is_a_miss(place: Place) -> None:
    async with place.opened() as tiers:
        assert await tiers.cache.get(SMALL.key) is None
        assert tiers.counts == Counts(misses=1)


async def test_whoever_knows_the_id_alone_finds_what_is_under_it(place: Place) -> None:
    async with place.opened() as tiers:
        assert tiers.cache.peek(SMALL.key.id) is None
        assert await tiers.cache.find(SMALL.key.id) is None
        tiers.disk.put(SMALL)
        assert await tiers.cache.find(SMALL.key.id) == SMALL
        assert tiers.cache.peek(SMALL.key.id) == SMALL


async def test_what_memory_does_not_take_is_found_on_disk(place: Place) -> None:
    async with place.opened(memory_bytes=2000) as tiers:
        assert not tiers.cache.put(LARGE)
        assert await tiers.cache.get(LARGE.key) == Found(LARGE, "disk")


async def test_memory_need_not_take_what_is_asked_for_less_than_what_it_has(place: Place) -> None:
    async with place.opened(memory_bytes=3000) as tiers:
        assert tiers.cache.put(SMALL)
        for _ in range(50):
            assert tiers.cache.get_at_once(SMALL.key)
        taken = [tiers.cache.put(entry_of(f"{number}", bytes(1500))) for number in range(20)]
        assert False in taken
        assert tiers.cache.get_at_once(SMALL.key)


async def test_what_has_expired_is_a_miss_in_either_tier(place: Place) -> None:
    over = replace(SMALL, expires_at_s=time.time() - 1)
    async with place.opened() as tiers:
        tiers.memory.put(over)
        assert tiers.cache.get_at_once(SMALL.key) is None
        assert tiers.cache.peek(SMALL.key.id) is None
        tiers.disk.put(over)
        assert await tiers.cache.get(SMALL.key) is None
        assert await tiers.cache.find(SMALL.key.id) is None
        assert tiers.counts.misses == 1


async def test_what_has_expired_in_memory_may_be_newer_on_disk(place: Place) -> None:
    async with place.opened() as tiers:
        tiers.memory.put(replace(SMALL, expires_at_s=time.time() - 1))
        tiers.disk.put(SMALL)
        assert await tiers.cache.get(SMALL.key) == Found(SMALL, "disk")
        assert await tiers.cache.get(SMALL.key) == Found(SMALL, "memory")


async def put_and_pin(tiers: Tiers, entry: Entry) -> None:
    tiers.cache.put(entry)
    await tiers.cache.pin(entry.key)
    await tiers.written()


async def test_an_entry_is_served_for_as_long_as_it_is_told(place: Place) -> None:
    async with place.opened(ttl_s=DAY_S) as tiers:
        tiers.cache.put(SMALL)
        until = replace(SMALL, expires_at_s=SMALL.stored_at_s + DAY_S)
        assert tiers.cache.get_at_once(SMALL.key) == until
        assert await tiers.disk.get(SMALL.key.id) == until
        old = replace(LARGE, stored_at_s=time.time() - DAY_S - 1)
        tiers.cache.put(old)
        assert await tiers.cache.get(LARGE.key) is None


async def test_what_is_pinned_has_no_end(place: Place) -> None:
    async with place.opened(ttl_s=DAY_S) as tiers:
        await put_and_pin(tiers, SMALL)
        assert await tiers.disk.get(SMALL.key.id) == SMALL


async def test_what_is_put_again_without_being_pinned_still_has_no_end_on_disk(
    place: Place,
) -> None:
    async with place.opened(ttl_s=DAY_S) as tiers:
        await put_and_pin(tiers, SMALL)
        tiers.cache.put(SMALL)
        await tiers.written()
        assert place.audio.where(SMALL) == ["pinned"]
        assert await tiers.disk.get(SMALL.key.id) == SMALL


async def test_without_a_time_to_live_nothing_ends(place: Place) -> None:
    async with place.opened() as tiers:
        ancient = replace(SMALL, stored_at_s=0.0)
        tiers.cache.put(ancient)
        assert tiers.cache.get_at_once(SMALL.key) == ancient
        assert await tiers.disk.get(SMALL.key.id) == ancient


async def test_what_is_asked_for_twice_is_written_to_disk_then(place: Place) -> None:
    async with place.opened(admission="second") as tiers:
        assert tiers.cache.put(SMALL)
        assert not await tiers.is_on_disk(SMALL)
        assert tiers.counts == Counts(withheld=1)
        assert tiers.cache.get_at_once(SMALL.key) is SMALL
        assert await tiers.is_on_disk(SMALL)
        assert tiers.counts == Counts(withheld=1, memory_hits=1, stored=1)


async def test_what_is_made_twice_is_written_to_disk_then(place: Place) -> None:
    """Memory need not have had it in between."""
    async with place.opened(admission="second", memory_bytes=0) as tiers:
        assert not tiers.cache.put(SMALL)
        assert not await tiers.is_on_disk(SMALL)
        tiers.cache.put(SMALL)
        assert await tiers.is_on_disk(SMALL)
        assert tiers.counts.withheld == 1


async def test_what_is_on_disk_is_not_written_again_because_it_is_asked_for(place: Place) -> None:
    async with place.opened(admission="second") as tiers:
        tiers.cache.put(SMALL)
        for _ in range(5):
            await tiers.cache.get(SMALL.key)
        await tiers.written()
        assert tiers.counts.stored == 1
    async with place.opened(admission="second") as tiers:
        for _ in range(5):
            await tiers.cache.get(SMALL.key)
        assert tiers.counts == Counts(disk_hits=1, memory_hits=4)


async def test_what_is_pinned_is_written_the_first_time_and_only_once(place: Place) -> None:
    async with place.opened(admission="second") as tiers:
        await put_and_pin(tiers, SMALL)
        for _ in range(3):
            assert tiers.cache.get_at_once(SMALL.key)
        await tiers.written()
        assert place.audio.where(SMALL) == ["pinned"]
        assert tiers.counts.stored == 1


async def test_another_entry_under_the_same_id_in_memory_is_a_miss_until_it_is_replaced(
    place: Place,
) -> None:
    async with place.opened() as tiers:
        tiers.memory.put(planted(SMALL))
        assert await tiers.cache.get(SMALL.key) is None
        assert tiers.counts == Counts(misses=1, collisions=1)
        assert tiers.cache.put(SMALL)
        assert await tiers.cache.get(SMALL.key) == Found(SMALL, "memory")


@pytest.mark.parametrize("pinned", [False, True])
async def test_another_entry_under_the_same_id_on_disk_is_a_miss_until_it_is_replaced(
    place: Place, pinned: bool
) -> None:
    async with place.opened() as tiers:
        tiers.disk.put(planted(SMALL), pinned)
        assert await tiers.cache.get(SMALL.key) is None
        assert (tiers.counts.misses, tiers.counts.collisions) == (1, 1)
        assert tiers.cache.get_at_once(SMALL.key) is None  # Memory has the other one now.
        tiers.cache.put(SMALL)
        assert tiers.cache.get_at_once(SMALL.key) is SMALL
    async with place.opened() as tiers:
        assert await tiers.cache.get(SMALL.key) == Found(SMALL, "disk")


async def test_two_texts_with_one_id_are_never_served_for_each_other(place: Place) -> None:
    async with place.opened() as tiers:
        other = planted(SMALL)
        for entry in (SMALL, other, SMALL):
            tiers.cache.put(entry)
            assert await tiers.cache.get(entry.key) == Found(entry, "memory")
        assert await tiers.cache.get(other.key) is None


async def test_what_is_forgotten_is_on_disk_still(place: Place) -> None:
    async with place.opened() as tiers:
        tiers.cache.put(SMALL)
        tiers.cache.forget()
        assert len(tiers.memory) == 0
        assert tiers.cache.get_at_once(SMALL.key) is None
        assert await tiers.cache.get(SMALL.key) == Found(SMALL, "disk")


async def test_whoever_asked_before_it_was_forgotten_counts_no_more(place: Place) -> None:
    async with place.opened(admission="second") as tiers:
        tiers.cache.put(SMALL)
        tiers.cache.forget()
        tiers.cache.put(SMALL)
        assert not await tiers.is_on_disk(SMALL)
        assert tiers.counts.withheld == 2


async def test_what_was_made_for_traffic_can_be_pinned(place: Place) -> None:
    async with place.opened(ttl_s=DAY_S) as tiers:
        tiers.cache.put(SMALL)
        await tiers.cache.pin(SMALL.key)
        await tiers.written()
        assert place.audio.where(SMALL) == ["pinned"]
        assert await tiers.disk.get(SMALL.key.id) == SMALL


async def test_what_is_only_in_memory_can_be_pinned(place: Place) -> None:
    async with place.opened(admission="second") as tiers:
        tiers.cache.put(SMALL)
        assert not await tiers.is_on_disk(SMALL)
        await tiers.cache.pin(SMALL.key)
        for _ in range(3):
            assert tiers.cache.get_at_once(SMALL.key)
        await tiers.written()
        assert place.audio.where(SMALL) == ["pinned"]
        assert tiers.counts.stored == 1


async def test_there_is_nothing_to_pin_where_nothing_is(place: Place) -> None:
    async with place.opened() as tiers:
        await tiers.cache.pin(SMALL.key)
        await tiers.written()
        assert place.audio.where(SMALL) == []


async def test_what_memory_serves_again_and_again_is_not_evicted_from_disk(place: Place) -> None:
    async with place.opened(traffic_bytes=MIB) as tiers:
        tiers.cache.put(SMALL)
        for round in range(8):
            tiers.clock.now_s += 31
            assert tiers.cache.get_at_once(SMALL.key)
            await fill(tiers.disk, MIB // 2, f"{round}")
        assert await tiers.is_on_disk(SMALL)


async def test_what_was_served_since_is_told_to_the_disk_all_at_once(place: Place) -> None:
    async with place.opened(traffic_bytes=MIB) as tiers:
        for entry in (SMALL, LARGE):
            await write(tiers.disk, entry)
            assert await tiers.cache.get(entry.key)
        await fill(tiers.disk, MIB // 2, "some")
        assert tiers.cache.get_at_once(LARGE.key)
        tiers.clock.now_s += 31
        assert tiers.cache.get_at_once(SMALL.key)
        await fill(tiers.disk, MIB // 2, "more")
        assert await tiers.is_on_disk(SMALL)
        assert await tiers.is_on_disk(LARGE)


async def test_the_disk_is_not_told_of_every_use(place: Place) -> None:
    async with place.opened(traffic_bytes=MIB) as tiers:
        tiers.cache.put(SMALL)
        for round in range(8):
            assert tiers.cache.get_at_once(SMALL.key)
            await fill(tiers.disk, MIB // 2, f"{round}")
        assert not await tiers.is_on_disk(SMALL)
        assert tiers.cache.get_at_once(SMALL.key)
