"""Counts what callers hear while they hear it, and keeps the counts over restarts."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Container
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.cache.key import Key
from proxy.cache.private import PATTERNS, NeverStored
from proxy.phrasebook.mining.heard import Asked, Heard, Sentence
from proxy.phrasebook.mining.particulars import in_figures
from proxy.speech.plan import Plan
from proxy.whole_file import write_whole

logger = logging.getLogger(__name__)

HEARD = "heard"
"""In the cache's directory: the counts."""

_PRIVATE = NeverStored(PATTERNS)

_COUNT_EVERY_S = 1.0
_SAVE_EVERY_S = 60.0
_MAX_WAITING = 65_536
_COUNTED_AT_A_TIME = 64


class Miner:
    """Told of every request in passing; counts in the background.

    The counts hold text. So nothing is counted that must not be stored, nor what looks like a card
    number, a telephone number or an e-mail address, whether `cache.never_store` says so or not.
    """

    def __init__(
        self,
        path: Path,
        max_sentences: int,
        named: Callable[[], Awaitable[Container[Key]]],
    ) -> None:
        """`path` is where the counts are kept. `named` are the clips of the phrasebooks in use."""
        self._path = path
        self._max_sentences = max_sentences
        self._named = named
        self._waiting: deque[tuple[Plan, Collection[Key]]] = deque(maxlen=_MAX_WAITING)
        self._heard = Heard(max_sentences)

    def note(self, plan: Plan, made: Collection[Key]) -> None:
        """A request, and the clips that the engine had to make for it. Costs next to nothing."""
        if not plan.private:
            self._waiting.append((plan, made))

    async def forget(self) -> None:
        """Begin anew, on disk, too."""
        self._waiting.clear()
        self._heard = Heard(self._max_sentences)
        await self._save()

    async def heard(self) -> Heard:
        """What was heard up to now."""
        await self._count()
        return self._heard

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Go on where the last counts ended, and keep them for as long as the block lasts, and at
        its end."""
        try:
            self._heard = await asyncio.to_thread(Heard.load, self._path, self._max_sentences)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            logger.error("%s: %s; counting begins anew", self._path, error)
        counting = asyncio.create_task(self._keep_counting())
        try:
            yield
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
            await self._count()
            await self._save()

    async def _keep_counting(self) -> None:
        since_saved_s = 0.0
        while True:
            await asyncio.sleep(_COUNT_EVERY_S)
            since_saved_s += _COUNT_EVERY_S
            try:
                await self._count()
                if since_saved_s >= _SAVE_EVERY_S:
                    since_saved_s = 0.0
                    await self._save()
            except Exception:
                logger.exception("counting what is heard failed; it goes on")

    async def _count(self) -> None:
        if not self._waiting:
            return
        named = await self._named()
        counted = 0
        while self._waiting:
            plan, made = self._waiting.popleft()
            self._heard.note(_asked(plan, made, named))
            counted += 1
            if counted % _COUNTED_AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def _save(self) -> None:
        data = self._heard.to_bytes()  # Here: it is not to be counted in meanwhile.
        try:
            await asyncio.to_thread(write_whole, self._path, data)
        except OSError as error:
            logger.error("cannot keep the counts of what is heard: %s", error)


def _asked(plan: Plan, made: Collection[Key], named: Container[Key]) -> list[Asked]:
    return [
        Asked(
            Sentence(
                clip.segment.text,
                str(clip.segment.blend),
                clip.segment.language,
                clip.segment.speed,
            ),
            in_phrasebook=clip.key in named or clip.recording is not None,
            missed=clip.key in made,
        )
        for clip in plan.clips
        if not _PRIVATE.matches(clip.segment.text, in_figures(clip.segment.text))
    ]
