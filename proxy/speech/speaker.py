"""Speak: from a plan to encoded audio, out of the cache or made now and kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from enum import Enum

from proxy.cache.entry import Entry
from proxy.cache.tiered import TieredCache
from proxy.speech.clips import Clips, FoundClip
from proxy.speech.flight import Abandoned, Flight, Timings
from proxy.speech.plan import Plan
from proxy.speech.schedule import Priority, Urgency
from synth.audio.encode import Encoder, open_encoder
from synth.audio.join import silence
from synth.engine import EngineError, EngineUnavailable
from synth.text.normalise import is_plain

logger = logging.getLogger(__name__)

_MARGIN_S = 2.0
"""How long before its listener has heard everything a reply's next sentence is due."""


class Outcome(Enum):
    """Where a reply came from."""

    HIT = "hit"
    """It was said before, in this format."""
    MISS = "miss"
    """It was made for this request."""
    COLLAPSED = "collapsed"
    """It was being made for another request already."""


class Reply:
    """What a listener gets: all of it at once, or chunks as they are made."""

    def __init__(self, source: bytes | Flight, asked: Outcome) -> None:
        self._source = source
        self._asked = asked

    async def begin(self) -> None:
        """Wait until there is something to hear.

        Raises:
            EngineError: nothing of the reply could be made, and nothing was stored.
        """
        if isinstance(self._source, Flight):
            await self._source.begin()

    @property
    def outcome(self) -> Outcome:
        """Where the reply comes from. Known for certain once it has begun."""
        if isinstance(self._source, Flight) and self._source.from_cache:
            return Outcome.HIT
        return self._asked

    @property
    def timings(self) -> Timings:
        return self._source.timings if isinstance(self._source, Flight) else Timings()

    @property
    def whole(self) -> bytes | None:
        """The finished reply, where all of it is there."""
        return self._source.whole if isinstance(self._source, Flight) else self._source

    async def chunks(self) -> AsyncIterator[bytes]:
        """The reply from its first byte, as it is made.

        Raises:
            EngineError: the rest of the reply could not be made. What came so far is not all.
        """
        if isinstance(self._source, bytes):
            yield self._source
            return
        async for chunk in self._source.read():
            yield chunk

    async def finish(self) -> None:
        """Wait until all of it is made. Raises as `chunks` does."""
        async for _ in self.chunks():
            pass


class Speaker:
    """Everything that has been said, and a voice for the rest."""

    def __init__(self, cache: TieredCache, clips: Clips) -> None:
        self._cache = cache
        self._clips = clips
        self._flights: dict[str, Flight] = {}
        self._producers: dict[asyncio.Task[None], Flight] = {}

    @contextmanager
    def listen(self, plan: Plan, priority: Priority = Priority.WAITING) -> Iterator[Reply]:
        """Ask for a reply, for as long as the block lasts.

        A reply that is in memory is there at once. Otherwise this joins whoever is making it, or
        starts; nothing is awaited in between, so it is started once.
        """
        entry = self._cache.get_at_once(plan.key)
        if entry is not None:
            yield Reply(entry.payload, Outcome.HIT)
            return
        flight = self._flights.get(plan.key)
        outcome = Outcome.MISS if flight is None else Outcome.COLLAPSED
        if flight is None:
            flight = self._start(plan, priority)
        flight.urgency.hasten(priority)
        flight.readers += 1
        try:
            yield Reply(flight, outcome)
        finally:
            flight.readers -= 1
            if not flight.readers and flight.whole is None:
                self._abandon(plan.key, flight)

    async def close(self) -> None:
        """Stop making replies; one that is made is still stored. Who still reads one that is not
        gets an error, not a short reply."""
        for producer, flight in self._producers.items():
            if flight.whole is None:
                producer.cancel()
        await asyncio.gather(*self._producers, return_exceptions=True)

    def _start(self, plan: Plan, priority: Priority) -> Flight:
        flight = Flight(urgency=Urgency(priority))
        self._flights[plan.key] = flight
        producer = asyncio.create_task(self._produce(flight, plan))
        self._producers[producer] = flight
        producer.add_done_callback(self._producers.pop)
        return flight

    def _abandon(self, key: str, flight: Flight) -> None:
        """Nobody listens any more. The clip at the engine is finished and kept, and no other made.

        At once, not when the producer comes to it: whoever asks next must not join a reply that is
        given up.
        """
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight.fetching is not None:
            flight.fetching.cancel()

    async def _produce(self, flight: Flight, plan: Plan) -> None:
        try:
            entry = await self._cache.get(plan.key)
            if entry is not None:
                flight.from_cache = True
                flight.complete(entry.payload)
            else:
                await self._make(flight, plan)
        except EngineError as error:
            flight.fail(error)
        except asyncio.CancelledError:
            flight.fail(EngineUnavailable("The server is shutting down.", retry_after_s=1))
            raise
        except Exception as error:
            logger.exception("could not make the reply %s…", plan.key[:12])
            flight.fail(EngineError(f"The reply could not be made ({type(error).__name__})."))
        finally:
            # The reply is in memory before the flight goes: nobody falls between the two.
            if self._flights.get(plan.key) is flight:
                del self._flights[plan.key]

    async def _fetch(self, flight: Flight, plan: Plan, index: int) -> FoundClip:
        """The clip of this number, for as long as somebody listens."""
        # Once something was heard it is too late to refuse the reply.
        ahead = [] if flight.begun else [later.segment for later in plan.clips[index + 1 :]]
        began_s = time.perf_counter()
        flight.fetching = asyncio.create_task(
            self._clips.get(plan.clips[index], ahead, flight.urgency)
        )
        try:
            return await flight.fetching
        except asyncio.CancelledError:
            if flight.readers:
                raise
            raise Abandoned() from None
        finally:
            flight.fetching = None
            flight.timings.generation_ms += (time.perf_counter() - began_s) * 1000

    async def _make_sure_it_can_be_said(self, flight: Flight, plan: Plan) -> None:
        """Have the engine look at everything that is not cached, before the first byte is sent.

        The engine checks a reply's later segments with the first one that it makes. Where the
        beginning is cached, that would come too late to refuse the reply.
        """
        for index in range(len(plan.clips)):
            if (await self._fetch(flight, plan, index)).made:
                return

    async def _make(self, flight: Flight, plan: Plan) -> None:
        if not all(is_plain(planned.segment.text) for planned in plan.clips):
            await self._make_sure_it_can_be_said(flight, plan)
        encoder = open_encoder(plan.format)
        try:
            whole = await self._encode(encoder, flight, plan)
        except Exception:
            # Left open, it would close itself whenever it is collected: on the event loop, and
            # into a file that is closed already.
            await asyncio.to_thread(encoder.finish)
            raise
        self._cache.put(Entry(plan.key, whole, {"clips": len(plan.clips)}))

    async def _encode(self, encoder: Encoder, flight: Flight, plan: Plan) -> bytes:
        """Encode clip after clip into the flight, and complete it. Returns the finished reply."""
        begun_s, sent_s = 0.0, 0.0
        for index, planned in enumerate(plan.clips):
            if not flight.readers:
                raise Abandoned()
            if flight.begun and flight.urgency.priority is not Priority.WARM_UP:
                flight.urgency.hasten(Priority.LISTENING)
                flight.urgency.due_s = begun_s + sent_s - _MARGIN_S
            found = await self._fetch(flight, plan, index)
            generated_s = time.perf_counter()
            chunk = await asyncio.to_thread(encoder.write, found.clip.pcm)
            if planned.pause_s:
                chunk += await asyncio.to_thread(encoder.write, silence(planned.pause_s))
            last = index == len(plan.clips) - 1
            finished = await asyncio.to_thread(encoder.finish) if last else None
            flight.timings.encode_ms += (time.perf_counter() - generated_s) * 1000
            if finished is not None:
                # All in one step: who waited for the first chunk finds the reply complete. And
                # before it is stored: nobody's audio waits for a disk.
                flight.append(chunk + finished.tail)
                flight.complete(finished.whole)
                return finished.whole
            if not flight.begun:
                begun_s = time.monotonic()
            flight.append(chunk)
            sent_s += found.clip.duration_s + planned.pause_s
        raise AssertionError("a plan has at least one clip")
