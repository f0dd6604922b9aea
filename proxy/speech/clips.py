"""Clips: out of the cache, or made once for everybody who asks meanwhile."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import soundfile

from proxy.cache.entry import Entry
from proxy.cache.tiered import TieredCache
from proxy.speech.plan import PlannedClip
from proxy.speech.schedule import Overloaded, Schedule, Urgency
from synth.engine import SAMPLE_RATE_HZ, CannotSay, Clip, Segment, Word

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundClip:
    """A clip, and whether the engine made it for this caller."""

    clip: Clip
    made: bool
    """False where it was cached, or was being made for another caller already."""


@dataclass(slots=True)
class _UnderWay:
    """A clip that somebody waits for."""

    urgency: Urgency
    task: asyncio.Task[FoundClip] | None = None
    waiters: int = 0
    at_engine: bool = False


class Clips:
    """Every clip there is or could be, by key."""

    def __init__(self, cache: TieredCache, schedule: Schedule) -> None:
        self._cache = cache
        self._schedule = schedule
        self._under_way: dict[str, _UnderWay] = {}
        self._tasks: set[asyncio.Task[FoundClip]] = set()

    async def get(
        self, planned: PlannedClip, ahead: Sequence[Segment], urgency: Urgency
    ) -> FoundClip:
        """The clip of `planned`; `ahead` as for `synth.engine.Engine.synthesize`.

        Two who ask for a clip at the same time get the same one, made once. When all who wait have
        left, a clip that is at the engine is finished and kept; one that still queues for it is not
        made.

        Raises:
            EngineError: it is not cached and could not be made. Nothing was stored.
        """
        # No `await` between looking for it and starting it, or two would be started.
        under_way = self._under_way.get(planned.key)
        joined = under_way is not None
        if under_way is None:
            under_way = self._start(planned, ahead, urgency)
        under_way.urgency.hasten(urgency.priority)
        under_way.waiters += 1
        assert under_way.task is not None
        try:
            # Shielded: whoever waits may leave, and the others still want the clip.
            found = await asyncio.shield(under_way.task)
        except (CannotSay, Overloaded):
            if not joined:
                raise
            # That was for another: what cannot be said may be in the rest of their reply, and who
            # has begun to be heard is not refused.
            return await self.get(planned, ahead, urgency)
        finally:
            under_way.waiters -= 1
            if not (under_way.waiters or under_way.at_engine or under_way.task.done()):
                self._land(planned.key, under_way)
                under_way.task.cancel()
        return FoundClip(found.clip, made=found.made and not joined)

    async def close(self) -> None:
        """Drop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, planned: PlannedClip, ahead: Sequence[Segment], urgency: Urgency) -> _UnderWay:
        under_way = _UnderWay(urgency)
        task = asyncio.create_task(self._find(planned, ahead, under_way))
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

    def _land(self, key: str, under_way: _UnderWay) -> None:
        if self._under_way.get(key) is under_way:
            del self._under_way[key]

    async def _find(
        self, planned: PlannedClip, ahead: Sequence[Segment], under_way: _UnderWay
    ) -> FoundClip:
        entry = await self._cache.get(planned.key)
        if entry is not None:
            try:
                return FoundClip(await asyncio.to_thread(_from_entry, entry), made=False)
            except (soundfile.LibsndfileError, KeyError, TypeError) as problem:
                logger.error("the clip %s… cannot be read: %s", planned.key[:12], problem)

        def at_engine() -> None:
            under_way.at_engine = True

        clip = await self._schedule.synthesize(
            planned.segment, ahead, under_way.urgency, on_turn=at_engine
        )
        self._cache.put(await asyncio.to_thread(_to_entry, planned.key, clip))
        return FoundClip(clip, made=True)


def _to_entry(key: str, clip: Clip) -> Entry:
    """FLAC keeps the samples as they are, at about half their size."""
    file = io.BytesIO()
    soundfile.write(file, clip.pcm, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return Entry(key, file.getvalue(), {"words": [asdict(word) for word in clip.words]})


def _from_entry(entry: Entry) -> Clip:
    pcm, _ = soundfile.read(io.BytesIO(entry.payload), dtype="int16")
    return Clip(pcm, tuple(Word(**word) for word in entry.about["words"]))
