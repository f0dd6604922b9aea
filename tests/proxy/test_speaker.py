"""Listeners come and go; what the engine has begun is kept, and nothing is made for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from proxy.cache.counts import Counts
from proxy.cache.disk import DiskTier
from proxy.cache.key import Key, digest
from proxy.cache.memory import MemoryTier
from proxy.cache.tiered import TieredCache
from proxy.speech.clips import AfterHangup, Clips
from proxy.speech.elsewhere import Elsewhere, Errand, NotSpoken, Offer
from proxy.speech.plan import Plan, Planner, Wanted
from proxy.speech.reply import Outcome
from proxy.speech.schedule import Priority, Schedule
from proxy.speech.speaker import Speaker
from proxy.speech.terms import LIVE, NotCached, Terms
from synth.engine import CannotSay, Clip, EngineError, EngineUnavailable, Pcm, Segment
from synth.voices import VOICES
from synth.weights import Weights

WARM_UP = Terms(Priority.WARM_UP)
NO_STORE = Terms(store=False)
NO_CACHE = Terms(max_age_s=0)
ONLY_IF_CACHED = Terms(make=False)

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

    def release(self, text: str) -> None:
        """Finish it, if anybody waits for it still."""
        if not self._held[text].done():
            self.finish(text)

    def finish(self, text: str, error: Exception | None = None) -> None:
        if error is None:
            self._held[text].set_result(None)
        else:
            self._held[text].set_exception(error)


class Stage:
    """A speaker over a held engine with one slot."""

    def __init__(
        self,
        directory: Path,
        after_hangup: AfterHangup,
        elsewhere: Elsewhere | None = None,
        after_s: float | None = None,
    ) -> None:
        self.engine = HeldEngine()
        counts = Counts()
        self.disk = DiskTier(directory, 1 << 24, 1 << 24, counts)
        self.cache = TieredCache(MemoryTier(1 << 24), self.disk, counts)
        schedule = Schedule(self.engine, slots=1, max_waiting=10, max_wait_s=3600)
        self.clips = Clips(self.cache, schedule, after_hangup)
        self.speaker = Speaker(
            self.cache, self.clips, after_hangup, elsewhere=elsewhere, after_s=after_s
        )
        self.planner = Planner()
        self.planner.weights = Weights(Path(), "test", dict.fromkeys(FILES, ""))

    def plan(self, text: str) -> Plan:
        return self.planner.plan(Wanted(text, "af_bella", format="pcm"))

    def hear(self, text: str, terms: Terms = LIVE) -> asyncio.Task[Outcome]:
        """Listen to the whole of a reply."""

        async def listen() -> Outcome:
            with self.speaker.listen(self.plan(text), terms) as reply:
                await reply.finish()
                return reply.outcome

        return asyncio.create_task(listen())

    async def settle(self) -> None:
        """Let everybody come to where they wait: the disk is asked twice on the way, in order."""
        for _ in range(5):
            await asyncio.to_thread(lambda: None)
            await self.disk.flush()
            await self.disk.get("nothing")
            for _ in range(10):
                await asyncio.sleep(0)

    async def say(self, *texts: str) -> None:
        """Let the engine make these, in this order."""
        for text in texts:
            assert await self.engine.asked.get() == text
            self.engine.finish(text)


@pytest.fixture
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """Parametrised by `after_hangup` where that matters."""
    stage = Stage(tmp_path / "audio", getattr(request, "param", "finish_segment"))
    await stage.disk.open()
    yield stage
    await stage.speaker.close()
    await stage.clips.close()
    await stage.disk.close()


@dataclass(frozen=True, slots=True)
class ScriptedOffer:
    """Of a provider that says these pieces, or fails of one."""

    name: str
    pieces: Sequence[Pcm | Exception]
    voice: str = "theirs"
    keep: bool = False

    def key(self, format: str) -> Key:
        return digest("elsewhere", self.name, format)

    async def speak(self) -> AsyncGenerator[Pcm]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Others:
    """Whoever may stand in, as the test says."""

    def __init__(self) -> None:
        self.there: list[ScriptedOffer] = []

    def offers(self, errand: Errand) -> Sequence[Offer]:
        return self.there


@pytest.fixture
def others() -> Others:
    return Others()


@pytest.fixture
async def stage_with_others(
    request: pytest.FixtureRequest, others: Others, tmp_path: Path
) -> AsyncIterator[Stage]:
    """Parametrised by `after_s` where that matters."""
    after_s = getattr(request, "param", 60.0)
    stage = Stage(tmp_path / "audio", "finish_segment", others, after_s)
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
    running = stage.hear("Running.", WARM_UP)
    assert await stage.engine.asked.get() == "Running."
    warm_ups = [stage.hear("First.", WARM_UP), stage.hear("Second.", WARM_UP)]
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


# What becomes of a reply that nobody listens to any more.


@pytest.mark.parametrize("stage", ["finish_reply"], indirect=True)
async def test_a_reply_may_be_finished_though_nobody_listens(stage: Stage) -> None:
    leaver = stage.hear("One. Two. Three.")
    assert await stage.engine.asked.get() == "One."
    await leave(leaver)
    stage.engine.finish("One.")
    await stage.say("Two.", "Three.")
    async with asyncio.timeout(30):
        while stage.cache.get_at_once(stage.plan("One. Two. Three.").key) is None:
            await stage.settle()


@pytest.mark.parametrize("stage", ["finish_reply"], indirect=True)
async def test_a_reply_that_nobody_listens_to_goes_behind_all_others_until_somebody_does(
    stage: Stage,
) -> None:
    leaver = stage.hear("One. Two. Three.")
    assert await stage.engine.asked.get() == "One."
    call = stage.hear("A call.")
    await stage.settle()
    await leave(leaver)
    stage.engine.finish("One.")
    await stage.say("A call.")
    assert await call is Outcome.MISS
    assert await stage.engine.asked.get() == "Two."
    later = stage.hear("Later.")
    await stage.settle()
    comer = stage.hear("One. Two. Three.")
    await stage.settle()
    stage.engine.finish("Two.")
    await stage.say("Later.", "Three.")
    assert await comer is Outcome.COLLAPSED
    assert await later is Outcome.MISS


@pytest.mark.parametrize("stage", ["drop"], indirect=True)
async def test_a_reply_may_be_dropped_at_once(stage: Stage) -> None:
    leaver = stage.hear("Begun already. Never begun.")
    assert await stage.engine.asked.get() == "Begun already."
    await leave(leaver)
    again = stage.hear("Begun already.")
    await stage.say("Begun already.")
    assert await again is Outcome.MISS


@pytest.mark.parametrize("stage", ["finish_segment", "finish_reply", "drop"], indirect=True)
async def test_no_task_is_left_behind_when_everybody_has_left(stage: Stage) -> None:
    before = asyncio.all_tasks()
    leavers = [stage.hear("One. Two."), stage.hear("One. Two."), stage.hear("Three.")]
    assert await stage.engine.asked.get() == "One."
    await stage.settle()
    for leaver in leavers:
        await leave(leaver)
    stage.engine.release("One.")
    async with asyncio.timeout(30):
        while not asyncio.all_tasks() <= before:
            await stage.settle()
            while not stage.engine.asked.empty():
                stage.engine.release(stage.engine.asked.get_nowait())


# On what terms.


async def test_what_must_not_be_stored_leaves_nothing_behind(stage: Stage) -> None:
    for _ in range(2):
        listener = stage.hear("A secret. Another.", NO_STORE)
        await stage.say("A secret.", "Another.")
        assert await listener is Outcome.MISS
    plan = stage.plan("A secret. Another.")
    for key in (plan.key, *(clip.key for clip in plan.clips)):
        assert await stage.cache.get(key) is None
    assert not list(stage.disk.traffic.directory.rglob("*.val"))
    assert len(stage.disk.traffic) == 0


async def test_what_is_cached_is_served_to_who_wants_nothing_stored(stage: Stage) -> None:
    first = stage.hear("Hello.")
    await stage.say("Hello.")
    await first
    assert await stage.hear("Hello.", NO_STORE) is Outcome.HIT
    partly = stage.hear("Hello. A secret.", NO_STORE)
    await stage.say("A secret.")
    assert await partly is Outcome.MISS


async def test_who_wants_it_stored_does_not_share_with_who_does_not(stage: Stage) -> None:
    secretive = stage.hear("Shared.", NO_STORE)
    assert await stage.engine.asked.get() == "Shared."
    open_handed = stage.hear("Shared.")
    await stage.settle()
    stage.engine.finish("Shared.")
    assert await secretive is Outcome.MISS
    await stage.say("Shared.")
    assert await open_handed is Outcome.MISS
    assert await stage.hear("Shared.") is Outcome.HIT


async def test_no_cache_makes_it_again_and_replaces_what_was_there(stage: Stage) -> None:
    first = stage.hear("Hello.")
    await stage.say("Hello.")
    await first
    key = stage.plan("Hello.").key
    before = stage.cache.get_at_once(key)
    again = stage.hear("Hello.", NO_CACHE)
    await stage.say("Hello.")
    assert await again is Outcome.MISS
    after = stage.cache.get_at_once(key)
    assert before is not None and after is not None
    assert after.stored_at_s > before.stored_at_s
    assert await stage.hear("Hello.") is Outcome.HIT


async def test_what_is_younger_than_the_age_asked_for_will_do(stage: Stage) -> None:
    first = stage.hear("Hello.")
    await stage.say("Hello.")
    await first
    assert await stage.hear("Hello.", Terms(max_age_s=3600)) is Outcome.HIT


async def test_only_what_is_cached_is_served_to_who_wants_nothing_made(stage: Stage) -> None:
    with pytest.raises(NotCached):
        await stage.hear("One. Two.", ONLY_IF_CACHED)
    first = stage.hear("One.")
    await stage.say("One.")
    await first
    assert await stage.hear("One.", ONLY_IF_CACHED) is Outcome.HIT
    with pytest.raises(NotCached):
        await stage.hear("One. Two.", ONLY_IF_CACHED)
    second = stage.hear("Two.")
    await stage.say("Two.")
    await second
    # Its sentences are there, so nothing has to be made.
    assert await stage.hear("One. Two.", ONLY_IF_CACHED) is Outcome.HIT
    assert stage.engine.asked.empty()


async def test_what_traffic_left_is_pinned_when_a_phrasebook_asks(stage: Stage) -> None:
    call = stage.hear("One. Two.")
    await stage.say("One.", "Two.")
    await call
    await stage.settle()
    assert (len(stage.disk.pinned), len(stage.disk.traffic)) == (0, 3)
    assert await stage.speaker.keep(stage.plan("One. Two."), Terms(Priority.WARM_UP)) == 0.0
    await stage.settle()
    assert (len(stage.disk.pinned), len(stage.disk.traffic)) == (3, 0)


async def test_another_reply_under_the_same_id_is_never_served(stage: Stage) -> None:
    """Texts whose xxh3 is the same can be constructed; here the other one is planted."""
    plan = stage.plan("Send it to Ann.")
    other = replace(plan, key=Key(plan.key.id, "0" * 32))
    with stage.speaker.listen(other) as reply:
        making = asyncio.create_task(reply.finish())
        assert await stage.engine.asked.get() == "Send it to Ann."
        mine = stage.hear("Send it to Ann.")
        await stage.settle()
        stage.engine.finish("Send it to Ann.")
        entry = await making
    assert entry.key == other.key
    assert await mine is Outcome.MISS, "it joined the flight of another"
    with stage.speaker.listen(other) as reply:
        assert reply.outcome is Outcome.MISS
        await reply.finish()


SPEECH = np.full(2400, 9, dtype=np.int16)


async def hear_without_engine(stage: Stage, text: str) -> bytes:
    with stage.speaker.listen(stage.plan(text)) as reply:
        making = asyncio.create_task(reply.finish())
        await stage.engine.asked.get()
        stage.engine.finish(text, EngineUnavailable("It died.", retry_after_s=1))
        return bytes((await making).payload)


async def test_a_provider_that_fails_as_nobody_expected_makes_room_for_the_next(
    stage_with_others: Stage, others: Others, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ScriptedOffer("broken", [ValueError("sk-hush")])
    others.there = [broken, ScriptedOffer("well", [SPEECH])]
    assert await hear_without_engine(stage_with_others, "One.") == SPEECH.tobytes()
    others.there = [broken]
    with pytest.raises(EngineUnavailable, match="It died"):
        await hear_without_engine(stage_with_others, "Two.")
    assert "the provider broken failed (ValueError)" in caplog.text
    assert "sk-hush" not in caplog.text


@pytest.mark.parametrize("stage_with_others", [0.02], indirect=True)
@pytest.mark.parametrize(
    ("pieces", "said"),
    [([SPEECH], None), ([SPEECH, NotSpoken("cut")], "broke off"), ([NotSpoken("no")], "0.02 s")],
    ids=["speaks", "breaks off", "fails"],
)
async def test_a_call_that_joins_a_warm_up_is_stood_in_for_and_the_phrase_is_made_all_the_same(
    stage_with_others: Stage, others: Others, pieces: Sequence[Pcm | Exception], said: str | None
) -> None:
    stage, plan = stage_with_others, stage_with_others.plan("One.")
    others.there = [ScriptedOffer("other", pieces)]
    warming = asyncio.create_task(stage.speaker.keep(plan, WARM_UP))
    assert await stage.engine.asked.get() == "One."
    with stage.speaker.listen(plan) as reply:
        assert reply.outcome is Outcome.COLLAPSED
        if said is None:
            assert (await reply.finish()).payload == SPEECH.tobytes()
        else:
            with pytest.raises(EngineError, match=said):
                await reply.finish()
    await stage.settle()
    assert not warming.done()
    stage.engine.finish("One.")
    await warming
    await stage.settle()
    assert await stage.disk.is_pinned(plan.key)


@pytest.mark.parametrize("stage_with_others", [0.02], indirect=True)
async def test_a_warm_up_that_a_call_has_joined_and_left_waits_for_the_engine_again(
    stage_with_others: Stage, others: Others
) -> None:
    stage, plan = stage_with_others, stage_with_others.plan("One.")
    others.there = [ScriptedOffer("other", [AssertionError("A warm-up was sent elsewhere.")])]
    with stage.speaker.listen(plan, WARM_UP) as warming:
        assert await stage.engine.asked.get() == "One."
        with stage.speaker.listen(plan):
            pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(warming.begin(), 0.1)
        stage.engine.finish("One.")
        assert (await warming.finish()).about.provider is None
