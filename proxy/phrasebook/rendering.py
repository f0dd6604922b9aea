"""Make takes, and keep them: some at a time, behind every request, heard by a recogniser or not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.cache.disk import CacheUnavailable, DiskTier
from proxy.phrasebook.takes import Take
from proxy.speech.plan import Plan
from proxy.speech.schedule import Priority
from proxy.speech.speaker import Speaker
from proxy.speech.terms import Terms
from synth.engine import BadAudio, Clip, EngineError, EngineLoading, Segment
from synth.verify import Outcome, Verifier, VerifierUnavailable

_ATTEMPTS = 3
"""At each take: the engine may go away and come back meanwhile."""

_PATIENCE_S = 120.0
"""With an engine that went away and fails to start."""

_FLUSH_DEADLINE_S = 60.0

_MAX_NOT_KEPT = 5
"""In a row. Where nothing can be kept, hours of synthesis would be for nothing."""

_NOT_KEPT = (
    "It was rendered, but could not be kept: cache.pinned_bytes is used up, or the disk failed. "
    "The log tells which."
)

UNHEARD = Terms(Priority.WARM_UP)
"""Those on which takes are made where no recogniser listens."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a take."""

    take: Take
    audio_s: float
    """Made for it by the engine."""
    why: str | None
    """Why it is not kept; None: it is."""


class Renderer:
    """Asks the speaker for takes, and sees to it that they are kept."""

    def __init__(
        self,
        speaker: Speaker,
        disk: DiskTier,
        wait_until_ready: Callable[[float], Awaitable[None]],
        parallel: int,
    ) -> None:
        """`wait_until_ready` waits for the engine, and raises EngineLoading where it has failed to
        start for so many seconds. `parallel` takes are made at a time."""
        self._speaker = speaker
        self._disk = disk
        self._wait_until_ready = wait_until_ready
        self._parallel = parallel

    async def is_whole(self, take: Take) -> bool:
        """Whether all of it is pinned, and undamaged."""
        for key in take.keys:
            if not await self._disk.is_pinned(key):
                return False
        return True

    async def make(self, takes: Sequence[Take], terms: Terms) -> AsyncGenerator[Made, None]:
        """Tells of each take once it is done.

        Raises:
            EngineLoading: the engine went away, and cannot be started.
            CacheUnavailable: nothing can be kept.
        """
        waiting = iter(takes)
        not_kept = 0
        under_way: set[asyncio.Task[Made]] = set()

        def begin() -> None:
            for take in waiting:
                under_way.add(asyncio.create_task(self._make(take, terms)))
                return

        for _ in range(self._parallel):
            begin()
        try:
            while under_way:
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    under_way.discard(task)
                    begin()
                    made = task.result()
                    yield made
                    not_kept = not_kept + 1 if made.why == _NOT_KEPT else 0
                    if not_kept >= _MAX_NOT_KEPT:
                        raise CacheUnavailable(
                            f"{not_kept} phrases in a row could not be kept: cache.pinned_bytes is "
                            "used up, or the disk failed."
                        )
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _make(self, take: Take, terms: Terms) -> Made:
        if take.problem is not None:
            return Made(take, 0.0, take.problem)
        audio_s = 0.0
        try:
            for plan in take.plans:
                audio_s += await self._keep(plan, terms)
        except EngineLoading:
            raise
        except EngineError as error:
            return Made(take, audio_s, str(error))
        try:
            async with asyncio.timeout(_FLUSH_DEADLINE_S):
                await self._disk.flush()
        except TimeoutError:
            return Made(take, audio_s, "The disk is too slow to keep it.")
        kept = await self.is_whole(take)
        return Made(take, audio_s, None if kept else _NOT_KEPT)

    async def _keep(self, plan: Plan, terms: Terms) -> float:
        """Returns the seconds of audio that were made for it."""
        for _ in range(_ATTEMPTS - 1):
            # Not where it died of the phrase, twice: a third time would only keep calls waiting.
            with contextlib.suppress(EngineLoading):
                return await self._speaker.keep(plan, terms)
            await self._wait_until_ready(_PATIENCE_S)
        return await self._speaker.keep(plan, terms)


class Recogniser:
    """Listens to what is made on its terms, and counts what it is no judge of."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.not_judged = 0
        self.broken: VerifierUnavailable | None = None
        """Why it cannot listen any more."""
        self.terms = Terms(Priority.WARM_UP, check=self._check)

    async def _check(self, segment: Segment, clip: Clip) -> None:
        """Raises BadAudio: it heard something else."""
        try:
            verdict = await self._verifier.check(segment, clip)
        except VerifierUnavailable as error:
            self.broken = error
            raise EngineError(f"Nobody could listen to it: {error}") from None
        if verdict.outcome is Outcome.WRONG:
            raise BadAudio(f"The recogniser heard {verdict.heard!r}.")
        self.not_judged += verdict.outcome is Outcome.NOT_JUDGED


@asynccontextmanager
async def listening(model: str | None) -> AsyncIterator[Recogniser]:
    """A recogniser for as long as the block lasts.

    Raises:
        VerifierUnavailable: see `synth.verify`.
    """
    verifier = await Verifier.start(model)
    try:
        yield Recogniser(verifier)
    finally:
        await verifier.close()
