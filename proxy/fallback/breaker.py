"""A circuit breaker: who fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    CLOSED = "closed"
    """Everybody is let through."""
    OPEN = "open"
    """Nobody is."""
    HALF_OPEN = "half_open"
    """The rest is over: one at a time is let through, and how that goes decides."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody who was let through."""

    decides: bool
    """Whether it is the one that decides."""


class Breaker:
    """Whoever is let through by `enter` says, once, how it went: `succeeded`, `failed`, `left`."""

    def __init__(
        self, failures: int, rest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """It opens after so many failures in a row, for `rest_s`."""
        self._failures = failures
        self._rest_s = rest_s
        self._clock = clock
        self._in_a_row = 0
        self._opened_s: float | None = None
        self._deciding = False

    @property
    def state(self) -> State:
        if self._opened_s is None:
            return State.CLOSED
        rested = self._clock() - self._opened_s >= self._rest_s
        return State.HALF_OPEN if rested else State.OPEN

    def enter(self) -> Attempt | None:
        """None: not let through."""
        state = self.state
        if state is State.CLOSED:
            return Attempt(decides=False)
        if state is State.OPEN or self._deciding:
            return None
        self._deciding = True
        return Attempt(decides=True)

    def succeeded(self, attempt: Attempt) -> bool:
        """Returns whether that closed it."""
        self.left(attempt)
        # Who was let through before it opened tells nothing new.
        if self._opened_s is not None and not attempt.decides:
            return False
        was_closed = self._opened_s is None
        self._in_a_row, self._opened_s = 0, None
        return not was_closed

    def failed(self, attempt: Attempt) -> bool:
        """Returns whether that opened it, and it was closed."""
        self.left(attempt)
        if attempt.decides:
            self._opened_s = self._clock()
            return False
        if self._opened_s is not None:
            return False
        self._in_a_row += 1
        if self._in_a_row < self._failures:
            return False
        self._opened_s = self._clock()
        return True

    def left(self, attempt: Attempt) -> None:
        """It came to no end that tells anything."""
        if attempt.decides:
            self._deciding = False
