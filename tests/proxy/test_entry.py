"""The envelope: what comes back is what was kept, or nothing."""

from __future__ import annotations

import json
import struct

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.entry import CorruptEntry, Entry, pack, unpack

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
entries = st.builds(
    Entry,
    key=st.text(),
    payload=st.binary(),
    about=st.dictionaries(st.text(), json_values, max_size=3),
)

SMALL = Entry("0123abcd", b"\x00\x01sound\xff", {"clips": 2})


@given(entries)
def test_what_was_packed_is_unpacked(entry: Entry) -> None:
    assert unpack(entry.key, pack(entry)) == entry


@given(entries, st.text())
def test_an_entry_is_only_had_by_its_own_key(entry: Entry, key: str) -> None:
    if key == entry.key:
        key += "x"
    with pytest.raises(CorruptEntry, match="another key"):
        unpack(key, pack(entry))


def test_every_truncation_is_noticed() -> None:
    data = pack(SMALL)
    for length in range(len(data)):
        with pytest.raises(CorruptEntry):
            unpack(SMALL.key, data[:length])


def test_every_flipped_bit_is_noticed() -> None:
    data = pack(SMALL)
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            with pytest.raises(CorruptEntry):
                unpack(SMALL.key, bytes(flipped))


@given(st.binary(min_size=1))
def test_what_follows_an_entry_is_noticed(more: bytes) -> None:
    with pytest.raises(CorruptEntry):
        unpack(SMALL.key, pack(SMALL) + more)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptEntry):
        unpack(SMALL.key, data)


@given(entries, entries)
def test_the_head_of_one_entry_does_not_go_with_the_body_of_another(
    one: Entry, other: Entry
) -> None:
    head_bytes = len(pack(Entry("", b"", {}))) - len(json.dumps({"key": "", "about": {}}))
    mixed = pack(one)[:head_bytes] + pack(other)[head_bytes:]
    if mixed != pack(one):
        with pytest.raises(CorruptEntry):
            unpack(one.key, mixed)


@pytest.mark.parametrize(
    "described",
    [
        b"not json",
        b"\xff",
        b"[]",
        b"null",
        b'{"about": {}}',
        b'{"key": "0123abcd"}',
        b'{"key": 5, "about": {}}',
        b'{"key": "0123abcd", "about": []}',
    ],
)
def test_a_description_of_another_shape_is_refused_whatever_its_checksum(described: bytes) -> None:
    with pytest.raises(CorruptEntry):
        unpack(SMALL.key, envelope(described, b"sound"))


def test_another_schema_is_refused() -> None:
    data = bytearray(pack(SMALL))
    data[5] += 1
    with pytest.raises(CorruptEntry, match="version"):
        unpack(SMALL.key, bytes(data))


def test_the_size_is_that_of_the_payload() -> None:
    assert SMALL.size_bytes == 8


def envelope(described: bytes, payload: bytes) -> bytes:
    checksum = xxhash.xxh3_128_digest(described + payload)
    head = struct.pack(">5sBII16s", b"kedge", 1, len(described), len(payload), checksum)
    return head + described + payload
