"""The memory tier: what is asked for, within its bytes, under either policy."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.cache.entry import Entry
from proxy.cache.memory import POLICIES, MemoryTier, Policy

OVERHEAD_BYTES = 1024
KEYS = ("a", "b", "c", "d", "e", "f")

every_policy = pytest.mark.parametrize("policy", POLICIES)


def entry(key: str, size_bytes: int = 0, about: str = "") -> Entry:
    return Entry(key, b"\x00" * size_bytes, {"about": about})


def room_for(entries: int) -> int:
    return entries * OVERHEAD_BYTES


@every_policy
def test_what_was_put_is_had_back(policy: Policy) -> None:
    tier = MemoryTier(room_for(3), policy)
    tier.put(entry("a"))
    assert tier.get("a") == entry("a")
    assert tier.get("b") is None


@every_policy
def test_putting_again_replaces(policy: Policy) -> None:
    tier = MemoryTier(room_for(3), policy)
    tier.put(entry("a", about="old"))
    tier.put(entry("a", about="new"))
    assert tier.get("a") == entry("a", about="new")


@every_policy
def test_what_was_deleted_is_gone(policy: Policy) -> None:
    tier = MemoryTier(room_for(3), policy)
    tier.put(entry("a"))
    tier.delete("a")
    tier.delete("b")
    assert tier.get("a") is None


@every_policy
def test_an_entry_larger_than_the_tier_is_not_kept_and_drives_nothing_out(policy: Policy) -> None:
    tier = MemoryTier(room_for(2), policy)
    tier.put(entry("a"))
    tier.put(entry("b", OVERHEAD_BYTES + 1))
    assert tier.get("b") is None
    assert tier.get("a") == entry("a")


@every_policy
def test_an_entry_just_as_large_as_the_tier_is_kept(policy: Policy) -> None:
    tier = MemoryTier(room_for(2), policy)
    tier.put(entry("a", OVERHEAD_BYTES))
    assert tier.get("a") is not None


@every_policy
def test_a_tier_of_no_bytes_keeps_nothing(policy: Policy) -> None:
    tier = MemoryTier(0, policy)
    tier.put(entry("a"))
    assert tier.get("a") is None


def test_under_lru_what_was_used_longest_ago_goes_first() -> None:
    tier = MemoryTier(room_for(3), "lru")
    for key in "abc":
        tier.put(entry(key))
    tier.get("a")
    tier.put(entry("d"))
    assert [key for key in "abcd" if tier.get(key)] == ["a", "c", "d"]


def test_under_tiny_lfu_a_flood_of_texts_said_once_leaves_what_is_asked_for_often() -> None:
    tier = MemoryTier(room_for(10), "tiny_lfu")
    tier.put(entry("greeting"))
    for number in range(1000):
        assert tier.get("greeting") is not None
        tier.put(entry(f"said once: {number}"))


class Bounded(RuleBasedStateMachine):
    """Whatever is put and asked for, in whatever order, of whatever size."""

    policy: Policy
    ROOM_BYTES = room_for(4)

    def __init__(self) -> None:
        super().__init__()
        self.tier = MemoryTier(self.ROOM_BYTES, self.policy)
        self.last_put: dict[str, Entry] = {}

    @rule(key=st.sampled_from(KEYS), size_bytes=st.sampled_from([0, 1, 1000, 2000, 3072]))
    def put(self, key: str, size_bytes: int) -> None:
        self.last_put[key] = entry(key, size_bytes, about=str(len(self.last_put)))
        self.tier.put(self.last_put[key])

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: str) -> None:
        self.tier.delete(key)
        self.last_put.pop(key, None)

    @invariant()
    def never_holds_more_than_its_bytes(self) -> None:
        held = [kept for key in KEYS if (kept := self.tier.get(key))]
        assert sum(kept.size_bytes + OVERHEAD_BYTES for kept in held) <= self.ROOM_BYTES

    @invariant()
    def gives_back_what_was_put_last_or_nothing(self) -> None:
        for key in KEYS:
            kept = self.tier.get(key)
            assert kept is None or kept == self.last_put[key]


class _BoundedTinyLfu(Bounded):
    policy: Policy = "tiny_lfu"


class _BoundedLru(Bounded):
    policy: Policy = "lru"


TestBoundedTinyLfu = _BoundedTinyLfu.TestCase
TestBoundedLru = _BoundedLru.TestCase
