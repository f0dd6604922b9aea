"""The way of a reply that the engine cannot take: whole, from one provider, under its own key."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from proxy.cache.entry import Entry
from proxy.cache.tiered import TieredCache
from proxy.speech.elsewhere import Elsewhere, Errand, NotSpoken, Offer, StandIn
from proxy.speech.encoding import Encoding, encoding
from proxy.speech.flight import Flight
from proxy.speech.rendition import rendition
from synth.engine import SAMPLE_RATE_HZ, EngineError, EngineUnavailable, Pcm
from synth.text.marks import without_pronunciations
from synth.voices import LANGUAGES

logger = logging.getLogger(__name__)

Pull = Callable[[], Coroutine[Any, Any, Pcm | None]]

WhileHeard = Callable[[Flight, Pull], Awaitable[Pcm | None]]
"""Does it for as long as somebody listens to the flight; raises Abandoned where nobody does."""

Keep = Callable[[Flight, Entry], bool]
"""Stores a finished reply, where it may be. Returns whether it did."""


class Detour:
    """Asks the providers in order. Who listens hears one of them, and nobody else's voice."""

    def __init__(
        self, cache: TieredCache, elsewhere: Elsewhere, keep: Keep, keep_text: bool = False
    ) -> None:
        self._cache = cache
        self._elsewhere = elsewhere
        self._keep = keep
        self._keep_text = keep_text

    async def take(
        self, flight: Flight, problem: EngineUnavailable, while_heard: WhileHeard
    ) -> None:
        """Complete a flight of which nothing was sent yet.

        Raises:
            EngineUnavailable: `problem`, which is why the engine could not; nobody else could.
            EngineError: whoever spoke it broke off.
        """
        began_s = time.perf_counter()
        errand = _errand(flight)
        said = []
        for offer in self._elsewhere.offers(errand):
            key = offer.key(flight.plan.format.name)
            flight.stand_in = StandIn(offer.name, offer.voice, key, offer.keep)
            try:
                if await self._recall(flight, flight.stand_in):
                    return
                await self._speak(flight, flight.stand_in, offer, while_heard, began_s)
            except NotSpoken as told:
                why = str(told)
            except EngineError:  # Nobody listens any more.
                raise
            except Exception as unexpected:
                why = f"failed ({type(unexpected).__name__})"
                logger.warning("the provider %s %s", offer.name, why)
            else:
                reason = type(problem).__name__
                logger.info("the provider %s spoke a reply (%s)", offer.name, reason)
                return
            if flight.begun:
                logger.error("the provider %s broke off: %s", offer.name, why)
                raise EngineError(f"The provider {offer.name} broke off.")
            said.append(f"{offer.name}: {why}")
        flight.stand_in = None
        logger.error(
            "no provider could speak in the engine's place (%s): %s",
            type(problem).__name__,
            "; ".join(said),
        )
        raise problem

    async def _recall(self, flight: Flight, stand_in: StandIn) -> bool:
        found = await self._cache.get(stand_in.key)
        flight.passed_over |= found is not None
        if found is None or not flight.terms.take(found.entry):
            return False
        flight.found_in = found.where
        flight.complete(found.entry, stored=False)
        return True

    async def _speak(
        self,
        flight: Flight,
        stand_in: StandIn,
        offer: Offer,
        while_heard: WhileHeard,
        began_s: float,
    ) -> None:
        async with encoding(flight.plan.format) as encoder:
            samples = await self._encode(flight, encoder, offer, while_heard, began_s)
            finished = await encoder.finish()
        duration_s = samples / SAMPLE_RATE_HZ
        entry = rendition(flight.plan, finished.whole, duration_s, self._keep_text, stand_in)
        stored = stand_in.keep and self._keep(flight, entry)
        flight.append(finished.tail)
        flight.complete(entry, stored)

    async def _encode(
        self,
        flight: Flight,
        encoder: Encoding,
        offer: Offer,
        while_heard: WhileHeard,
        began_s: float,
    ) -> int:
        """Encode what comes into the flight. Returns how many samples came."""
        samples = 0
        async with aclosing(offer.speak()) as stream:
            while (pcm := await while_heard(flight, lambda: _next(stream))) is not None:
                came_s = time.perf_counter()
                if not samples:
                    flight.timings.elsewhere_ms = (came_s - began_s) * 1000
                samples += len(pcm)
                chunk = await encoder.write(pcm)
                flight.timings.encode_ms += (time.perf_counter() - came_s) * 1000
                flight.append(chunk)
        return samples


def _errand(flight: Flight) -> Errand:
    """In the words of the plan, so that what a phrasebook has spelled out is sent spelled out."""
    segment = flight.plan.clips[0].segment
    return Errand(
        text=without_pronunciations(flight.plan.text),
        voice=flight.plan.voice,
        language=LANGUAGES[segment.language].tag,
        speed=segment.speed,
    )


async def _next(stream: AsyncGenerator[Pcm]) -> Pcm | None:
    return await anext(stream, None)
