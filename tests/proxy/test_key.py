"""Keys: equal exactly when the audio must be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace

import xxhash
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.cache.key import Key, clip_key, digest, rendition_key, seed_of, text_digest
from synth.engine import Segment
from synth.voices import VOICES, Blend, parse_voice

any_text = st.text()
hex_digits = st.text("0123456789abcdef", min_size=32, max_size=32)
keys = st.builds(Key, id=hex_digits, check=hex_digits)
pauses_s = st.sampled_from([0.0, 0.1, 0.15, 0.3, 1.2])
speeds = st.integers(25, 400).map(lambda hundredths: hundredths / 100)
blends = st.dictionaries(st.sampled_from(list(VOICES)), st.integers(1, 9), min_size=1).map(
    lambda parts: Blend(tuple(sorted(parts.items())))
)
segments = st.builds(
    Segment,
    text=any_text,
    blend=blends,
    language=st.sampled_from("abefhijpz"),
    speed=speeds,
    seed=st.integers(0, 2**63 - 1),
)
fingerprints = st.lists(any_text, max_size=4).map(tuple)

SEGMENT = Segment("Hello there.", Blend((("af_bella", 1),)), "a", 1.0, seed=0)
FINGERPRINT = ("1", "the model's digest", "af_bella:the voice's digest", "kokoro==0.9.4")


@given(st.lists(any_text), st.lists(any_text))
def test_digests_are_equal_exactly_when_all_fields_are(one: list[str], other: list[str]) -> None:
    assert (digest(*one).id == digest(*other).id) == (one == other)
    assert (digest(*one).check == digest(*other).check) == (one == other)


@given(st.lists(any_text, max_size=4))
def test_id_and_check_are_two_hashes_of_the_same_bytes(texts: list[str]) -> None:
    data = b"".join(len(text.encode()).to_bytes(8, "big") + text.encode() for text in texts)
    id, check = digest(*texts)
    assert id == xxhash.xxh3_128_hexdigest(data)
    assert check == blake2b(data)
    assert len(id) == len(check) == 32


def test_a_key_is_told_by_its_id() -> None:
    assert str(digest("a", "b")) == digest("a", "b").id


@given(st.lists(any_text, min_size=1), st.data())
def test_moving_a_boundary_between_fields_changes_the_digest(
    texts: list[str], data: st.DataObject
) -> None:
    joined = "".join(texts)
    cut = data.draw(st.integers(0, len(joined)))
    moved = [joined[:cut], joined[cut:]]
    assume(moved != texts)
    assert digest(*moved) != digest(*texts)


def test_neighbouring_fields_do_not_run_together() -> None:
    digests = {
        digest("ab", "c"),
        digest("a", "bc"),
        digest("abc"),
        digest("abc", ""),
        digest("", "abc"),
        digest("a", "b", "c"),
        digest("a\x00b", "c"),
        digest("a", "b\x00c"),
    }
    assert len(digests) == 8


@given(any_text, st.text(max_size=20))
def test_a_field_that_imitates_a_length_stays_one_field(text: str, following: str) -> None:
    length = len(following.encode()).to_bytes(8, "big").decode("latin-1")
    assert digest(text + length + following) != digest(text, following)


@given(fingerprints, segments, fingerprints, segments)
def test_clip_keys_are_equal_exactly_when_all_that_shapes_the_sound_is(
    fingerprint: tuple[str, ...], one: Segment, other_fingerprint: tuple[str, ...], other: Segment
) -> None:
    same = (fingerprint, replace(one, seed=0)) == (other_fingerprint, replace(other, seed=0))
    assert (clip_key(fingerprint, one) == clip_key(other_fingerprint, other)) == same


@given(fingerprints, segments, st.integers(0, 2**63 - 1))
def test_the_seed_is_no_part_of_the_clip_key(
    fingerprint: tuple[str, ...], segment: Segment, seed: int
) -> None:
    assert clip_key(fingerprint, segment) == clip_key(fingerprint, replace(segment, seed=seed))


def test_every_field_of_a_segment_but_the_seed_is_in_the_key() -> None:
    changed = {
        "text": "Hello here.",
        "blend": Blend((("af_bella", 2), ("af_sky", 1))),
        "language": "b",
        "speed": 1.01,
    }
    assert {field.name for field in fields(Segment)} == {*changed, "seed"}
    changes = [replace(SEGMENT, **{k: v}) for k, v in changed.items()]  # type: ignore[arg-type]
    assert_all_differ([clip_key(FINGERPRINT, segment) for segment in (SEGMENT, *changes)])


def test_every_part_of_the_fingerprint_is_in_the_key() -> None:
    changes = [
        (*FINGERPRINT[:i], part + "x", *FINGERPRINT[i + 1 :]) for i, part in enumerate(FINGERPRINT)
    ]
    assert_all_differ([clip_key(each, SEGMENT) for each in (FINGERPRINT, *changes)])


def test_a_blend_has_one_key_however_it_is_written() -> None:
    spellings = (
        "af_bella(2)+af_sky(1)",
        "af_sky(1)+af_bella(2)",
        " af_sky + af_bella(2.0)",
        "af_bella+af_sky+af_bella",
        "af_bella(4)+af_sky(2)",
    )
    keys = {
        clip_key(FINGERPRINT, replace(SEGMENT, blend=parse_voice(spelling).blend))
        for spelling in spellings
    }
    assert len(keys) == 1


@given(keys)
def test_seeds_are_what_the_engine_takes(key: Key) -> None:
    assert 0 <= seed_of(key) < 2**63
    assert seed_of(key) == seed_of(key)


@given(keys, keys)
def test_seeds_differ_where_the_lower_63_bits_of_the_ids_do(one: Key, other: Key) -> None:
    mask = 2**63 - 1
    same = int(one.id, 16) & mask == int(other.id, 16) & mask
    assert (seed_of(one) == seed_of(other)) == same


@given(keys, hex_digits)
def test_the_seed_follows_from_the_id_alone(key: Key, check: str) -> None:
    assert seed_of(key) == seed_of(Key(key.id, check))


joined_clips = st.lists(st.tuples(keys, pauses_s), min_size=1, max_size=4)
encodings = st.tuples(
    st.sampled_from(["mp3", "wav", "pcm"]), st.sampled_from("12"), st.sampled_from("12")
)


@given(joined_clips, encodings, joined_clips, encodings)
def test_rendition_keys_are_equal_exactly_when_clips_pauses_and_encoding_are(
    clips: list[tuple[Key, float]],
    encoding: tuple[str, ...],
    other_clips: list[tuple[Key, float]],
    other_encoding: tuple[str, ...],
) -> None:
    same = (clips, encoding) == (other_clips, other_encoding)
    one, other = rendition_key(clips, *encoding), rendition_key(other_clips, *other_encoding)
    assert (one == other) == same


@given(joined_clips, encodings, st.data())
def test_order_pauses_and_every_part_of_the_encoding_change_the_rendition_key(
    clips: list[tuple[Key, float]], encoding: tuple[str, ...], data: st.DataObject
) -> None:
    key = rendition_key(clips, *encoding)
    shuffled = data.draw(st.permutations(clips))
    assert (rendition_key(shuffled, *encoding) == key) == (shuffled == clips)
    (first, pause_s), *rest = clips
    assert rendition_key([(first, pause_s + 0.1), *rest], *encoding) != key
    for i, part in enumerate(encoding):
        changed = (*encoding[:i], part + "x", *encoding[i + 1 :])
        assert rendition_key(clips, *changed) != key


@given(joined_clips, encodings, hex_digits)
def test_id_and_check_of_every_clip_are_in_the_rendition_key(
    clips: list[tuple[Key, float]], encoding: tuple[str, ...], other: str
) -> None:
    (first, pause_s), *rest = clips
    assume(other not in first)
    assert_all_differ(
        [
            rendition_key([(key, pause_s), *rest], *encoding)
            for key in (first, first._replace(id=other), first._replace(check=other))
        ]
    )


@given(st.lists(any_text, max_size=3), segments)
def test_a_clip_and_a_rendition_never_share_a_key(parts: list[str], segment: Segment) -> None:
    key = clip_key(tuple(parts), segment)
    assert rendition_key([(key, 0.0)], "mp3") != key


@given(any_text, any_text)
def test_what_stands_for_a_text_is_equal_exactly_when_the_text_is(one: str, other: str) -> None:
    assert (text_digest(one) == text_digest(other)) == (one == other)
    assert len(text_digest(one)) == 32


def test_what_stands_for_a_text_is_no_hash_that_somebody_else_has_of_it() -> None:
    for text in ("", "Hello.", "4242"):
        data = text.encode()
        hashes = (*digest(text), xxhash.xxh3_128_hexdigest(data), blake2b(data))
        assert text_digest(text) not in hashes


def blake2b(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def assert_all_differ(keys: Sequence[Key]) -> None:
    """In their ids, and in their checks."""
    assert len({key.id for key in keys}) == len({key.check for key in keys}) == len(keys)
