"""The engine pool, over real processes that do what the text tells them to: `scripted_engine.py`.

Barriers are FIFOs: a test knows that an engine has come to one, and the engine stays there until
the test lets it go. Nothing here waits for time to pass but the deadlines that are under test.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from synth import wire
from synth.engine import (
    BadAudio,
    CannotSay,
    Clip,
    EngineDied,
    EngineLoading,
    EngineUnavailable,
    Segment,
)
from synth.pool import EngineOptions, EnginePool, PoolState
from synth.voices import Blend

SCRIPT = (sys.executable, str(Path(__file__).with_name("scripted_engine.py")))
PATIENCE_S = 60


@asynccontextmanager
async def open_pool(
    *arguments: str,
    processes: int = 1,
    pass_deadline_s: float = PATIENCE_S,
    on_ready: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[EnginePool]:
    options = EngineOptions(
        "auto", Path(), processes=processes, pass_deadline_s=pass_deadline_s, start_deadline_s=60
    )
    pool = EnginePool(options, (*SCRIPT, *arguments), on_ready)
    pool.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def ready_pool(
    processes: int = 1, pass_deadline_s: float = PATIENCE_S
) -> AsyncIterator[EnginePool]:
    async with open_pool(processes=processes, pass_deadline_s=pass_deadline_s) as pool:
        await pool.wait_until_ready()
        yield pool


class Barrier:
    """A FIFO at which a scripted engine waits."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._writer: int | None = None

    async def reached(self) -> None:
        """Wait until an engine stands at the barrier."""
        try:
            async with asyncio.timeout(PATIENCE_S / 2):
                self._writer = await asyncio.to_thread(os.open, self.path, os.O_WRONLY)
        except TimeoutError:
            os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))  # Frees the thread.
            raise

    def release(self) -> None:
        assert self._writer is not None
        os.close(self._writer)
        self._writer = None

    @property
    def segment(self) -> Segment:
        return say(f"wait {self.path}")


@pytest.fixture
def barrier(tmp_path: Path) -> Barrier:
    return Barrier(tmp_path / "barrier")


@pytest.fixture
def other_barrier(tmp_path: Path) -> Barrier:
    return Barrier(tmp_path / "other")


class Log:
    """Where scripted engines write every segment that they begin."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path

    def begun(self) -> list[str]:
        return self._path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setenv("SCRIPTED_ENGINE_LOG", str(tmp_path / "log"))
    return Log(tmp_path / "log")


def say(text: str, speed: float = 1.0) -> Segment:
    return Segment(text, Blend((("af_bella", 1),)), "a", speed, seed=7)


def same(one: Clip, other: Clip) -> bool:
    return one.words == other.words and np.array_equal(one.pcm, other.pcm)


def children() -> set[int]:
    """The process ids of this process's children, ended ones that nobody has awaited included."""
    lists = (path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return {int(pid) for pids in lists for pid in pids.split()}


class Announced(logging.Handler):
    """An event for a line in the pool's log."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning
        self.heard = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self._beginning):
            self.heard.set()

    async def __aenter__(self) -> Announced:
        logging.getLogger("synth.pool").addHandler(self)
        return self

    async def __aexit__(self, *error: object) -> None:
        logging.getLogger("synth.pool").removeHandler(self)


async def test_a_pool_that_is_loading_says_so_and_when_to_come_back(barrier: Barrier) -> None:
    async with open_pool("--slow-start", str(barrier.path)) as pool:
        await barrier.reached()
        with pytest.raises(EngineLoading, match="still loading") as refusal:
            await pool.synthesize(say("Hello."))
        assert refusal.value.retry_after_s >= 1
        assert (pool.state, pool.pids(), pool.device) == (PoolState.LOADING, (), None)
        barrier.release()
        await pool.wait_until_ready()
        assert (pool.state, pool.problem, pool.device) == (PoolState.READY, None, "cpu")
        assert len((await pool.synthesize(say("Hello."))).pcm) > 0


async def test_a_process_gets_no_work_before_on_ready_has_returned() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def on_ready() -> None:
        begun.set()
        await go_on.wait()

    async with open_pool(on_ready=on_ready) as pool:
        await begun.wait()
        with pytest.raises(EngineLoading):
            await pool.synthesize(say("Hello."))
        go_on.set()
        await pool.wait_until_ready()
        await pool.synthesize(say("Hello."))


async def test_the_clip_that_comes_back_is_that_of_the_segment() -> None:
    async with ready_pool() as pool:
        short, long = [await pool.synthesize(say(text)) for text in ("Hi.", "A longer text.")]
        assert len(short.pcm) < len(long.pcm)
        assert [word.text for word in long.words] == ["A", "longer", "text."]
        slow = await pool.synthesize(say("Hi.", speed=0.5))
        assert len(slow.pcm) == 2 * len(short.pcm)
        assert same(short, await pool.synthesize(say("Hi.")))


async def test_what_the_text_is_to_blame_for_is_not_tried_again(log: Log) -> None:
    async with ready_pool() as pool:
        with pytest.raises(CannotSay):
            await pool.synthesize(say("Cannot say."))
        with pytest.raises(BadAudio):
            await pool.synthesize(say("Bad audio."))
        assert pool.restarts == 0
    assert log.begun() == ["Bad audio."]


async def test_what_cannot_be_said_later_is_refused_before_any_audio_is_made(log: Log) -> None:
    async with ready_pool() as pool:
        with pytest.raises(CannotSay):
            await pool.synthesize(say("Hello."), [say("Fine."), say("Cannot say.")])
        assert log.begun() == []
        await pool.synthesize(say("Hello."), [say("Fine."), say("Bad audio.")])
    assert log.begun() == ["Hello."]


async def test_a_crashed_process_is_replaced_and_the_text_tried_once_more(
    tmp_path: Path, log: Log
) -> None:
    async with ready_pool() as pool:
        crashed = pool.pids()
        command = f"crash-once {tmp_path / 'crashed'}"
        clip = await pool.synthesize(say(command))
        assert pool.restarts == 1
        assert pool.pids() != crashed
        assert same(clip, await pool.synthesize(say(command)))
    assert log.begun() == [command] * 3


async def test_a_text_that_crashes_twice_is_given_up_and_the_pool_comes_back(log: Log) -> None:
    async with ready_pool() as pool:
        with pytest.raises(EngineDied) as refusal:
            await pool.synthesize(say("Crash."))
        assert refusal.value.retry_after_s >= 1
        await pool.wait_until_ready()
        await pool.synthesize(say("Hello."))
        assert (pool.state, pool.restarts) == (PoolState.READY, 2)
    assert log.begun() == ["Crash.", "Crash.", "Hello."]


async def test_a_process_killed_while_it_works_is_replaced_and_the_text_answered(
    barrier: Barrier,
) -> None:
    async with ready_pool() as pool:
        waiting = asyncio.create_task(pool.synthesize(barrier.segment))
        await barrier.reached()
        (pid,) = pool.pids()
        async with Announced(f"engine process {pid} ended") as ended:
            os.kill(pid, signal.SIGKILL)
            await ended.heard.wait()
        barrier.release()
        await barrier.reached()
        assert pid not in pool.pids()
        barrier.release()
        assert (await waiting).words[0].text == "wait"
        assert pool.restarts == 1


async def test_a_process_killed_while_it_is_idle_costs_no_caller_anything() -> None:
    async with ready_pool() as pool:
        before = await pool.synthesize(say("Hello."))
        os.kill(pool.pids()[0], signal.SIGKILL)
        assert same(before, await pool.synthesize(say("Hello.")))


async def test_a_hanging_process_is_ended_at_the_deadline() -> None:
    async with ready_pool(pass_deadline_s=0.5) as pool:
        hung = set(pool.pids())
        with pytest.raises(EngineDied):
            await pool.synthesize(say("Hang."))
        await pool.wait_until_ready()
        assert not hung & (set(pool.pids()) | children())
        await pool.synthesize(say("Hello."))


async def test_slow_speech_has_longer_before_its_process_is_ended() -> None:
    async with ready_pool(pass_deadline_s=0.2) as pool:
        began_s = time.monotonic()
        with pytest.raises(EngineDied):
            await pool.synthesize(say("Hang.", speed=0.25))
        assert time.monotonic() - began_s >= 2 * 0.2 / 0.25


async def test_a_caller_that_leaves_does_not_shift_the_answers(barrier: Barrier) -> None:
    async with ready_pool() as pool:
        expected = await pool.synthesize(say("Hello."))
        leaving = asyncio.create_task(pool.synthesize(barrier.segment))
        await barrier.reached()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        next_in_line = asyncio.create_task(pool.synthesize(say("Hello.")))
        barrier.release()
        assert same(await next_in_line, expected)
        assert pool.restarts == 0


async def test_a_caller_that_leaves_the_queue_takes_no_process_with_it(barrier: Barrier) -> None:
    async with ready_pool() as pool:
        working = asyncio.create_task(pool.synthesize(barrier.segment))
        await barrier.reached()
        leaving = asyncio.create_task(pool.synthesize(say("Hello.")))
        staying = asyncio.create_task(pool.synthesize(say("Goodbye.")))
        await asyncio.sleep(0)  # Both have begun, and wait for the process.
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        barrier.release()
        assert [word.text for word in (await staying).words] == ["Goodbye."]
        await working


async def test_callers_wait_their_turn_and_each_gets_its_own_clip() -> None:
    async with ready_pool() as pool:
        texts = [f"Number {number}." for number in range(20)]
        clips = await asyncio.gather(*(pool.synthesize(say(text)) for text in texts))
        assert [" ".join(word.text for word in clip.words) for clip in clips] == texts


async def test_two_processes_work_at_the_same_time(
    barrier: Barrier, other_barrier: Barrier
) -> None:
    async with ready_pool(processes=2) as pool:
        first = asyncio.create_task(pool.synthesize(barrier.segment))
        await barrier.reached()
        second = asyncio.create_task(pool.synthesize(other_barrier.segment))
        await other_barrier.reached()
        assert len(pool.pids()) == 2
        other_barrier.release()
        await second
        assert not first.done()
        barrier.release()
        await first


async def test_a_failed_start_is_named_and_tried_again(tmp_path: Path) -> None:
    repaired = tmp_path / "repaired"
    async with (
        Announced("engine did not start") as failed,
        open_pool("--fail-to-start", str(repaired)) as pool,
    ):
        await failed.heard.wait()
        assert (pool.state, pool.problem) == (PoolState.FAILED, "It was told to fail.")
        with pytest.raises(EngineLoading, match="told to fail") as refusal:
            await pool.synthesize(say("Hello."))
        assert refusal.value.retry_after_s >= 1
        repaired.touch()
        await pool.wait_until_ready()
        assert (pool.state, pool.problem) == (PoolState.READY, None)
        await pool.synthesize(say("Hello."))


async def test_a_process_that_ends_before_it_is_ready_is_a_failed_start() -> None:
    async with (
        Announced("engine did not start") as failed,
        open_pool("--no-such-option") as pool,
    ):
        await failed.heard.wait()
        assert pool.state is PoolState.FAILED
        assert pool.problem == "it ended with status 2", "its own, not that of being killed"


async def test_closing_an_idle_pool_leaves_no_process() -> None:
    before = children()
    async with ready_pool(processes=2) as pool:
        assert len(children() - before) == 2
        await pool.synthesize(say("Hello."))
    assert children() == before


async def test_closing_a_pool_at_work_leaves_no_process(barrier: Barrier) -> None:
    before = children()
    async with ready_pool() as pool:
        working = asyncio.create_task(pool.synthesize(barrier.segment))
        await barrier.reached()
        await pool.close()
        assert children() == before
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await working
        barrier.release()


async def test_closing_a_pool_that_is_loading_leaves_no_process(barrier: Barrier) -> None:
    before = children()
    async with open_pool("--slow-start", str(barrier.path)):
        await barrier.reached()
        assert len(children() - before) == 1
    assert children() == before
    barrier.release()


async def test_closing_a_pool_that_has_only_just_begun_leaves_no_process() -> None:
    before = children()
    for turns in range(6):
        async with open_pool():
            for _ in range(turns):
                await asyncio.sleep(0)
    assert children() == before


def test_a_process_ends_with_its_parent_even_while_it_works(barrier: Barrier) -> None:
    with subprocess.Popen(SCRIPT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        assert engine.stdin is not None
        request = {"segment": wire.segment_to_json(barrier.segment), "ahead": []}
        engine.stdin.write(wire.pack(request))
        engine.stdin.flush()
        with open(barrier.path, "wb"):
            engine.stdin.close()
            assert engine.wait(PATIENCE_S) == 0


async def test_closing_tells_who_queues_that_the_server_is_shutting_down(
    barrier: Barrier,
) -> None:
    async with ready_pool() as pool:
        working = asyncio.create_task(pool.synthesize(barrier.segment))
        await barrier.reached()
        queued = asyncio.create_task(pool.synthesize(say("queued")))
        await pool.close()
        for task in (working, queued):
            with pytest.raises(EngineUnavailable, match="shutting down"):
                await task
        barrier.release()


async def test_a_program_that_is_not_there_is_a_problem_told_and_tried_again() -> None:
    pool = EnginePool(EngineOptions("auto", Path()), command=["/no/such/program"])
    async with Announced("engine did not start") as failed:
        pool.start()
        await failed.heard.wait()
    assert pool.state is PoolState.FAILED
    assert "/no/such/program" in str(pool.problem)
    await pool.close()


async def test_who_asks_while_an_engine_is_replaced_waits_for_the_new_one(barrier: Barrier) -> None:
    async with ready_pool() as pool, Announced("engine process") as ended:
        (pid,) = pool.pids()
        os.kill(pid, signal.SIGKILL)
        await ended.heard.wait()
        assert len((await pool.synthesize(say("Hello."))).pcm) > 0


async def test_when_the_engine_cannot_come_back_whoever_waits_is_told_at_once(
    tmp_path: Path, barrier: Barrier
) -> None:
    startable = tmp_path / "startable"
    startable.touch()
    script = f'test -e "{startable}" && exec "$0" "$@" || exit 3'
    options = EngineOptions("auto", Path())
    pool = EnginePool(options, ("sh", "-c", script, *SCRIPT))
    pool.start()
    try:
        async with asyncio.timeout(PATIENCE_S / 2):
            await pool.wait_until_ready()
            working = asyncio.create_task(pool.synthesize(barrier.segment))
            await barrier.reached()
            startable.unlink()
            os.kill(pool.pids()[0], signal.SIGKILL)
            with pytest.raises(EngineLoading, match="status 3"):
                await working
            with pytest.raises(EngineLoading, match="status 3"):
                await pool.synthesize(say("Hello."))
    finally:
        barrier.release()
        await pool.close()
