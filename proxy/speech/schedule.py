"""Who gets the engine next, and who is turned away."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Sequence
from enum import IntEnum

from synth.engine import Clip, Engine, EngineUnavailable, Segment

_FIRST_JOB_GUESS_S = 1.0
_MEMORY_OF_JOBS = 0.8
"""How much of the running mean of job times is kept at every new one."""


class Priority(IntEnum):
    """Lower goes first."""

    LISTENING = 0
    """Somebody hears the beginning of this reply already, and must not wait for the rest."""
    WAITING = 1
    """Somebody waits for this reply's first sound."""
    WARM_UP = 2
    """Nobody waits."""


class Overloaded(EngineUnavailable):
    """More is waiting for the engine than it could make in good time."""


class Schedule:
    """Lets as many jobs at the engine as it has processes; the rest wait in order of priority."""

    def __init__(self, engine: Engine, slots: int, max_waiting: int) -> None:
        """`slots` jobs run at a time; when `max_waiting` replies wait, new ones are refused."""
        self._engine = engine
        self._slots = slots
        self._free = slots
        self._max_waiting = max_waiting
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()
        self._mean_job_s = _FIRST_JOB_GUESS_S

    async def synthesize(
        self, segment: Segment, ahead: Sequence[Segment], priority: Priority
    ) -> Clip:
        """Wait for a turn, then for the clip.

        Raises:
            Overloaded: too many replies wait already. Never for a reply that has begun.
            EngineError: see `synth.engine`.
        """
        await self._turn(priority)
        began_s = time.monotonic()
        try:
            clip = await self._engine.synthesize(segment, ahead)
            took_s = time.monotonic() - began_s
            self._mean_job_s += (1 - _MEMORY_OF_JOBS) * (took_s - self._mean_job_s)
            return clip
        finally:
            self._pass_on()

    async def _turn(self, priority: Priority) -> None:
        if self._free:
            self._free -= 1
            return
        if priority is Priority.WAITING:
            self._refuse_if_full()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._arrivals), turn))
        try:
            await turn
        except asyncio.CancelledError:
            # The turn may have come in the same step in which its owner left.
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the slot to the first who still waits for it."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _refuse_if_full(self) -> None:
        waiting = sum(
            1
            for priority, _, turn in self._waiting
            if priority is Priority.WAITING and not turn.done()
        )
        if waiting >= self._max_waiting:
            raise Overloaded(
                f"{waiting} replies wait for the engine already.",
                retry_after_s=max(1.0, waiting * self._mean_job_s / self._slots),
            )
