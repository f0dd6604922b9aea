"""The memory tier: what is asked for, within its bytes, under either policy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.cache.entry import Entry
from proxy.cache.key import Key, digest
from proxy.cache.memory import POLICIES, MemoryTier, Policy
from tests.proxy.entries import entry_of

OVERHEAD_BYTES = 1024
NAMES = ("a", "b", "c", "d", "e", "f")

every_policy = pytest.mark.parametrize("policy", POLICIES)


def entry(name: str, size_bytes: int = 0, **about: str) -> Entry:
    return replace(entry_of(name, b"\x00" * size_bytes, **about), stored_at_s=0.0)


def id_of(name: str) -> str:
    return digest(name).id


def room_for(entries: int) -> int:
    return entries * OVERHEAD_BYTES


@every_policy
def test_what_was_put_is_had_back(policy: Policy) -> None:
    tier = MemoryTier(room_for(3), policy)
    tier.put(entry("a"))
    assert tier.get(id_of("a")) == entry("a")
    assert tier.get(id_of("b")) is None


@every_policy
def test_putting_again_replaces(policy: Policy) -> None:
    tier = MemoryTier(room_for(3), policy)
    tier.put(entry("a", text="old"))
    tier.put(entry("a", text="new"))
    assert tier.get(id_of("a")) == entry("a", text="new")


@every_policy
def test_what_was_put_is_found_by_its_id_whatever_its_check(policy: Policy) -> None:
    tier = MemoryTier(room_for(3), policy)
    planted = replace(entry("a"), key=Key(id_of("a"), digest("another").check))
    tier.put(planted)
    assert tier.get(id_of("a")) is planted
    tier.put(entry("a"))
    assert tier.get(id_of("a")) == entry("a")


@every_policy
def test_a_tier_that_was_cleared_is_empty_and_takes_entries_again(policy: Policy) -> None:
    tier = MemoryTier(room_for(3), policy)
    for name in NAMES:
        tier.put(entry(name))
    tier.clear()
    assert [tier.get(id_of(name)) for name in NAMES] == [None] * len(NAMES)
    assert (len(tier), tier.size_bytes()) == (0, 0)
    tier.put(entry("a"))
    assert tier.get(id_of("a")) == entry("a")


@every_policy
def test_it_tells_how_many_entries_it_holds_and_what_they_take(policy: Policy) -> None:
    tier = MemoryTier(room_for(10), policy)
    assert (len(tier), tier.size_bytes()) == (0, 0)
    tier.put(entry("a", 100))
    tier.put(entry("b", 50))
    assert (len(tier), tier.size_bytes()) == (2, 150 + 2 * OVERHEAD_BYTES)
    tier.put(entry("a", 10))
    assert (len(tier), tier.size_bytes()) == (2, 60 + 2 * OVERHEAD_BYTES)


@every_policy
def test_the_size_it_tells_is_that_of_what_it_kept(policy: Policy) -> None:
    tier = MemoryTier(room_for(5), policy)
    for number in range(100):
        tier.put(entry(f"{number}"))
        assert tier.size_bytes() == len(tier) * OVERHEAD_BYTES <= room_for(5)


@every_policy
def test_an_entry_larger_than_the_tier_is_not_kept_and_drives_nothing_out(policy: Policy) -> None:
    tier = MemoryTier(room_for(2), policy)
    tier.put(entry("a"))
    tier.put(entry("b", OVERHEAD_BYTES + 1))
    assert tier.get(id_of("b")) is None
    assert tier.get(id_of("a")) == entry("a")


@every_policy
def test_an_entry_just_as_large_as_the_tier_is_kept(policy: Policy) -> None:
    tier = MemoryTier(room_for(2), policy)
    tier.put(entry("a", OVERHEAD_BYTES))
    assert tier.get(id_of("a")) is not None


@every_policy
def test_a_tier_of_no_bytes_keeps_nothing(policy: Policy) -> None:
    tier = MemoryTier(0, policy)
    tier.put(entry("a"))
    assert tier.get(id_of("a")) is None


def test_under_lru_what_was_used_longest_ago_goes_first() -> None:
    tier = MemoryTier(room_for(3), "lru")
    for name in "abc":
        tier.put(entry(name))
    tier.get(id_of("a"))
    tier.put(entry("d"))
    assert [name for name in "abcd" if tier.get(id_of(name))] == ["a", "c", "d"]


def test_under_tiny_lfu_a_flood_of_texts_said_once_leaves_what_is_asked_for_often() -> None:
    tier = MemoryTier(room_for(10), "tiny_lfu")
    tier.put(entry("greeting"))
    for number in range(1000):
        assert tier.get(id_of("greeting")) is not None
        tier.put(entry(f"said once: {number}"))


class Bounded(RuleBasedStateMachine):
    """Whatever is put and asked for, in whatever order, of whatever size."""

    policy: Policy
    ROOM_BYTES = room_for(4)

    def __init__(self) -> None:
        super().__init__()
        self.tier = MemoryTier(self.ROOM_BYTES, self.policy)
        self.last_put: dict[str, Entry] = {}

    @rule(name=st.sampled_from(NAMES), size_bytes=st.sampled_from([0, 1, 1000, 2000, 3072]))
    def put(self, name: str, size_bytes: int) -> None:
        self.last_put[name] = entry(name, size_bytes, text=str(len(self.last_put)))
        self.tier.put(self.last_put[name])

    @rule()
    def clear(self) -> None:
        self.tier.clear()
        self.last_put.clear()

    @invariant()
    def never_holds_more_than_its_bytes(self) -> None:
        held = [kept for name in NAMES if (kept := self.tier.get(id_of(name)))]
        assert sum(kept.size_bytes + OVERHEAD_BYTES for kept in held) <= self.ROOM_BYTES
        assert self.tier.size_bytes() <= self.ROOM_BYTES

    @invariant()
    def gives_back_what_was_put_last_or_nothing(self) -> None:
        for name in NAMES:
            kept = self.tier.get(id_of(name))
            assert kept is None or kept == self.last_put[name]


class _BoundedTinyLfu(Bounded):
    policy: Policy = "tiny_lfu"


class _BoundedLru(Bounded):
    policy: Policy = "lru"


TestBoundedTinyLfu = _BoundedTinyLfu.TestCase
TestBoundedLru = _BoundedLru.TestCase
