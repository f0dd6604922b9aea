"""How often one may ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from pyrate_limiter import GCRA, AbstractClock, Duration, Rate, RateItem, StateBucket

Clock = Callable[[], float]
"""Seconds that never go back."""


class RateLimit:
    """So many requests may come at once; from then on one after another, evenly.

    GCRA: a number or two are remembered, however much is asked.
    """

    def __init__(self, per_minute: int, clock: Clock = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = _Milliseconds(clock)
        rate = Rate(per_minute, Duration.MINUTE)
        self._bucket = StateBucket([rate], GCRA(), clock=self._clock)

    def take(self) -> int:
        """Milliseconds to wait before asking again; 0: this one may pass, and counts."""
        item = RateItem("", self._clock.now())
        if self._bucket.put(item):
            return 0
        return max(1, cast(int, self._bucket.waiting(item)))

    def left(self) -> tuple[int, float]:
        """How many may come at once at this moment, and in how many seconds all of them may."""
        taken = cast(int, self._bucket.count())
        return max(0, self.per_minute - taken), taken * 60 / self.per_minute


class _Milliseconds(AbstractClock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> int:
        return int(self._clock() * 1000)
