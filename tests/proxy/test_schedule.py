"""Turns at the engine: who is next, who is refused, and that none is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.speech.schedule import Overloaded, Priority, Schedule, Urgency
from synth.engine import BadAudio, Clip, EngineError, Segment
from synth.voices import Blend

CLIP = Clip(np.zeros(24, dtype=np.int16))


class HeldEngine:
    """Begins at once, and finishes a segment when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ahead: list[tuple[str, ...]] = []
        self.under_way_by_text: dict[str, asyncio.Future[Clip]] = {}

    @property
    def under_way(self) -> list[str]:
        return list(self.under_way_by_text)

    async def synthesize(self, segment: Segment, ahead: Sequence[Segment] = ()) -> Clip:
        self.begun.append(segment.text)
        self.ahead.append(tuple(later.text for later in ahead))
        self.under_way_by_text[segment.text] = asyncio.get_running_loop().create_future()
        try:
            return await self.under_way_by_text[segment.text]
        finally:
            del self.under_way_by_text[segment.text]

    async def finish(self, text: str, error: EngineError | None = None) -> None:
        if error is None:
            self.under_way_by_text[text].set_result(CLIP)
        else:
            self.under_way_by_text[text].set_exception(error)
        await let_others_run()


class Line:
    """A schedule with its engine, and everybody who asked."""

    def __init__(self, slots: int = 1, max_waiting: int = 100, max_wait_s: float = 3600.0) -> None:
        self.engine = HeldEngine()
        self.schedule = Schedule(self.engine, slots, max_waiting, max_wait_s)
        self.asked: dict[str, asyncio.Task[Clip]] = {}
        self.urgencies: dict[str, Urgency] = {}
        self.began_s = time.monotonic()

    async def ask(
        self, text: str, priority: Priority = Priority.WAITING, due_in_s: float = 0
    ) -> asyncio.Task[Clip]:
        self.urgencies[text] = Urgency(priority, self.began_s + due_in_s)
        self.asked[text] = asyncio.create_task(
            self.schedule.synthesize(segment(text), (), self.urgencies[text])
        )
        await let_others_run()
        return self.asked[text]

    async def leave(self, text: str) -> None:
        self.asked[text].cancel()
        await let_others_run()

    async def finish_and_leave(self, finished: str, leaving: str) -> None:
        """Both in one turn of the loop: who leaves may have been given the slot, and not know."""
        self.engine.under_way_by_text[finished].set_result(CLIP)
        asyncio.get_running_loop().call_soon(self.asked[leaving].cancel)
        await let_others_run()

    async def finish_all(self) -> None:
        while self.engine.under_way:
            await self.engine.finish(self.engine.under_way[0])


def segment(text: str) -> Segment:
    return Segment(text, Blend((("af_bella", 1),)), "a", 1.0, seed=0)


async def let_others_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_run_at_a_time_as_there_are_slots() -> None:
    line = Line(slots=2)
    for text in "abc":
        await line.ask(text)
    assert line.engine.under_way == ["a", "b"]
    await line.engine.finish("a")
    assert line.engine.under_way == ["b", "c"]
    assert await line.asked["a"] is CLIP
    await line.finish_all()


async def test_the_engine_is_told_what_lies_ahead() -> None:
    line = Line()
    asking = asyncio.create_task(
        line.schedule.synthesize(
            segment("a"), [segment("b"), segment("c")], Urgency(Priority.WAITING)
        )
    )
    await let_others_run()
    await line.finish_all()
    await asking
    assert line.engine.ahead == [("b", "c")]


async def test_who_is_due_first_goes_first_and_a_warm_up_last() -> None:
    line = Line()
    await line.ask("running")
    await line.ask("warm-up", Priority.WARM_UP, due_in_s=-100)
    await line.ask("new")
    await line.ask("with much left to hear", Priority.LISTENING, due_in_s=10)
    await line.ask("about to fall silent", Priority.LISTENING, due_in_s=-1)
    await line.ask("new, too")
    await line.finish_all()
    assert line.engine.begun == [
        "running",
        "about to fall silent",
        "new",
        "new, too",
        "with much left to hear",
        "warm-up",
    ]


async def test_what_becomes_urgent_while_it_waits_overtakes() -> None:
    line = Line()
    await line.ask("running")
    await line.ask("warm-up", Priority.WARM_UP)
    await line.ask("new")
    line.urgencies["warm-up"].hasten(Priority.WAITING)
    line.urgencies["new"].hasten(Priority.WARM_UP)
    await line.finish_all()
    assert line.engine.begun == ["running", "warm-up", "new"], "urgency only grows"


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(-9, 9)), max_size=12))
async def test_turns_come_when_they_are_due(asked: list[tuple[Priority, int]]) -> None:
    line = Line()
    await line.ask("running")
    for number, (priority, due_in_s) in enumerate(asked):
        await line.ask(f"{number}", priority, due_in_s)
    await line.finish_all()

    def order(text: str) -> tuple[bool, int, int]:
        priority, due_in_s = asked[int(text)]
        return priority is Priority.WARM_UP, due_in_s, int(text)

    assert line.engine.begun[1:] == sorted(line.engine.begun[1:], key=order)
    assert len(line.engine.begun) == len(asked) + 1


async def test_when_enough_wait_the_next_is_refused_and_told_when_to_return() -> None:
    line = Line(max_waiting=2)
    for text in "abc":
        await line.ask(text)
    refused = await line.ask("d")
    with pytest.raises(Overloaded) as told:
        await refused
    assert told.value.retry_after_s >= 1
    assert "2" in str(told.value)
    await line.finish_all()
    assert line.engine.begun == ["a", "b", "c"]
    await line.ask("e")
    assert line.engine.under_way == ["e"]
    await line.finish_all()


async def test_nobody_waits_where_none_may() -> None:
    line = Line(max_waiting=0)
    await line.ask("a")
    with pytest.raises(Overloaded):
        await (await line.ask("b"))
    await line.finish_all()


async def test_who_has_waited_for_too_long_is_refused_and_leaves_the_line() -> None:
    line = Line(max_wait_s=0.02)
    await line.ask("running")
    waited = await line.ask("waiting")
    with pytest.raises(Overloaded, match=r"within 0\.02 s") as told:
        await waited
    assert told.value.retry_after_s >= 1
    await line.finish_all()
    assert line.engine.begun == ["running"]


@pytest.mark.parametrize("priority", [Priority.LISTENING, Priority.WARM_UP])
async def test_only_new_replies_have_a_deadline(priority: Priority) -> None:
    line = Line(max_wait_s=0.02)
    await line.ask("running")
    patient = await line.ask("patient", priority)
    new = await line.ask("new")
    with pytest.raises(Overloaded):
        await new
    await line.finish_all()
    assert await patient is CLIP


async def test_who_would_wait_for_too_long_is_refused_at_once() -> None:
    # Nothing was made yet: a job is taken to last a second.
    line = Line(max_wait_s=1.5)
    for text in ("running", "one", "two"):
        await line.ask(text)
    refused = await line.ask("three")
    assert refused.done()
    with pytest.raises(Overloaded) as told:
        await refused
    assert told.value.retry_after_s == 2
    await line.finish_all()
    assert line.engine.begun == ["running", "one", "two"]


@pytest.mark.parametrize("priority", [Priority.LISTENING, Priority.WARM_UP])
async def test_a_begun_reply_and_a_warm_up_are_never_refused(priority: Priority) -> None:
    line = Line(max_waiting=1)
    await line.ask("running")
    await line.ask("waiting")
    for number in range(5):
        await line.ask(f"{number}", priority)
    await line.finish_all()
    assert [await clip for clip in line.asked.values()] == [CLIP] * 7


async def test_begun_replies_and_warm_ups_do_not_count_as_waiting() -> None:
    line = Line(max_waiting=1)
    await line.ask("running")
    await line.ask("warm-up", Priority.WARM_UP)
    await line.ask("begun", Priority.LISTENING)
    waiting = await line.ask("waiting")
    assert not waiting.done()
    await line.finish_all()


async def test_those_who_left_do_not_count_as_waiting() -> None:
    line = Line(max_waiting=1)
    await line.ask("running")
    await line.ask("leaving")
    await line.leave("leaving")
    waiting = await line.ask("waiting")
    assert not waiting.done()
    await line.finish_all()
    assert line.engine.begun == ["running", "waiting"]


async def test_a_turn_that_comes_to_one_who_is_leaving_is_passed_on() -> None:
    line = Line()
    await line.ask("running")
    await line.ask("leaving")
    await line.ask("next")
    await line.finish_and_leave("running", "leaving")
    assert line.engine.under_way == ["next"]
    await line.finish_all()


async def test_an_error_of_the_engine_frees_its_slot() -> None:
    line = Line()
    failing = await line.ask("a")
    await line.ask("b")
    await line.engine.finish("a", BadAudio("silent"))
    with pytest.raises(BadAudio):
        await failing
    assert line.engine.under_way == ["b"]
    await line.finish_all()


async def test_one_who_leaves_while_the_engine_works_frees_the_slot() -> None:
    line = Line()
    await line.ask("a")
    await line.ask("b")
    await line.leave("a")
    assert line.engine.under_way == ["b"]
    await line.finish_all()


@given(st.integers(1, 3), st.integers(0, 3), st.data())
async def test_whatever_happens_no_slot_is_lost_and_none_is_made_up(
    slots: int, max_waiting: int, data: st.DataObject
) -> None:
    line = Line(slots, max_waiting)
    for number in range(data.draw(st.integers(0, 25))):
        match data.draw(st.sampled_from(["ask", "finish", "fail", "leave", "finish and leave"])):
            case "ask":
                await line.ask(f"{number}", data.draw(st.sampled_from(Priority)))
            case "finish" if line.engine.under_way:
                await line.engine.finish(data.draw(st.sampled_from(line.engine.under_way)))
            case "fail" if line.engine.under_way:
                text = data.draw(st.sampled_from(line.engine.under_way))
                await line.engine.finish(text, BadAudio("silent"))
            case "leave" if line.asked:
                await line.leave(data.draw(st.sampled_from(list(line.asked))))
            case "finish and leave" if line.engine.under_way:
                text = data.draw(st.sampled_from(line.engine.under_way))
                await line.finish_and_leave(text, data.draw(st.sampled_from(list(line.asked))))
        waiting = [
            text
            for text, asked in line.asked.items()
            if not asked.done() and text not in line.engine.under_way
        ]
        assert len(line.engine.under_way) <= slots
        assert not waiting or len(line.engine.under_way) == slots
    await line.finish_all()
    await asyncio.gather(*line.asked.values(), return_exceptions=True)
    for number in range(slots + 1):
        await line.ask(f"last {number}", Priority.LISTENING)
    assert len(line.engine.under_way) == slots
    await line.finish_all()
