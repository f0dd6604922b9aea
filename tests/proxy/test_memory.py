"""The memory tier: the entries used last, within its bytes."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from proxy.cache.entry import Entry
from proxy.cache.memory import MemoryTier

OVERHEAD_BYTES = 1024
KEYS = ("a", "b", "c", "d", "e", "f")


def entry(key: str, size_bytes: int = 0, about: str = "") -> Entry:
    return Entry(key, b"\x00" * size_bytes, {"about": about})


def room_for(entries: int) -> int:
    return entries * OVERHEAD_BYTES


def test_what_was_put_is_had_back() -> None:
    tier = MemoryTier(room_for(3))
    tier.put(entry("a"))
    assert tier.get("a") == entry("a")
    assert tier.get("b") is None


def test_the_least_recently_used_goes_first() -> None:
    tier = MemoryTier(room_for(3))
    for key in "abc":
        tier.put(entry(key))
    tier.get("a")
    tier.put(entry("d"))
    assert [key for key in "abcd" if tier.get(key)] == ["a", "c", "d"]


def test_putting_again_replaces_and_counts_as_use() -> None:
    tier = MemoryTier(room_for(2))
    tier.put(entry("a", about="old"))
    tier.put(entry("b"))
    tier.put(entry("a", about="new"))
    tier.put(entry("c"))
    assert tier.get("a") == entry("a", about="new")
    assert tier.get("b") is None


def test_a_large_entry_makes_room_for_itself() -> None:
    tier = MemoryTier(room_for(4))
    for key in "abcd":
        tier.put(entry(key))
    tier.put(entry("e", 2 * OVERHEAD_BYTES))
    assert [key for key in "abcde" if tier.get(key)] == ["d", "e"]


def test_an_entry_larger_than_the_tier_is_not_kept_and_drives_nothing_out() -> None:
    tier = MemoryTier(room_for(2))
    tier.put(entry("a"))
    tier.put(entry("b", OVERHEAD_BYTES + 1))
    assert tier.get("b") is None
    assert tier.get("a") == entry("a")


def test_an_entry_just_as_large_as_the_tier_is_kept() -> None:
    tier = MemoryTier(room_for(2))
    tier.put(entry("a", OVERHEAD_BYTES))
    assert tier.get("a") is not None


def test_a_tier_of_no_bytes_keeps_nothing() -> None:
    tier = MemoryTier(0)
    tier.put(entry("a"))
    assert tier.get("a") is None


class LikeAnOrderedDict(RuleBasedStateMachine):
    """Against the plainest model: a dictionary in order of use."""

    ROOM_BYTES = room_for(4)

    def __init__(self) -> None:
        super().__init__()
        self.tier = MemoryTier(self.ROOM_BYTES)
        self.model: OrderedDict[str, Entry] = OrderedDict()

    @rule(key=st.sampled_from(KEYS), size_bytes=st.sampled_from([0, 1, 1000, 2000, 3072, 3073]))
    def put(self, key: str, size_bytes: int) -> None:
        put = entry(key, size_bytes)
        self.tier.put(put)
        if self._cost(put) > self.ROOM_BYTES:
            return
        self.model.pop(key, None)
        while self._used() + self._cost(put) > self.ROOM_BYTES:
            self.model.popitem(last=False)
        self.model[key] = put

    @rule(key=st.sampled_from(KEYS))
    def get(self, key: str) -> None:
        assert self.tier.get(key) == self.model.get(key)
        if key in self.model:
            self.model.move_to_end(key)

    def teardown(self) -> None:
        assert {key for key in KEYS if self.tier.get(key)} == set(self.model)

    def _used(self) -> int:
        return sum(map(self._cost, self.model.values()))

    @staticmethod
    def _cost(entry: Entry) -> int:
        return entry.size_bytes + OVERHEAD_BYTES


TestLikeAnOrderedDict = LikeAnOrderedDict.TestCase
