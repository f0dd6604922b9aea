"""Speak: from a plan to encoded audio, out of the cache or made now and kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from proxy.cache.entry import Entry
from proxy.cache.tiered import TieredCache, Where
from proxy.speech.clips import AfterHangup, Clips, FoundClip
from proxy.speech.detour import Detour
from proxy.speech.elsewhere import Elsewhere
from proxy.speech.encoding import Encoding, encoding
from proxy.speech.flight import Abandoned, Flight, Timings
from proxy.speech.plan import Plan, not_fetched
from proxy.speech.rendition import rendition
from proxy.speech.reply import Outcome, Reply
from proxy.speech.schedule import Overloaded, Priority, Urgency
from proxy.speech.terms import LIVE, Terms
from synth.audio.join import silence
from synth.engine import EngineError, EngineUnavailable
from synth.text.normalise import is_plain

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MARGIN_S = 2.0
"""How long before its listener has heard everything a reply's next sentence is due."""


class Speaker:
    """Everything that has been said, and a voice for the rest."""

    def __init__(
        self,
        cache: TieredCache,
        clips: Clips,
        after_hangup: AfterHangup = "finish_segment",
        keep_text: bool = False,
        elsewhere: Elsewhere | None = None,
        after_s: float | None = None,
    ) -> None:
        """`elsewhere` speaks what the engine cannot: is not there for, or has nothing to send of
        `after_s` after somebody asked."""
        self._cache = cache
        self._clips = clips
        self._after_hangup = after_hangup
        self._keep_text = keep_text
        self._after_s = after_s
        self._detour = None
        if elsewhere is not None:
            self._detour = Detour(cache, elsewhere, self._keep, keep_text)
        self._flights: dict[str, Flight] = {}
        """By the key's id, which is what replies are addressed by."""
        self._producers: dict[asyncio.Task[None], Flight] = {}

    @property
    def has_stand_ins(self) -> bool:
        """Whether somebody else may say what the engine cannot."""
        return self._detour is not None

    def recall(self, plan: Plan, terms: Terms = LIVE) -> Entry | None:
        """The reply, where memory has it and it will do. Never waits."""
        entry = self._cache.get_at_once(plan.key)
        return entry if entry is not None and terms.take(entry) else None

    @contextmanager
    def listen(self, plan: Plan, terms: Terms = LIVE) -> Iterator[Reply]:
        """Ask for a reply, for as long as the block lasts.

        A reply that is in memory is there at once. Otherwise this joins whoever is making it, or
        starts; nothing is awaited in between, so it is started once.
        """
        began_s = time.perf_counter()
        cached = self._cache.get_at_once(plan.key)
        entry = cached if cached is not None and terms.take(cached) else None
        timings = Timings(mem_ms=(time.perf_counter() - began_s) * 1000)
        if entry is not None:
            yield Reply(entry, Outcome.HIT, timings)
            return
        flight = None if terms.alone else self._flights.get(plan.key.id)
        if flight is not None and flight.plan.key != plan.key:
            flight = None
        outcome = Outcome.MISS if flight is None else Outcome.COLLAPSED
        if flight is None:
            flight = self._start(plan, terms, timings)
            flight.passed_over = cached is not None
        flight.urgency.hasten(terms.priority)
        with self._reading(flight, calls=terms.priority is not Priority.WARM_UP):
            yield Reply(flight, outcome, flight.timings)

    @asynccontextmanager
    async def listen_to(self, id: str) -> AsyncIterator[Reply | None]:
        """Ask for the reply of this id, for as long as the block lasts: one that is cached, or is
        being made. None where there is no such. What is being made may yet come from elsewhere, and
        is then not what has this id: see `Reply.stand_in`."""
        began_s = time.perf_counter()
        timings = Timings()
        where: Where = "memory"
        entry = self._cache.peek(id)
        timings.mem_ms = (time.perf_counter() - began_s) * 1000
        if entry is None and id not in self._flights:
            began_s = time.perf_counter()
            entry, where = await self._cache.find(id), "disk"
            timings.disk_ms = (time.perf_counter() - began_s) * 1000
            if entry is None:  # It may have been made meanwhile, from beginning to end.
                entry, where = self._cache.peek(id), "memory"
        if entry is not None and entry.about.kind == "rendition":
            yield Reply(entry, Outcome.HIT, timings, where)
            return
        flight = self._flights.get(id)
        if flight is None or flight.plan.private or flight.stand_in is not None:
            yield None
            return
        with self._reading(flight, calls=False):
            yield Reply(flight, Outcome.COLLAPSED, flight.timings)

    async def keep(self, plan: Plan, terms: Terms) -> float:
        """Make what is not cached of a reply, and keep it, whole and in clips, from eviction by
        traffic. Returns how many seconds of audio were made for it.

        Raises:
            EngineError: it could not be made, or neither memory nor disk could keep it.
        """
        made_s = await self._make_with_engine(plan, terms)
        if not await self._cache.pin(plan.key):
            raise EngineError("It was rendered, but neither memory nor disk could keep it.")
        for planned in plan.clips:
            if planned.recording is None and not await self._cache.pin(planned.key):
                # The whole is older than it: somebody deleted the clip, or it was damaged.
                found = await self._clips.get(planned, (), Urgency(terms.priority), terms)
                made_s += found.clip.duration_s if found.made else 0.0
                await self._cache.pin(planned.key)
        return made_s

    async def _make_with_engine(self, plan: Plan, terms: Terms) -> float:
        """Returns how many seconds of audio were made. Where a caller shared the reply who could
        not wait for the engine, it is made again for nobody but us, who can."""
        made_s = 0.0
        while True:
            with self.listen(plan, terms) as reply:
                try:
                    await reply.finish()
                except Overloaded:  # For the caller.
                    pass
                except EngineUnavailable:
                    raise
                except EngineError:
                    if reply.stand_in is None:
                        raise
                made_s += sum(reply.made.values())
                if reply.entry is not None and reply.stand_in is None:
                    return made_s

    async def close(self) -> None:
        """Stop making replies; one that is made is still stored. Who still reads one that is not
        gets an error, not a short reply."""
        for producer, flight in self._producers.items():
            if flight.whole is None:
                producer.cancel()
        await asyncio.gather(*self._producers, return_exceptions=True)

    def _start(self, plan: Plan, terms: Terms, timings: Timings) -> Flight:
        flight = Flight(
            plan, terms, Urgency(terms.priority), timings, generation=self._cache.generation
        )
        if not terms.alone:
            # In place of one with the same id and another key, should there ever be two.
            self._flights[plan.key.id] = flight
        producer = asyncio.create_task(self._produce(flight))
        self._producers[producer] = flight
        producer.add_done_callback(self._producers.pop)
        return flight

    @contextmanager
    def _reading(self, flight: Flight, calls: bool) -> Iterator[None]:
        flight.readers += 1
        if calls:
            self._count_callers(flight, 1)
        try:
            yield
        finally:
            flight.readers -= 1
            if calls:
                self._count_callers(flight, -1)
            if not flight.readers and flight.whole is None:
                self._hung_up(flight)

    def _count_callers(self, flight: Flight, more: int) -> None:
        """A warm-up waits for the engine as long as it takes. A caller who joins it does not."""
        if not flight.callers:
            flight.asked_s = time.monotonic()
        flight.callers += more
        if flight.patience is not None and not flight.patience.expired():
            patience_s = self._patience_s(flight)
            now_s = asyncio.get_running_loop().time()
            flight.patience.reschedule(None if patience_s is None else now_s + patience_s)

    def _hung_up(self, flight: Flight) -> None:
        """Nobody listens any more."""
        if self._goes_on(flight):
            flight.urgency.priority = Priority.WARM_UP
            return
        # At once, not when the producer comes to it: whoever asks next must not join a reply that
        # is given up.
        self._land(flight)
        if flight.fetching is not None:
            flight.fetching.cancel()

    def _goes_on(self, flight: Flight) -> bool:
        """Whether a reply is finished though nobody listens."""
        return self._after_hangup == "finish_reply" and not flight.terms.alone

    def _land(self, flight: Flight) -> None:
        if self._flights.get(flight.plan.key.id) is flight:
            del self._flights[flight.plan.key.id]

    async def _produce(self, flight: Flight) -> None:
        plan = flight.plan
        try:
            began_s = time.perf_counter()
            found = await self._cache.get(plan.key)
            flight.timings.disk_ms += (time.perf_counter() - began_s) * 1000
            flight.passed_over |= found is not None
            if found is not None and flight.terms.take(found.entry):
                flight.found_in = found.where
                flight.complete(found.entry, stored=False)
            else:
                await self._make_or_leave(flight)
        except EngineError as error:
            flight.fail(error)
        except asyncio.CancelledError:
            flight.fail(EngineUnavailable("The server is shutting down.", retry_after_s=1))
            raise
        except Exception as error:
            logger.exception("could not make the reply %s…", plan.key.id[:12])
            flight.fail(EngineError(f"The reply could not be made ({type(error).__name__})."))
        finally:
            # The reply is in memory before the flight goes: nobody falls between the two.
            self._land(flight)

    async def _fetch(self, flight: Flight, index: int) -> FoundClip:
        """The clip of this number, for as long as somebody listens."""
        planned = flight.plan.clips[index]
        # Once something was heard it is too late to refuse the reply.
        later = () if flight.begun else flight.plan.clips[index + 1 :]
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._patience_s(flight)) as flight.patience:
                found = await self._while_heard(
                    flight,
                    lambda: self._clips.get(
                        planned,
                        [each.segment for each in later],
                        flight.urgency,
                        self._terms(flight),
                    ),
                )
        except TimeoutError:
            raise Overloaded(
                f"The engine had nothing to send of this reply within {self._after_s:g} s.",
                retry_after_s=1,
            ) from None
        finally:
            flight.patience = None
            flight.timings.generation_ms += (time.perf_counter() - began_s) * 1000
        flight.timings.disk_ms += found.disk_ms
        flight.timings.queue_ms += found.queue_ms
        flight.timings.synth_ms += found.synth_ms
        if found.made:
            flight.made[planned.key] = found.clip.duration_s
        return found

    async def _while_heard(self, flight: Flight, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it, for as long as somebody listens."""
        if not (flight.readers or self._goes_on(flight)):
            raise Abandoned()
        task = asyncio.create_task(start())
        flight.fetching = task
        try:
            return await task
        except asyncio.CancelledError:
            if flight.readers or self._goes_on(flight):
                raise
            raise Abandoned() from None
        finally:
            flight.fetching = None

    def _patience_s(self, flight: Flight) -> float | None:
        """How long the engine may still take for the first sound; None: as long as it does."""
        if self._after_s is None or not self._may_leave(flight):
            return None
        return max(0.0, flight.asked_s + self._after_s - time.monotonic())

    def _may_leave(self, flight: Flight) -> bool:
        """Whether another may speak it: not once something was sent, and not to a warm-up alone."""
        return (
            self._detour is not None
            and not flight.begun
            and flight.terms.make
            and flight.callers > 0
        )

    async def _make_or_leave(self, flight: Flight) -> None:
        try:
            if flight.plan.provisional:
                raise not_fetched()
            await self._make(flight)
        except Abandoned:
            raise
        except EngineUnavailable as problem:
            if self._detour is None or not self._may_leave(flight):
                raise
            await self._detour.take(flight, problem, self._while_heard)

    @staticmethod
    def _terms(flight: Flight) -> Terms:
        """Those of a flight's clips."""
        return replace(flight.terms, store=flight.terms.store and not flight.plan.private)

    async def _make_sure_it_can_be_said(self, flight: Flight) -> None:
        """Have the engine look at everything that is not cached, before the first byte is sent.

        The engine checks a reply's later segments with the first one that it makes. Where the
        beginning is cached, that would come too late to refuse the reply.
        """
        for index in range(len(flight.plan.clips)):
            if (await self._fetch(flight, index)).made:
                return

    async def _make(self, flight: Flight) -> None:
        plain = all(is_plain(planned.segment.text) for planned in flight.plan.clips)
        if not plain and flight.terms.make:
            await self._make_sure_it_can_be_said(flight)
        async with encoding(flight.plan.format) as encoder:
            await self._encode(encoder, flight)

    async def _encode(self, encoder: Encoding, flight: Flight) -> None:
        """Encode clip after clip into the flight, and complete it."""
        plan = flight.plan
        begun_s, sent_s, clips_s = 0.0, 0.0, 0.0
        for index, planned in enumerate(plan.clips):
            if not (flight.readers or self._goes_on(flight)):
                raise Abandoned()
            if flight.begun and flight.urgency.priority is not Priority.WARM_UP:
                flight.urgency.hasten(Priority.LISTENING)
                flight.urgency.due_s = begun_s + sent_s - _MARGIN_S
            found = await self._fetch(flight, index)
            clips_s += found.clip.duration_s
            generated_s = time.perf_counter()
            chunk = await encoder.write(found.clip.pcm)
            if planned.pause_s:
                chunk += await encoder.write(silence(planned.pause_s))
            last = index == len(plan.clips) - 1
            finished = await encoder.finish() if last else None
            flight.timings.encode_ms += (time.perf_counter() - generated_s) * 1000
            if finished is not None:
                # All in one step: who waited for the first chunk finds the reply complete.
                duration_s = plan.duration_s(clips_s)
                entry = rendition(plan, finished.whole, duration_s, self._keep_text)
                stored = self._keep(flight, entry)
                flight.append(chunk + finished.tail)
                flight.complete(entry, stored)
                return
            if not flight.begun:
                begun_s = time.monotonic()
            flight.append(chunk)
            sent_s += found.clip.duration_s + planned.pause_s

    def _keep(self, flight: Flight, entry: Entry) -> bool:
        """Nobody's audio waits for the disk: it is told, and writes when it can."""
        if flight.plan.private or not flight.terms.store:
            return False
        warm_up = flight.terms.priority is Priority.WARM_UP
        return self._cache.put(entry, flight.generation, admit=warm_up)
