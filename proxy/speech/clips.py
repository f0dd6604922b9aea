"""Clips: out of the cache, or made once for everybody who asks meanwhile."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import soundfile

from proxy.cache.entry import Entry
from proxy.cache.tiered import TieredCache
from proxy.speech.plan import PlannedClip
from proxy.speech.schedule import Schedule, Urgency
from synth.engine import SAMPLE_RATE_HZ, Clip, Segment, Word


@dataclass(frozen=True, slots=True)
class FoundClip:
    """A clip, and whether the engine had to make it."""

    clip: Clip
    cached: bool


class Clips:
    """Every clip there is or could be, by key."""

    def __init__(self, cache: TieredCache, schedule: Schedule) -> None:
        self._cache = cache
        self._schedule = schedule
        self._under_way: dict[str, tuple[asyncio.Task[FoundClip], Urgency]] = {}

    async def get(
        self, planned: PlannedClip, ahead: Sequence[Segment], urgency: Urgency
    ) -> FoundClip:
        """The clip of `planned`; `ahead` as for `synth.engine.Engine.synthesize`.

        Two who ask for a clip at the same time get the same one, made once.

        Raises:
            EngineError: it is not cached and could not be made. Nothing was stored.
        """
        # No `await` between looking for the task and adding it, or two would be started.
        if planned.key in self._under_way:
            task, shared = self._under_way[planned.key]
            shared.hasten(urgency.priority)
        else:
            task = asyncio.create_task(self._find(planned, ahead, urgency))
            self._under_way[planned.key] = task, urgency
            task.add_done_callback(lambda done: self._land(planned.key, done))
        # Shielded: whoever waits may leave, and the others still want the clip.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Drop what is under way."""
        tasks = [task for task, _ in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _land(self, key: str, task: asyncio.Task[FoundClip]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # Whoever asked has it; where all of them left, nobody misses it.

    async def _find(
        self, planned: PlannedClip, ahead: Sequence[Segment], urgency: Urgency
    ) -> FoundClip:
        entry = await self._cache.get(planned.key)
        if entry is not None:
            return FoundClip(await asyncio.to_thread(_from_entry, entry), cached=True)
        clip = await self._schedule.synthesize(planned.segment, ahead, urgency)
        await self._cache.put(await asyncio.to_thread(_to_entry, planned.key, clip))
        return FoundClip(clip, cached=False)


def _to_entry(key: str, clip: Clip) -> Entry:
    """FLAC keeps the samples as they are, at about half their size."""
    file = io.BytesIO()
    soundfile.write(file, clip.pcm, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return Entry(key, file.getvalue(), {"words": [asdict(word) for word in clip.words]})


def _from_entry(entry: Entry) -> Clip:
    pcm, _ = soundfile.read(io.BytesIO(entry.payload), dtype="int16")
    return Clip(pcm, tuple(Word(**word) for word in entry.about["words"]))
