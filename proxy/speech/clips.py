"""Clips: out of the cache, or made once for everybody who asks meanwhile."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import soundfile

from proxy.cache.entry import About, Entry, WordSpan
from proxy.cache.key import Key
from proxy.cache.tiered import TieredCache
from proxy.speech.plan import PlannedClip
from proxy.speech.schedule import Overloaded, Priority, Schedule, Urgency
from proxy.speech.terms import NotCached, Terms
from synth.engine import SAMPLE_RATE_HZ, CannotSay, Clip, EngineLoading, Segment, Word

logger = logging.getLogger(__name__)

AfterHangup = Literal["finish_segment", "finish_reply", "drop"]
"""What becomes of a reply that nobody listens to any more: the segment at the engine is finished
and kept; all of it is; nothing is."""


@dataclass(frozen=True, slots=True)
class FoundClip:
    """A clip, and what it took to get it."""

    clip: Clip
    made: bool
    """Whether the engine made it for this caller. False where it was cached, or was being made for
    another caller already."""
    disk_ms: float = 0.0
    queue_ms: float = 0.0
    synth_ms: float = 0.0


@dataclass(slots=True)
class _UnderWay:
    """A clip that somebody waits for."""

    urgency: Urgency
    store: bool
    """Whether anybody who waits lets it be kept."""
    task: asyncio.Task[FoundClip] | None = None
    waiters: int = 0
    at_engine: bool = False


class Clips:
    """Every clip there is or could be, by key."""

    def __init__(
        self,
        cache: TieredCache,
        schedule: Schedule,
        after_hangup: AfterHangup = "finish_segment",
        keep_text: bool = False,
    ) -> None:
        self._cache = cache
        self._schedule = schedule
        self._after_hangup = after_hangup
        self._keep_text = keep_text
        self._under_way: dict[Key, _UnderWay] = {}
        self._tasks: set[asyncio.Task[FoundClip]] = set()

    async def get(
        self, planned: PlannedClip, ahead: Sequence[Segment], urgency: Urgency, terms: Terms
    ) -> FoundClip:
        """The clip of `planned`; `ahead` as for `synth.engine.Engine.synthesize`.

        Two who ask for a clip at the same time get the same one, made once. When all who wait have
        left, a clip that still queues for the engine is not made; one that is at the engine is
        finished and kept, unless it is to be dropped.

        Raises:
            NotCached: it is not cached, and was not to be made.
            EngineError: it is not cached and could not be made, or what was made did not pass
                `terms.check`. Nothing was stored.
        """
        if planned.recording is not None:
            return FoundClip(await asyncio.to_thread(planned.recording.clip), made=False)
        if terms.alone:
            alone = _UnderWay(urgency, terms.store)
            return await self._find(planned, ahead, alone, terms)
        # No `await` between looking for it and starting it, or two would be started.
        under_way = self._under_way.get(planned.key)
        joined = under_way is not None
        if under_way is None:
            under_way = self._start(planned, ahead, urgency, terms)
        under_way.urgency.hasten(urgency.priority)
        under_way.store |= terms.store
        under_way.waiters += 1
        assert under_way.task is not None
        try:
            # Shielded: whoever waits may leave, and the others still want the clip.
            found = await asyncio.shield(under_way.task)
        except (CannotSay, EngineLoading, Overloaded):
            if not joined:
                raise
            # That was for another: what cannot be said may be in the rest of their reply, and who
            # has begun to be heard is not refused, nor is who can wait for the engine.
            return await self.get(planned, ahead, urgency, terms)
        finally:
            under_way.waiters -= 1
            if not under_way.waiters and not under_way.task.done():
                self._leave(planned.key, under_way)
        return replace(found, made=found.made and not joined)

    async def close(self) -> None:
        """Drop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(
        self, planned: PlannedClip, ahead: Sequence[Segment], urgency: Urgency, terms: Terms
    ) -> _UnderWay:
        under_way = _UnderWay(urgency, terms.store)
        task = asyncio.create_task(self._find(planned, ahead, under_way, terms))
        under_way.task = task
        self._under_way[planned.key] = under_way
        self._tasks.add(task)

        def finished(task: asyncio.Task[FoundClip]) -> None:
            self._land(planned.key, under_way)
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()  # Whoever asked has it; where all have left, nobody misses it.

        task.add_done_callback(finished)
        return under_way

    def _leave(self, key: Key, under_way: _UnderWay) -> None:
        """Nobody waits for it any more."""
        if under_way.at_engine and self._after_hangup != "drop":
            return
        self._land(key, under_way)
        assert under_way.task is not None
        under_way.task.cancel()

    def _land(self, key: Key, under_way: _UnderWay) -> None:
        if self._under_way.get(key) is under_way:
            del self._under_way[key]

    async def _find(
        self,
        planned: PlannedClip,
        ahead: Sequence[Segment],
        under_way: _UnderWay,
        terms: Terms,
    ) -> FoundClip:
        generation = self._cache.generation
        began_s = time.perf_counter()
        found = await self._cache.get(planned.key)
        looked_s = time.perf_counter()
        disk_ms = 0.0
        if found is None or found.where == "disk":
            disk_ms = (looked_s - began_s) * 1000
        if found is not None and terms.take(found.entry):
            try:
                clip = await asyncio.to_thread(_from_entry, found.entry, planned.segment)
                return FoundClip(clip, made=False, disk_ms=disk_ms)
            except soundfile.LibsndfileError as problem:
                logger.error("the clip %s… cannot be read: %s", planned.key.id[:12], problem)
        if not terms.make:
            raise NotCached("It is not cached.")
        turn_s = looked_s

        def at_engine() -> None:
            nonlocal turn_s
            turn_s = time.perf_counter()
            under_way.at_engine = True

        clip = await self._schedule.synthesize(
            planned.segment, ahead, under_way.urgency, on_turn=at_engine
        )
        made_s = time.perf_counter()
        if terms.check is not None:
            await terms.check(planned.segment, clip)
        if under_way.store:
            entry = await asyncio.to_thread(self._to_entry, planned, clip)
            if under_way.store:
                warm_up = under_way.urgency.priority is Priority.WARM_UP
                self._cache.put(entry, generation, admit=warm_up)
        return FoundClip(
            clip,
            made=True,
            disk_ms=disk_ms,
            queue_ms=(turn_s - looked_s) * 1000,
            synth_ms=(made_s - turn_s) * 1000,
        )

    def _to_entry(self, planned: PlannedClip, clip: Clip) -> Entry:
        """FLAC keeps the samples as they are, at about half their size."""
        file = io.BytesIO()
        soundfile.write(file, clip.pcm, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
        segment = planned.segment
        about = About(
            kind="clip",
            format="flac",
            voice=str(segment.blend),
            language=segment.language,
            speed=segment.speed,
            duration_s=clip.duration_s,
            says=planned.says,
            text=segment.text if self._keep_text else None,
            words=tuple(_spans(clip.words, segment.text)),
        )
        return Entry(planned.key, file.getvalue(), about)


def _spans(words: Iterable[Word], text: str) -> Iterable[WordSpan]:
    """Where in the text the words are. One that is not in it, letter by letter, is left out."""
    place = 0
    for word in words:
        begin = text.find(word.text, place)
        if begin >= 0:
            place = begin + len(word.text)
            yield WordSpan(begin, place, word.start_s, word.end_s)


def _from_entry(entry: Entry, segment: Segment) -> Clip:
    pcm, _ = soundfile.read(io.BytesIO(entry.payload), dtype="int16")
    words = (
        Word(segment.text[it.begin : it.end], it.start_s, it.end_s) for it in entry.about.words
    )
    return Clip(pcm, tuple(words))
