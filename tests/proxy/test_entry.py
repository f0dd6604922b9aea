"""The envelope: what comes back is what was kept, or nothing."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import replace

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.entry import About, CorruptEntry, Entry, WordSpan, pack, unpack
from proxy.cache.key import Key, digest
from tests.proxy.entries import entry_of

HEAD_BYTES = 30

finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.builds(
    WordSpan, begin=st.integers(0, 999), end=st.integers(0, 999), start_s=finite, end_s=finite
)
abouts = st.builds(
    About,
    kind=st.sampled_from(["clip", "rendition"]),
    format=st.text(max_size=9),
    voice=st.text(max_size=9),
    language=st.text(max_size=9),
    speed=finite,
    duration_s=finite,
    says=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    text=st.none() | st.text(),
    words=st.lists(words, max_size=3).map(tuple),
)
keys = st.builds(Key, id=st.text(), check=st.text())
entries = st.builds(
    Entry,
    key=keys,
    payload=st.binary(),
    about=abouts,
    stored_at_s=finite,
    expires_at_s=st.none() | finite,
)

SMALL = replace(
    entry_of("small", words=(WordSpan(0, 5, 0.1, 0.4),)),
    stored_at_s=1_700_000_000.25,
    expires_at_s=1_800_000_000.5,
)
DESCRIBED = {
    "key": list(SMALL.key),
    "digest": SMALL.digest,
    "stored_at_s": 1.0,
    "about": {
        "kind": "clip",
        "format": "flac",
        "voice": "af_bella",
        "language": "a",
        "speed": 1.0,
        "duration_s": 1.5,
        "says": [],
    },
}
"""A description that would do for the payload of SMALL."""


@given(entries)
def test_what_was_packed_is_unpacked(entry: Entry) -> None:
    assert unpack(pack(entry), entry.key.id) == entry
    assert unpack(pack(entry)) == entry


@given(entries, st.text())
def test_an_entry_is_only_had_by_its_own_id(entry: Entry, id: str) -> None:
    if id == entry.key.id:
        id += "x"
    with pytest.raises(CorruptEntry, match="another key"):
        unpack(pack(entry), id)


def test_who_asks_by_id_learns_whose_check_it_is() -> None:
    planted = replace(SMALL, key=Key(SMALL.key.id, digest("another").check))
    assert unpack(pack(planted), SMALL.key.id).key != SMALL.key


def test_every_truncation_is_noticed() -> None:
    data = pack(SMALL)
    for length in range(len(data)):
        with pytest.raises(CorruptEntry):
            unpack(data[:length])


def test_every_flipped_bit_is_noticed() -> None:
    data = pack(SMALL)
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            with pytest.raises(CorruptEntry):
                unpack(bytes(flipped))


@given(entries, st.data())
def test_a_bit_flipped_in_any_entry_is_noticed(entry: Entry, data: st.DataObject) -> None:
    flipped = bytearray(pack(entry))
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptEntry):
        unpack(bytes(flipped))


@given(st.binary(min_size=1))
def test_what_follows_an_entry_is_noticed(more: bytes) -> None:
    with pytest.raises(CorruptEntry):
        unpack(pack(SMALL) + more)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptEntry):
        unpack(data)


@given(entries, entries)
def test_the_head_of_one_entry_does_not_go_with_the_body_of_another(
    one: Entry, other: Entry
) -> None:
    mixed = pack(one)[:HEAD_BYTES] + pack(other)[HEAD_BYTES:]
    if mixed != pack(one):
        with pytest.raises(CorruptEntry):
            unpack(mixed)


@given(entries, st.binary())
def test_the_description_of_one_entry_does_not_go_with_the_payload_of_another(
    one: Entry, payload: bytes
) -> None:
    swapped = envelope(described_in(pack(one)), payload)
    if payload != one.payload:
        with pytest.raises(CorruptEntry, match="payload"):
            unpack(swapped)


def test_an_envelope_as_it_should_be_is_taken_so_those_below_are_refused_for_their_fault() -> None:
    found = unpack(envelope(json.dumps(DESCRIBED).encode(), SMALL.payload), SMALL.key.id)
    assert found == Entry(SMALL.key, SMALL.payload, found.about, 1.0)


@pytest.mark.parametrize(
    "described",
    [
        b"not json",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        *(
            json.dumps({name: value for name, value in DESCRIBED.items() if name != left_out})
            for left_out in DESCRIBED
        ),
        *(
            json.dumps({**DESCRIBED, name: value})
            for name, value in [
                ("key", SMALL.key.id),
                ("key", [SMALL.key.id]),
                ("key", [5, SMALL.key.check]),
                ("stored_at_s", "yesterday"),
                ("expires_at_s", []),
                ("about", None),
                ("about", []),
                ("about", {}),
                ("about", {**DESCRIBED["about"], "kind": "book"}),  # type: ignore[dict-item]
                ("about", {**DESCRIBED["about"], "more": 1}),  # type: ignore[dict-item]
                ("more", 1),
            ]
        ),
    ],
)
def test_a_description_of_another_shape_is_refused_whatever_its_checksum(
    described: str | bytes,
) -> None:
    if isinstance(described, str):
        described = described.encode()
    with pytest.raises(CorruptEntry, match="description"):
        unpack(envelope(described, SMALL.payload))


@pytest.mark.parametrize("schema", [0, 1, 3, 255])
def test_another_schema_is_refused(schema: int) -> None:
    data = bytearray(pack(SMALL))
    assert data[5] == 2
    data[5] = schema
    with pytest.raises(CorruptEntry, match="version"):
        unpack(bytes(data))


def test_the_size_is_that_of_the_payload() -> None:
    assert SMALL.size_bytes == 8


def test_the_digest_is_of_the_payload() -> None:
    assert SMALL.digest == xxhash.xxh3_128_hexdigest(SMALL.payload)


def test_the_etag_is_a_strong_one_of_the_bytes_alone() -> None:
    here = entry_of("one request", b"the same bytes", voice="af_bella")
    there = replace(entry_of("another", b"the same bytes", voice="bm_george"), stored_at_s=0.0)
    assert here.etag == there.etag == f'"{here.digest}"'
    assert entry_of("one request", b"other bytes").etag != here.etag


@given(st.binary(), st.binary())
def test_etags_are_equal_exactly_when_the_bytes_are(one: bytes, other: bytes) -> None:
    assert (entry_of("a", one).etag == entry_of("b", other).etag) == (one == other)


def test_the_etag_outlives_the_disk() -> None:
    assert unpack(pack(SMALL)).etag == SMALL.etag


def test_an_entry_is_served_until_its_time_is_over() -> None:
    now_s = time.time()
    assert not replace(SMALL, expires_at_s=None).expired()
    assert not replace(SMALL, expires_at_s=now_s + 1000).expired()
    assert replace(SMALL, expires_at_s=now_s).expired()
    assert replace(SMALL, expires_at_s=0.0).expired()


def test_the_age_counts_from_when_it_was_stored() -> None:
    before_s = time.time()
    assert 0 <= entry_of("new").age_s() <= time.time() - before_s
    old = replace(SMALL, stored_at_s=before_s - 100)
    assert 100 <= old.age_s() <= 100 + time.time() - before_s


def test_the_age_is_never_negative_though_the_clock_was_set_back() -> None:
    assert replace(SMALL, stored_at_s=time.time() + 1000).age_s() == 0


def test_text_is_only_in_an_entry_that_was_given_it() -> None:
    text = "My account is with the bank."
    assert entry_of(text).about.text is None
    assert b"account" not in pack(entry_of(text))
    assert unpack(pack(entry_of(text, text=text))).about.text == text


def test_words_tell_where_they_are_in_the_text_and_are_not_text_themselves() -> None:
    [word] = unpack(pack(SMALL)).about.words
    assert word == WordSpan(begin=0, end=5, start_s=0.1, end_s=0.4)
    assert all(isinstance(part, int | float) for part in word)


def described_in(packed: bytes) -> bytes:
    (described_bytes,) = struct.unpack_from(">I", packed, 6)
    return packed[HEAD_BYTES : HEAD_BYTES + described_bytes]


def envelope(described: bytes, payload: bytes) -> bytes:
    """One that is right from outside."""
    checksum = xxhash.xxh3_128_digest(described)
    head = struct.pack(">5sBII16s", b"kedge", 2, len(described), len(payload), checksum)
    assert len(head) == HEAD_BYTES
    return head + described + payload
