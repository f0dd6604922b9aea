"""Listeners come and go; what the engine has begun is kept, and nothing is made for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from proxy.cache.disk import DiskTier
from proxy.cache.memory import MemoryTier
from proxy.cache.tiered import TieredCache
from proxy.speech.clips import Clips
from proxy.speech.plan import Plan, Planner, Wanted
from proxy.speech.schedule import Priority, Schedule
from proxy.speech.speaker import Outcome, Speaker
from synth.engine import CannotSay, Clip, Segment
from synth.voices import VOICES
from synth.weights import Weights

FILES = ("config.json", "kokoro-v1_0.pth", *(f"voices/{name}.pt" for name in VOICES))


class HeldEngine:
    """Makes a clip when the test says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.ahead: list[list[str]] = []
        self._held: dict[str, asyncio.Future[None]] = {}

    async def synthesize(self, segment: Segment, ahead: Sequence[Segment] = ()) -> Clip:
        self.ahead.append([later.text for later in ahead])
        self._held[segment.text] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(segment.text)
        await self._held[segment.text]
        return Clip(np.ones(2400, dtype=np.int16))

    def finish(self, text: str, error: Exception | None = None) -> None:
        if error is None:
            self._held[text].set_result(None)
        else:
            self._held[text].set_exception(error)


class Stage:
    """A speaker over a held engine with one slot."""

    def __init__(self, directory: Path) -> None:
        self.engine = HeldEngine()
        self.disk = DiskTier(directory, 1 << 24)
        cache = TieredCache(MemoryTier(1 << 24), self.disk)
        self.clips = Clips(cache, Schedule(self.engine, slots=1, max_waiting=10))
        self.speaker = Speaker(cache, self.clips)
        self.planner = Planner()
        self.planner.weights = Weights(Path(), "test", dict.fromkeys(FILES, ""))

    def plan(self, text: str) -> Plan:
        return self.planner.plan(Wanted(text, "af_bella", format="pcm"))

    def hear(self, text: str, priority: Priority = Priority.WAITING) -> asyncio.Task[Outcome]:
        """Listen to the whole of a reply."""

        async def listen() -> Outcome:
            with self.speaker.listen(self.plan(text), priority) as reply:
                await reply.finish()
                return reply.outcome

        return asyncio.create_task(listen())

    async def settle(self) -> None:
        """Let everybody come to where they wait: the disk is asked twice on the way, in order."""
        for _ in range(3):
            await self.disk.get("nothing")
            for _ in range(10):
                await asyncio.sleep(0)

    async def say(self, *texts: str) -> None:
        """Let the engine make these, in this order."""
        for text in texts:
            assert await self.engine.asked.get() == text
            self.engine.finish(text)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path / "audio")
    await stage.disk.open()
    yield stage
    await stage.speaker.close()
    await stage.clips.close()
    await stage.disk.close()


async def leave(listener: asyncio.Task[Outcome]) -> None:
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


async def test_what_queues_for_the_engine_is_not_made_once_its_only_listener_has_left(
    stage: Stage,
) -> None:
    first = stage.hear("At work.")
    assert await stage.engine.asked.get() == "At work."
    leaver, stayer = stage.hear("Left behind."), stage.hear("Wanted still.")
    await stage.settle()
    await leave(leaver)
    stage.engine.finish("At work.")
    await first
    await stage.say("Wanted still.")
    assert await stayer is Outcome.MISS
    assert stage.engine.asked.empty()


async def test_the_sentence_at_the_engine_is_kept_though_its_listener_has_left(
    stage: Stage,
) -> None:
    leaver = stage.hear("Begun already. Never begun.")
    assert await stage.engine.asked.get() == "Begun already."
    await leave(leaver)
    stage.engine.finish("Begun already.")
    again = stage.hear("Begun already. Another end.")
    await stage.say("Another end.")
    assert await again is Outcome.MISS
    assert stage.engine.asked.empty()


async def test_who_asks_after_everybody_left_gets_the_whole_reply(stage: Stage) -> None:
    leaver = stage.hear("One. Two.")
    assert await stage.engine.asked.get() == "One."
    await leave(leaver)
    comer = stage.hear("One. Two.")
    await stage.settle()
    stage.engine.finish("One.")
    await stage.say("Two.")
    assert await comer is Outcome.MISS
    assert await stage.hear("One. Two.") is Outcome.HIT


async def test_a_second_listener_keeps_alive_what_the_first_has_left(stage: Stage) -> None:
    first, second = stage.hear("Shared."), stage.hear("Shared.")
    assert await stage.engine.asked.get() == "Shared."
    await leave(first)
    stage.engine.finish("Shared.")
    assert await second is Outcome.COLLAPSED


async def test_a_call_that_joins_a_warm_up_goes_before_other_warm_ups(stage: Stage) -> None:
    running = stage.hear("Running.", Priority.WARM_UP)
    assert await stage.engine.asked.get() == "Running."
    warm_ups = [stage.hear("First.", Priority.WARM_UP), stage.hear("Second.", Priority.WARM_UP)]
    await stage.settle()
    call = stage.hear("Second.")
    await stage.settle()
    stage.engine.finish("Running.")
    await stage.say("Second.", "First.")
    assert await call is Outcome.COLLAPSED
    await asyncio.gather(running, *warm_ups)


async def test_a_reply_with_unusual_text_is_looked_at_whole_before_its_cached_beginning_is_sent(
    stage: Stage,
) -> None:
    first = stage.hear("Hello.")
    await stage.say("Hello.")
    await first
    listener = stage.hear("Hello. It is 5 < 6. Bye.")
    assert await stage.engine.asked.get() == "It is 5 < 6."
    assert stage.engine.ahead[-1] == ["Bye."]
    stage.engine.finish("It is 5 < 6.", CannotSay("no way to say '<'"))
    with pytest.raises(CannotSay):
        await listener


async def test_what_cannot_be_said_in_one_reply_does_not_fail_another_that_shares_a_sentence(
    stage: Stage,
) -> None:
    unsayable = stage.hear("Shared. It is 5 < 6.")
    assert await stage.engine.asked.get() == "Shared."
    sayable = stage.hear("Shared. All is well.")
    await stage.settle()
    stage.engine.finish("Shared.", CannotSay("no way to say '<'"))
    with pytest.raises(CannotSay):
        await unsayable
    await stage.say("Shared.", "All is well.")
    assert await sayable is Outcome.MISS
