"""One reply being made, and everybody who listens to it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from proxy.cache.entry import Entry
from proxy.cache.key import Key
from proxy.cache.tiered import Where
from proxy.speech.elsewhere import StandIn
from proxy.speech.plan import Plan
from proxy.speech.schedule import Urgency
from proxy.speech.terms import Terms
from synth.engine import EngineUnavailable


@dataclass(slots=True)
class Timings:
    """Where the time of a reply went, in milliseconds, so far."""

    mem_ms: float = 0.0
    """Looking the reply up in memory."""
    disk_ms: float = 0.0
    """Looking it up, and its clips, on disk."""
    queue_ms: float = 0.0
    """Waiting for a turn at the engine."""
    synth_ms: float = 0.0
    encode_ms: float = 0.0
    generation_ms: float = 0.0
    """Getting clips: all of the above that was done for them, and waiting for others to do it."""
    elsewhere_ms: float = 0.0
    """Waiting for the first sound of whoever speaks in the engine's place."""


@dataclass(slots=True)
class Flight:
    """Chunks of a reply, appended by one producer, read by any number of readers.

    Each reader keeps a place of its own and begins with the first chunk, whenever it joins; so the
    memory held is one reply, however many listen. The producer belongs to the server: readers come
    and go without touching it.
    """

    plan: Plan
    terms: Terms
    urgency: Urgency
    timings: Timings = field(default_factory=Timings)
    readers: int = 0
    """How many are listening now."""
    callers: int = 0
    """How many of them are callers, and no warm-up. These wait for the engine for so long only."""
    asked_s: float = 0.0
    """When the first of these asked, by the monotonic clock."""
    whole: Entry | None = None
    """The finished reply, once it is complete."""
    stored: bool = False
    """Whether the finished reply is in the cache."""
    generation: int = 0
    """`TieredCache.generation` when it began."""
    passed_over: bool = False
    """Whether what was cached would not do."""
    found_in: Where | None = None
    """Where the finished reply was already, so that nothing had to be made."""
    stand_in: StandIn | None = None
    """Who speaks it in the engine's place, or is being asked to."""
    made: dict[Key, float] = field(default_factory=dict)
    """The clips that the engine has made for it, each with its seconds of audio."""
    fetching: asyncio.Task[Any] | None = None
    """The clip, or the piece of speech, that the producer waits for now."""
    patience: asyncio.Timeout | None = None
    """Ends the wait for a clip. Moved when the first caller comes or the last one leaves."""
    _chunks: list[bytes] = field(default_factory=list)
    _error: Exception | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def begun(self) -> bool:
        """Whether somebody may have heard something."""
        return bool(self._chunks)

    def append(self, chunk: bytes) -> None:
        if chunk:
            self._chunks.append(chunk)
            self._wake()

    def complete(self, whole: Entry, stored: bool) -> None:
        self.whole = whole
        self.stored = stored
        self._wake()

    def fail(self, error: Exception) -> None:
        """Every reader, now or later, gets this error once it has read what there is."""
        self._error = error
        self._wake()

    async def begin(self) -> None:
        """Wait until there is something to send. Raises what `fail` was given."""
        while not self._chunks and self.whole is None and self._error is None:
            await self._changed.wait()
        if not self._chunks and self._error is not None:
            raise self._error

    async def end(self) -> Entry:
        """Wait until all of it is there. Raises what `fail` was given."""
        while self.whole is None and self._error is None:
            await self._changed.wait()
        if self._error is not None:
            raise self._error
        assert self.whole is not None
        return self.whole

    async def read(self) -> AsyncIterator[bytes]:
        """Every chunk, from the first. Raises what `fail` was given."""
        place = 0
        while True:
            while place < len(self._chunks):
                place += 1
                yield self._chunks[place - 1]
            if self.whole is not None:
                if not self._chunks:  # It was found finished, and never cut into chunks.
                    yield self.whole.payload
                return
            if self._error is not None:
                raise self._error
            await self._changed.wait()

    def _wake(self) -> None:
        """Wake whoever waits now; who comes later waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()


class Abandoned(EngineUnavailable):
    """Everybody who listened has left, so the reply was not finished."""

    def __init__(self) -> None:
        super().__init__("Everybody who listened has left.", retry_after_s=1)
