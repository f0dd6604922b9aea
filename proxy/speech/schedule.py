"""Who gets the engine next, and who is turned away."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from synth.engine import Clip, Engine, EngineUnavailable, Segment

_FIRST_JOB_GUESS_S = 1.0
_MEMORY_OF_JOBS = 0.8
"""How much of the running mean of job times is kept at every new one."""


class Priority(IntEnum):
    """What is at stake; lower is more."""

    LISTENING = 0
    """Somebody hears the beginning of this reply already. The rest is never refused."""
    WAITING = 1
    """Somebody waits for this reply's first sound."""
    WARM_UP = 2
    """Nobody waits: goes after all others."""


@dataclass(slots=True)
class Urgency:
    """How soon a reply is wanted. Shared by all that is done for it, and may grow meanwhile: a call
    may ask for what a warm-up is waiting to make."""

    priority: Priority
    due_s: float = field(default_factory=time.monotonic)
    """By the monotonic clock: who waits for the first sound is due from the moment of asking, who
    listens already is due shortly before the sound runs out. Who is due first goes first, so that
    long replies neither break off nor keep everybody else waiting."""

    def hasten(self, priority: Priority) -> None:
        self.priority = min(self.priority, priority)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A place in the line."""

    urgency: Urgency
    arrival: int
    come: asyncio.Future[None]

    @property
    def order(self) -> tuple[bool, float, int]:
        return self.urgency.priority is Priority.WARM_UP, self.urgency.due_s, self.arrival


class Overloaded(EngineUnavailable):
    """More is waiting for the engine than it could make in good time."""


class Schedule:
    """Lets as many jobs at the engine as it has processes; the rest wait until they are due."""

    def __init__(
        self,
        engine: Engine,
        slots: int,
        max_waiting: int,
        max_wait_s: float,
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        """`slots` jobs run at a time. A new reply is refused when `max_waiting` wait already, when
        it would have to wait longer than `max_wait_s`, and when it has waited so long.
        `admit` is asked before all that, and may raise EngineUnavailable."""
        self._engine = engine
        self._slots = slots
        self._free = slots
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._admit = admit
        self._waiting: list[_Turn] = []
        self._arrivals = itertools.count()
        self._mean_job_s = _FIRST_JOB_GUESS_S

    async def synthesize(
        self,
        segment: Segment,
        ahead: Sequence[Segment],
        urgency: Urgency,
        on_turn: Callable[[], None] = lambda: None,
    ) -> Clip:
        """Wait for a turn, then for the clip. `on_turn` is called in between.

        Raises:
            Overloaded: too many replies wait already, or this one has waited for too long. Never
                for a reply that has begun.
            EngineUnavailable: a new reply was not admitted.
            EngineError: see `synth.engine`.
        """
        if urgency.priority is Priority.WAITING:
            self._admit()
        await self._turn(urgency)
        began_s = time.monotonic()
        try:
            on_turn()
            clip = await self._engine.synthesize(segment, ahead)
            took_s = time.monotonic() - began_s
            self._mean_job_s += (1 - _MEMORY_OF_JOBS) * (took_s - self._mean_job_s)
            return clip
        finally:
            self._pass_on()

    async def _turn(self, urgency: Urgency) -> None:
        if self._free:
            self._free -= 1
            return
        waits_s = None
        if urgency.priority is Priority.WAITING:
            self._refuse_if_full()
            waits_s = self._max_wait_s
        turn = _Turn(urgency, next(self._arrivals), asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(waits_s):
                await turn.come
        except BaseException as left:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:  # The turn came in the same step in which its owner left.
                self._pass_on()
            if not isinstance(left, TimeoutError):
                raise
            raise Overloaded(
                f"The engine did not come to this reply within {self._max_wait_s:g} s.",
                self._retry_after_s(),
            ) from None

    def _pass_on(self) -> None:
        """Give the slot to whoever is first in line now: urgencies change while they wait."""
        if not self._waiting:
            self._free += 1
            return
        first = min(self._waiting, key=lambda turn: turn.order)
        self._waiting.remove(first)
        first.come.set_result(None)

    def _refuse_if_full(self) -> None:
        waiting = self._waiting_replies()
        too_many = waiting >= self._max_waiting
        if too_many or self._wait_s() > self._max_wait_s:
            raise Overloaded(
                f"As many replies as may are waiting for the engine: {waiting}.",
                self._retry_after_s(),
            )

    def _waiting_replies(self) -> int:
        return sum(turn.urgency.priority is Priority.WAITING for turn in self._waiting)

    def _wait_s(self) -> float:
        """How long whoever comes now would wait, by how long the engine took lately."""
        return self._waiting_replies() * self._mean_job_s / self._slots

    def _retry_after_s(self) -> float:
        return max(1.0, self._wait_s())
