"""A reply being made: whoever reads it, and whenever, reads all of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.entry import Entry
from proxy.cache.key import digest
from proxy.speech.flight import Flight
from proxy.speech.plan import Plan
from proxy.speech.schedule import Priority, Urgency
from proxy.speech.terms import LIVE
from synth.audio.formats import FORMATS
from synth.engine import BadAudio, EngineError
from tests.proxy.entries import entry_of

chunks = st.lists(st.binary(max_size=4), max_size=6)


def new_flight() -> Flight:
    plan = Plan(digest("a reply"), (), FORMATS["pcm"])
    return Flight(plan, LIVE, Urgency(Priority.WAITING))


def whole(payload: bytes) -> Entry:
    return entry_of("a reply", payload, kind="rendition", format="pcm")


async def read(flight: Flight) -> bytes:
    return b"".join([chunk async for chunk in flight.read()])


async def let_others_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@given(chunks, st.data())
async def test_readers_that_join_at_any_time_read_the_same_from_the_first_byte(
    chunks: list[bytes], data: st.DataObject
) -> None:
    flight = new_flight()
    readers = []

    async def some_join() -> None:
        for _ in range(data.draw(st.integers(0, 2))):
            readers.append(asyncio.create_task(read(flight)))
        if data.draw(st.booleans()):
            await let_others_run()

    for chunk in chunks:
        await some_join()
        flight.append(chunk)
    await some_join()
    flight.complete(whole(b"".join(chunks)), stored=True)
    await some_join()
    readers.append(asyncio.create_task(read(flight)))
    assert set(await asyncio.gather(*readers)) == {b"".join(chunks)}


@given(chunks, st.data())
async def test_a_failure_reaches_every_reader_after_what_there_was(
    chunks: list[bytes], data: st.DataObject
) -> None:
    flight = new_flight()
    readers: list[tuple[list[bytes], asyncio.Task[None]]] = []

    def join() -> None:
        heard: list[bytes] = []

        async def listen() -> None:
            async for chunk in flight.read():
                heard.append(chunk)

        readers.append((heard, asyncio.create_task(listen())))

    for chunk in chunks:
        if data.draw(st.booleans()):
            join()
        flight.append(chunk)
        if data.draw(st.booleans()):
            await let_others_run()
    join()
    flight.fail(BadAudio("no good"))
    join()
    for heard, reader in readers:
        with pytest.raises(BadAudio, match="no good"):
            await reader
        assert b"".join(heard) == b"".join(chunks)


async def test_a_reader_that_leaves_disturbs_nobody() -> None:
    flight = new_flight()
    staying = asyncio.create_task(read(flight))
    leaving = asyncio.create_task(read(flight))
    flight.append(b"one")
    await let_others_run()
    leaving.cancel()
    async with aclosing(flight.read()) as half_heard:  # type: ignore[type-var]
        assert await anext(half_heard) == b"one"
    flight.append(b"two")
    flight.complete(whole(b"onetwo"), stored=True)
    assert await staying == b"onetwo"
    assert await read(flight) == b"onetwo"
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_reader_gets_each_chunk_as_it_comes() -> None:
    flight = new_flight()
    reading = flight.read()
    for chunk in (b"one", b"two"):
        coming = asyncio.ensure_future(anext(reading))
        await let_others_run()
        assert not coming.done()
        flight.append(chunk)
        assert await coming == chunk


async def test_beginning_waits_for_the_first_sound() -> None:
    flight = new_flight()
    beginning = asyncio.create_task(flight.begin())
    await let_others_run()
    flight.append(b"")
    await let_others_run()
    assert not beginning.done() and not flight.begun
    flight.append(b"one")
    await beginning
    assert flight.begun


async def test_a_failure_before_the_first_sound_is_told_at_the_beginning() -> None:
    flight = new_flight()
    early = asyncio.create_task(flight.begin())
    await let_others_run()
    flight.fail(EngineError("no engine"))
    for beginning in (early, flight.begin()):
        with pytest.raises(EngineError, match="no engine"):
            await beginning


async def test_a_failure_after_the_first_sound_is_told_while_reading() -> None:
    flight = new_flight()
    flight.append(b"one")
    flight.fail(EngineError("gone"))
    await flight.begin()
    with pytest.raises(EngineError, match="gone"):
        await read(flight)


async def test_what_is_complete_stays_complete() -> None:
    flight = new_flight()
    flight.append(b"one")
    flight.complete(whole(b"one"), stored=True)
    flight.fail(EngineError("too late to matter"))
    await flight.begin()
    assert await read(flight) == b"one"


async def test_a_reply_that_was_found_finished_is_read_whole() -> None:
    flight = new_flight()
    waiting = asyncio.create_task(read(flight))
    await let_others_run()
    flight.complete(whole(b"all of it"), stored=True)
    await flight.begin()
    assert await waiting == await read(flight) == b"all of it"
