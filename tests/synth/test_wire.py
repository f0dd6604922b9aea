"""Frames between the HTTP process and an engine process: nothing is lost, bent or hung on."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth import wire
from synth.engine import BadAudio, CannotSay, Clip, EngineError, EngineLoading, Segment, Word
from synth.voices import Blend

JSON = st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.booleans(), st.none()))
BLENDS = st.lists(st.tuples(st.text(), st.integers(1, 10**9)), min_size=1, max_size=8).map(
    lambda parts: Blend(tuple(parts))
)
SEGMENTS = st.builds(
    Segment,
    text=st.text(),
    blend=BLENDS,
    language=st.text(max_size=5),
    speed=st.floats(0.25, 4.0),
    seed=st.integers(0, 2**63 - 1),
)
WORDS = st.builds(
    Word,
    text=st.text(),
    start_s=st.floats(0, 1_000, allow_subnormal=False),
    end_s=st.floats(0, 1_000, allow_subnormal=False),
)
CLIPS = st.builds(
    lambda samples, words: Clip(np.array(samples, dtype=np.int16), tuple(words)),
    st.lists(st.integers(-(2**15), 2**15 - 1)),
    st.lists(WORDS),
)


def read_back(frame: bytes) -> tuple[wire.Header, bytes]:
    received = wire.read(io.BytesIO(frame))
    assert received is not None
    return received


@given(JSON, st.binary())
def test_a_frame_is_read_as_it_was_packed(header: wire.Header, body: bytes) -> None:
    assert read_back(wire.pack(header, body)) == (header, body)


@given(st.lists(st.tuples(JSON, st.binary()), max_size=5))
def test_frames_are_read_one_after_the_other_until_the_stream_ends(
    frames: list[tuple[wire.Header, bytes]],
) -> None:
    stream = io.BytesIO(b"".join(wire.pack(header, body) for header, body in frames))
    assert [wire.read(stream) for _ in frames] == frames
    assert wire.read(stream) is None


@given(st.lists(st.tuples(JSON, st.binary()), max_size=3))
async def test_the_other_side_reads_the_same_frames(
    frames: list[tuple[wire.Header, bytes]],
) -> None:
    stream = asyncio.StreamReader()
    for header, body in frames:
        stream.feed_data(wire.pack(header, body))
    stream.feed_eof()
    assert [await wire.read_async(stream) for _ in frames] == frames
    with pytest.raises(asyncio.IncompleteReadError):
        await wire.read_async(stream)


@given(JSON, st.binary(), st.data())
def test_a_stream_that_ends_inside_a_frame_gives_none(
    header: wire.Header, body: bytes, data: st.DataObject
) -> None:
    frame = wire.pack(header, body)
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert wire.read(io.BytesIO(frame[:cut])) is None


@given(SEGMENTS)
def test_a_segment_arrives_as_it_was_sent(segment: Segment) -> None:
    header, body = read_back(wire.pack({"segment": wire.segment_to_json(segment)}))
    assert wire.segment_from_json(header["segment"]) == segment
    assert body == b""


@given(CLIPS)
def test_a_clip_arrives_as_it_was_sent(clip: Clip) -> None:
    received = wire.unpack_answer(*read_back(wire.pack_clip(clip)))
    assert received.words == clip.words
    assert received.pcm.dtype == np.int16
    np.testing.assert_array_equal(received.pcm, clip.pcm)


@pytest.mark.parametrize("kind", [CannotSay, BadAudio])
def test_an_error_arrives_as_its_own_class(kind: type[EngineError]) -> None:
    with pytest.raises(EngineError, match=r"^because “é”$") as received:
        wire.unpack_answer(*read_back(wire.pack_error(kind("because “é”"))))
    assert type(received.value) is kind


@pytest.mark.parametrize("name", ["EngineError", "EngineDied", "ValueError", "SystemExit", ""])
def test_an_error_of_no_known_name_arrives_as_an_engine_error(name: str) -> None:
    with pytest.raises(EngineError, match=r"^because$") as received:
        wire.unpack_answer({"error": name, "message": "because"}, b"")
    assert type(received.value) is EngineError


def test_what_an_engine_process_cannot_know_does_not_cross_the_wire() -> None:
    loading = EngineLoading("because", retry_after_s=3)
    with pytest.raises(EngineError) as received:
        wire.unpack_answer(*read_back(wire.pack_error(loading)))
    assert type(received.value) is EngineError
