"""What a listener gets of a reply, and where it came from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from enum import Enum

from proxy.cache.entry import Entry
from proxy.cache.key import Key
from proxy.cache.tiered import Where
from proxy.speech.elsewhere import StandIn
from proxy.speech.flight import Flight, Timings


class Outcome(Enum):
    """Where a reply came from."""

    HIT = "hit"
    """It was said before, in this format."""
    MISS = "miss"
    """It was made for this request."""
    COLLAPSED = "collapsed"
    """It was being made for another request already."""


class Reply:
    """What a listener gets: all of it at once, or chunks as they are made."""

    def __init__(
        self,
        source: Entry | Flight,
        asked: Outcome,
        timings: Timings,
        where: Where = "memory",
    ) -> None:
        self._source = source
        self._asked = asked
        self._where = where
        self.timings = timings

    async def begin(self) -> None:
        """Wait until there is something to hear; where nothing was to be made, until all is there.

        Raises:
            NotCached: it would have had to be made, and was not to be.
            EngineError: nothing of the reply could be made, and nothing was stored.
        """
        if isinstance(self._source, Flight):
            if self._source.terms.make:
                await self._source.begin()
            else:
                await self._source.end()

    @property
    def outcome(self) -> Outcome:
        """Where the reply comes from. Known for certain once it has begun."""
        if isinstance(self._source, Flight) and (
            self._source.found_in is not None or not self._source.terms.make
        ):
            return Outcome.HIT
        return self._asked

    @property
    def where(self) -> Where | None:
        """The tier that a hit came from; None where it was put together from cached clips."""
        if isinstance(self._source, Entry):
            return self._where
        return self._source.found_in

    @property
    def stand_in(self) -> StandIn | None:
        """Who speaks it in the engine's place; None for the engine. Known once it has begun."""
        return self._source.stand_in if isinstance(self._source, Flight) else None

    @property
    def passed_over(self) -> bool:
        """Whether there was a cached reply, and it would not do."""
        return isinstance(self._source, Flight) and self._source.passed_over

    @property
    def stored(self) -> bool:
        """Whether what was made is in the cache by now."""
        return isinstance(self._source, Flight) and self._source.stored

    @property
    def made(self) -> Mapping[Key, float]:
        """The clips that the engine has made for it so far, each with its seconds of audio. None
        where another request was waiting for the same reply already."""
        if isinstance(self._source, Flight) and self._asked is Outcome.MISS:
            return self._source.made
        return {}

    @property
    def entry(self) -> Entry | None:
        """The finished reply, where all of it is there."""
        return self._source.whole if isinstance(self._source, Flight) else self._source

    @property
    def format(self) -> str:
        """The name of a `synth.audio.formats.Format`."""
        if isinstance(self._source, Flight):
            return self._source.plan.format.name
        return self._source.about.format

    async def chunks(self) -> AsyncIterator[bytes]:
        """The reply from its first byte, as it is made.

        Raises:
            EngineError: the rest of the reply could not be made. What came so far is not all.
        """
        if isinstance(self._source, Entry):
            yield self._source.payload
            return
        async for chunk in self._source.read():
            yield chunk

    async def finish(self) -> Entry:
        """Wait until all of it is made. Raises as `chunks` does."""
        return self._source if isinstance(self._source, Entry) else await self._source.end()
