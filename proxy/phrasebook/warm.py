"""Render phrasebooks into the cache, by the same path as a request, behind every request."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from proxy.phrasebook.book import Phrasebook
from proxy.speech.plan import Plan, Planner
from proxy.speech.schedule import Priority
from proxy.speech.speaker import Outcome, Speaker
from proxy.speech.terms import Terms
from synth.engine import EngineError, EngineLoading
from synth.voices import UnknownLanguage, UnknownVoice

logger = logging.getLogger(__name__)

_TERMS = Terms(Priority.WARM_UP)

_ATTEMPTS = 3
"""At each phrase: the engine may go away and come back meanwhile."""


@dataclass(slots=True)
class WarmUp:
    """What became of the phrases, counted by voice and format."""

    rendered: int = 0
    cached: int = 0
    failed: int = 0


async def warm(
    books: Sequence[Phrasebook],
    planner: Planner,
    speaker: Speaker,
    wait_until_ready: Callable[[], Awaitable[None]],
) -> WarmUp:
    """Make sure that everything in the books is cached. What fails is logged and passed over.

    `wait_until_ready` is awaited when the engine goes away, before the phrase is tried again.
    """
    done = WarmUp()
    for book in books:
        for wanted in book.wanted():
            try:
                plan = planner.plan(wanted)
                if plan.private:
                    done.failed += 1
                    logger.error(
                        "phrasebook %s: %r holds what cache.never_store forbids to keep",
                        *(book.name, wanted.text),
                    )
                elif await _render(plan, speaker, wait_until_ready) is Outcome.HIT:
                    done.cached += 1
                else:
                    done.rendered += 1
            except (EngineError, UnknownVoice, UnknownLanguage) as error:
                done.failed += 1
                logger.error("phrasebook %s: %r: %s", book.name, wanted.text, error)
    logger.info(
        "phrasebooks: %d rendered, %d cached already, %d failed",
        *(done.rendered, done.cached, done.failed),
    )
    return done


async def _render(
    plan: Plan, speaker: Speaker, wait_until_ready: Callable[[], Awaitable[None]]
) -> Outcome:
    for _ in range(_ATTEMPTS - 1):
        # Not where it died of the phrase, twice: a third time would only keep calls waiting.
        with contextlib.suppress(EngineLoading):
            return await _listen(plan, speaker)
        await wait_until_ready()
    return await _listen(plan, speaker)


async def _listen(plan: Plan, speaker: Speaker) -> Outcome:
    with speaker.listen(plan, _TERMS) as reply:
        await reply.finish()
    if not await speaker.pin(plan):
        raise EngineError("it was rendered, but neither memory nor disk could keep it")
    return reply.outcome
