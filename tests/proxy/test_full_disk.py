"""A disk without room: nothing is kept, nothing is torn, and once there is room all is well.

The room ends where no file of this process may grow any more, which the kernel refuses as it does
on a full disk.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cache.counts import Counts
from proxy.cache.entry import Entry
from proxy.cache.store import Tier
from tests.proxy.entries import entry_of
from tests.proxy.storage import (
    LARGE,
    SMALL,
    Audio,
    both_sizes,
    both_tiers,
    no_file_beyond,
    write,
)

ROOMS_BYTES = [0, 1, 4096, 8192, 40_000, 100_000]


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    return Audio(tmp_path / "audio")


def many(prefix: str) -> list[Entry]:
    """In rows, just above what goes into a row, and large."""
    sizes_bytes = (10, 10_000, 33_000, 200_000)
    return [entry_of(f"{prefix} {each}", bytes(each)) for each in sizes_bytes]


@both_tiers
@both_sizes
async def test_what_finds_no_room_is_counted_and_leaves_nothing(
    audio: Audio, entry: Entry, where: Tier
) -> None:
    async with audio.opened() as tier:
        with no_file_beyond(4096):
            await write(tier, entry, where)
            assert await tier.get(entry.key.id) is None
        assert tier.counts == Counts(dropped=1, faults=1)
        assert audio[where].value_files() == []
        assert audio.where(entry) == []


@both_tiers
async def test_what_was_kept_before_is_served_while_there_is_no_room(
    audio: Audio, where: Tier
) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL, where)
        await write(tier, LARGE, where)
        with no_file_beyond(0):
            await write(tier, entry_of("more"), where)
            assert await tier.get(SMALL.key.id) == SMALL
            assert await tier.get(LARGE.key.id) == LARGE


@both_tiers
async def test_what_is_replaced_without_room_is_still_had_whole(audio: Audio, where: Tier) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        with no_file_beyond(4096):
            await write(tier, entry_of("large", LARGE.payload[::-1]), where)
            assert await tier.get(LARGE.key.id) == LARGE
        assert len(audio[where].value_files()) == 1


@both_tiers
@pytest.mark.parametrize("room_bytes", ROOMS_BYTES)
async def test_writing_goes_on_once_there_is_room_again(
    audio: Audio, room_bytes: int, where: Tier
) -> None:
    async with audio.opened() as tier:
        for round in range(3):
            with no_file_beyond(room_bytes):
                for entry in many(f"without room {round}"):
                    await write(tier, entry, where)
            for entry in many(f"with room {round}"):
                await write(tier, entry, where)
                assert await tier.get(entry.key.id) == entry


@both_tiers
@pytest.mark.parametrize("room_bytes", ROOMS_BYTES)
async def test_after_a_restart_everything_is_whole_or_a_miss(
    audio: Audio, room_bytes: int, where: Tier
) -> None:
    async with audio.opened() as tier:
        for entry in many("before"):
            await write(tier, entry, where)
        with no_file_beyond(room_bytes):
            for entry in many("without room"):
                await write(tier, entry, where)
            told = [await tier.get(entry.key.id) for entry in many("without room")]
        stored = tier.counts.stored
    async with audio.opened() as tier:
        found = [await tier.get(entry.key.id) for entry in (*many("before"), *many("without room"))]
        assert [entry.payload if entry else None for entry in found] == [
            entry.payload if entry else None for entry in (*many("before"), *told)
        ]
        assert sum(entry is not None for entry in found) == stored
        assert tier.counts == Counts()
        await tier.sweep()
        assert tier.counts.orphans == 0


@both_tiers
async def test_pinning_without_room_leaves_it_where_it_is(audio: Audio, where: Tier) -> None:
    async with audio.opened() as tier:
        await write(tier, LARGE, where)
        with no_file_beyond(0):
            assert await tier.pin(LARGE.key.id)
            assert await tier.get(LARGE.key.id) == LARGE
        assert audio.where(LARGE) == [where]


@pytest.mark.parametrize("room_bytes", [0, 4096, 8192, 20_000, 32_768])
async def test_no_room_at_the_start_is_no_error_and_the_upkeep_opens_it_once_there_is(
    audio: Audio, room_bytes: int
) -> None:
    async with audio.opened() as tier:
        await write(tier, SMALL, "pinned")
    with no_file_beyond(room_bytes):
        tier = audio.tier()
        await tier.open()
        await tier.upkeep()
        await write(tier, LARGE)
        await write(tier, LARGE, "pinned")
        assert await tier.get(LARGE.key.id) is None
        assert not await tier.pin(LARGE.key.id)
        assert tier.counts.dropped == 2
    await tier.upkeep()
    assert await tier.get(SMALL.key.id) == SMALL
    await write(tier, LARGE)
    assert await tier.get(LARGE.key.id) == LARGE
    await tier.close()


@pytest.mark.parametrize("room_bytes", [0, 4096, 8192, 20_000, 40_000])
async def test_a_folder_that_could_not_be_filled_at_the_first_start_is_filled_later(
    audio: Audio, room_bytes: int
) -> None:
    with no_file_beyond(room_bytes):
        tier = audio.tier()
        await tier.open()
        await write(tier, SMALL)
    await tier.upkeep()
    places: list[tuple[Entry, Tier]] = [(SMALL, "pinned"), (LARGE, "traffic")]
    for entry, where in places:
        await write(tier, entry, where)
        assert audio.where(entry) == [where]
    await tier.close()
    async with audio.opened() as tier:
        assert await tier.get(SMALL.key.id) == SMALL
        assert await tier.get(LARGE.key.id) == LARGE


async def test_who_has_a_full_folder_has_it_all_the_same(audio: Audio) -> None:
    with no_file_beyond(0):
        async with audio.opened():
            with pytest.raises(OSError, match="in use by another process"):
                async with audio.opened():
                    pass
