"""On what terms somebody asks for a reply: how soon, where from, and what becomes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxy.cache.entry import Entry
from proxy.speech.schedule import Priority
from synth.engine import Clip, EngineError, Segment

CheckClip = Callable[[Segment, Clip], Awaitable[None]]
"""Raises BadAudio: the clip is not to be kept."""


class NotCached(EngineError):
    """Only a cached reply was asked for, and there is none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How soon it is wanted, and what the request's `Cache-Control` says (RFC 9111, 5.2.1)."""

    priority: Priority = Priority.WAITING
    store: bool = True
    """False: leave no trace of it (`no-store`). What is cached may be served."""
    max_age_s: float | None = None
    """Nothing cached before that long ago will do (`max-age`); 0: nothing cached (`no-cache`)."""
    make: bool = True
    """False: take it from the cache or not at all (`only-if-cached`)."""
    check: CheckClip | None = None
    """Asked of every clip that is made, before anything is kept of it."""

    @property
    def alone(self) -> bool:
        """Whether others must not share what is made on these terms."""
        return (
            not (self.store and self.make) or self.max_age_s is not None or self.check is not None
        )

    def take(self, entry: Entry) -> bool:
        """Whether this cached entry will do."""
        return self.max_age_s is None or (self.max_age_s > 0 and entry.age_s() <= self.max_age_s)


LIVE = Terms()
"""Those of a request that says nothing about them."""
