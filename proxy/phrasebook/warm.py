"""Render phrasebooks into the cache, by the same path as a request, behind every request.

One engine for all occasions: the start of the server, an edited book, and every night.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.cache import upkeep
from proxy.cache.disk import CacheUnavailable, DiskTier
from proxy.cache.key import Key
from proxy.cache.selection import Selection
from proxy.cache.steps import Listed, Purged
from proxy.cache.store import STORAGE_FAULTS
from proxy.phrasebook.book import Phrasebook
from proxy.phrasebook.cost import LastWarmUp
from proxy.phrasebook.shelf import Shelf
from proxy.phrasebook.steps import BookProblem, Failed, Progress, Step, Warmed
from proxy.phrasebook.survey import Survey, plan_of
from proxy.phrasebook.takes import Take, takes_of
from proxy.speech.plan import Plan, Planner
from proxy.speech.schedule import Priority
from proxy.speech.speaker import Speaker
from proxy.speech.terms import CheckClip, Terms
from synth.engine import BadAudio, Clip, EngineError, EngineLoading, Segment
from synth.verify import Outcome, Verifier, VerifierUnavailable

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
"""At each take: the engine may go away and come back meanwhile."""

_PLANNED_AT_A_TIME = 2
"""Takes, before whoever waits is let in between: a tenth of a millisecond for each format."""

_FLUSH_DEADLINE_S = 60.0

_ENOUGH_FOR_A_PACE_S = 20.0
"""Of audio: less says little of how fast this machine is."""

_NOT_KEPT = (
    "It was rendered, but could not be kept: cache.pinned_bytes is used up, or the disk failed. "
    "The log tells which."
)


class WarmUpRunning(Exception):
    """Another one is under way, and two do not run at once."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(
            f"A warm-up is running already, with {progress.done} of {progress.total} phrases done. "
            "Wait for its end."
        )


@dataclass(frozen=True, slots=True)
class Orders:
    """What a warm-up is to do."""

    dry_run: bool = False
    """Say what there is to do, and do nothing."""
    prune: bool = False
    """Delete what is kept for phrasebooks and named by none of them any more."""
    verify: bool = False
    """Have a recogniser listen to every sentence before it is kept."""
    reload: bool = True
    """Read the phrasebooks again first."""


@dataclass(slots=True)
class _Tally:
    """Of a run."""

    rendered: int = 0
    failed: int = 0
    done: int = 0
    audio_s: float = 0.0
    not_judged: int = 0
    pruned: int = 0
    pruned_bytes: int = 0


class WarmUp:
    """Makes sure that everything in the books is cached, and pinned."""

    def __init__(
        self,
        shelf: Shelf,
        planner: Planner,
        speaker: Speaker,
        disk: DiskTier,
        wait_until_ready: Callable[[], Awaitable[None]],
        parallel: int = 1,
        verify_model: str | None = None,
        remembered: Path | None = None,
    ) -> None:
        """`wait_until_ready` waits for the engine, and raises EngineLoading where it does not
        start. `parallel` takes are made at a time. `remembered` is the file in which a run leaves
        how long it took."""
        self._shelf = shelf
        self._planner = planner
        self._speaker = speaker
        self._disk = disk
        self._wait_until_ready = wait_until_ready
        self._parallel = parallel
        self._verify_model = verify_model
        self._remembered = remembered
        self._takes: list[Take] = []
        self._takes_at = -1
        """`Planner.generation` when they were planned: it changes when a book does."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.progress: Progress | None = None
        """How far the one is that is under way."""
        self.last: Warmed | None = None
        """The last that came to its end, since the server started."""
        self.failed: dict[tuple[str, str, float], str] = {}
        """Why, by text, voice and speed, of what failed the last time it was tried."""

    async def wait_until_idle(self) -> None:
        await self._idle.wait()

    async def run(self, orders: Orders = Orders()) -> AsyncGenerator[Step, None]:
        """Do it, and tell of it. It stops where it is when it is not iterated to its end; what was
        rendered until then is kept.

        Raises:
            WarmUpRunning: another one is under way.
            EngineLoading: the engine cannot start.
            CacheUnavailable: the storage failed.
            VerifierUnavailable: see `synth.verify`.
        """
        if self.progress is not None:
            raise WarmUpRunning(self.progress)
        self.progress = Progress(0, 0, 0, 0.0, None)
        self._idle.clear()
        try:
            if orders.reload:
                await self._shelf.reload()
            for problem in self._shelf.problems:
                yield BookProblem(str(problem.path), problem.line, problem.message)
            if self._planner.weights is None:
                await self._wait_until_ready()
            takes = await self.takes()
            survey = await self.survey()
            missing = [
                take for take in takes if not (survey.is_kept(take) and await self._is_whole(take))
            ]
            yield plan_of(self._shelf.books, takes, missing, survey, self._load_last())
            if not orders.dry_run:
                async with contextlib.aclosing(self._render(orders, takes, missing)) as steps:
                    async for step in steps:
                        yield step
        finally:
            self.progress = None
            self._idle.set()

    async def takes(self, books: Sequence[Phrasebook] | None = None) -> list[Take]:
        """What the books in use come to, or these.

        Raises:
            EngineLoading: the weights are not here yet.
        """
        generation = self._planner.generation
        if books is None and self._takes_at == generation:
            return self._takes
        found = []
        for take in takes_of(self._shelf.books if books is None else books, self._planner):
            found.append(take)
            if len(found) % _PLANNED_AT_A_TIME == 0:
                await asyncio.sleep(0)
        if books is None:
            self._takes, self._takes_at = found, generation
        return found

    async def named(self) -> frozenset[Key]:
        """Every clip of the books in use."""
        return frozenset(clip.key for take in await self.takes() for clip in take.clips)

    async def _is_whole(self, take: Take) -> bool:
        """Whether all of it is pinned, and undamaged."""
        for key in take.keys:
            if not await self._disk.is_pinned(key):
                return False
        return True

    async def survey(self) -> Survey:
        """What is pinned, as its rows tell, without reading it.

        Raises:
            CacheUnavailable: the storage failed.
        """
        pinned = []
        rows = upkeep.entries((self._disk.pinned,), Selection())
        try:
            async for told in self._disk.step_by_step(rows):
                pinned += [step for step in told if isinstance(step, Listed)]
        except STORAGE_FAULTS as error:
            raise CacheUnavailable(f"The cache on disk cannot be used: {error}.") from None
        return Survey(pinned)

    async def _render(
        self, orders: Orders, takes: Sequence[Take], missing: Sequence[Take]
    ) -> AsyncGenerator[Step, None]:
        tally = _Tally()
        self.progress = Progress(0, len(missing), 0, 0.0, None)
        if missing:
            await self._wait_until_ready()
        # From here on: how long the model took to load says nothing of what is left.
        began_s = time.monotonic()
        expected_s = sum(take.speech_s for take in missing)
        done_s = 0.0
        async with self._terms(orders, tally) as terms:
            async with contextlib.aclosing(self._made(missing, terms)) as made:
                async for take, audio_s, why in made:
                    done_s += take.speech_s
                    tally.done += 1
                    tally.audio_s += audio_s
                    what = (take.phrase.text, take.voice, take.speed)
                    if why is None:
                        tally.rendered += 1
                        self.failed.pop(what, None)
                    else:
                        tally.failed += 1
                        self.failed[what] = why
                        yield _failed(take, why)
                    took_s = time.monotonic() - began_s
                    left_s = max(0.0, expected_s - done_s)
                    eta_s = took_s / done_s * left_s if done_s else None
                    self.progress = Progress(
                        tally.done, len(missing), tally.failed, tally.audio_s, eta_s
                    )
                    yield self.progress
        if orders.prune:
            await self._prune(takes, tally)
        yield self._ended(takes, missing, tally, time.monotonic() - began_s)

    async def _made(
        self, takes: Sequence[Take], terms: Terms
    ) -> AsyncGenerator[tuple[Take, float, str | None], None]:
        """Each take once it is done: the seconds of audio made for it, and why it failed."""
        waiting = iter(takes)
        under_way: dict[asyncio.Task[tuple[float, str | None]], Take] = {}

        def begin() -> None:
            for take in waiting:
                under_way[asyncio.create_task(self._make(take, terms))] = take
                return

        for _ in range(self._parallel):
            begin()
        try:
            while under_way:
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    take = under_way.pop(task)
                    begin()
                    yield (take, *task.result())
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _make(self, take: Take, terms: Terms) -> tuple[float, str | None]:
        if take.problem is not None:
            return 0.0, take.problem
        audio_s = 0.0
        try:
            for plan in take.plans:
                audio_s += await self._keep(plan, terms)
        except EngineLoading:
            raise
        except EngineError as error:
            return audio_s, str(error)
        try:
            async with asyncio.timeout(_FLUSH_DEADLINE_S):
                await self._disk.flush()
        except TimeoutError:
            return audio_s, "The disk is too slow to keep it."
        if not await self._is_whole(take):
            return audio_s, _NOT_KEPT
        return audio_s, None

    async def _keep(self, plan: Plan, terms: Terms) -> float:
        """Returns the seconds of audio that were made for it."""
        for _ in range(_ATTEMPTS - 1):
            # Not where it died of the phrase, twice: a third time would only keep calls waiting.
            with contextlib.suppress(EngineLoading):
                return await self._speaker.keep(plan, terms)
            await self._wait_until_ready()
        return await self._speaker.keep(plan, terms)

    @asynccontextmanager
    async def _terms(self, orders: Orders, tally: _Tally) -> AsyncIterator[Terms]:
        terms = Terms(Priority.WARM_UP)
        if not orders.verify:
            yield terms
            return
        verifier = await Verifier.start(self._verify_model)
        try:
            yield replace(terms, check=_checked_by(verifier, tally))
        finally:
            await verifier.close()

    async def _prune(self, takes: Sequence[Take], tally: _Tally) -> None:
        if self._shelf.problems or any(take.problem for take in takes):
            logger.error("nothing is pruned while phrasebooks have problems")
            return
        named = {key.id for take in takes for key in take.keys}
        try:
            async for told in self._disk.step_by_step(upkeep.prune(self._disk.pinned, named)):
                for step in told:
                    if isinstance(step, Purged):
                        tally.pruned, tally.pruned_bytes = step.entries, step.size_bytes
        except STORAGE_FAULTS as error:
            raise CacheUnavailable(f"The cache on disk cannot be used: {error}.") from None

    def _ended(
        self, takes: Sequence[Take], missing: Sequence[Take], tally: _Tally, took_s: float
    ) -> Warmed:
        warmed = Warmed(
            takes=len(takes),
            rendered=tally.rendered,
            cached=len(takes) - len(missing),
            failed=tally.failed,
            not_judged=tally.not_judged,
            pruned=tally.pruned,
            pruned_bytes=tally.pruned_bytes,
            audio_s=tally.audio_s,
            took_s=took_s,
            ended_at_s=time.time(),
            problems=len(self._shelf.problems),
        )
        self.last = warmed
        logger.info(
            "phrasebooks: %d rendered, %d cached already, %d failed",
            *(warmed.rendered, warmed.cached, warmed.failed),
        )
        self._save_last(warmed)
        return warmed

    def _load_last(self) -> LastWarmUp | None:
        return None if self._remembered is None else LastWarmUp.load(self._remembered)

    def _save_last(self, warmed: Warmed) -> None:
        if self._remembered is None:
            return
        before = self._load_last()
        pace = None if before is None else before.pace
        if warmed.audio_s >= _ENOUGH_FOR_A_PACE_S:
            pace = warmed.took_s / warmed.audio_s
        try:
            LastWarmUp(warmed.ended_at_s, warmed.took_s, warmed.audio_s, pace).save(
                self._remembered
            )
        except OSError as error:  # A full disk: no reason to fail at the very end.
            logger.error("cannot write %s: %s", self._remembered, error)


def _failed(take: Take, why: str) -> Failed:
    phrase = take.phrase
    logger.error("phrasebook %s: %r by %s: %s", take.book.name, phrase.text, take.voice, why)
    return Failed(
        take.book.name,
        str(phrase.path),
        phrase.line,
        phrase.text,
        take.voice,
        take.speed,
        why,
        phrase.id,
    )


def _checked_by(verifier: Verifier, tally: _Tally) -> CheckClip:
    async def check(segment: Segment, clip: Clip) -> None:
        try:
            verdict = await verifier.check(segment, clip)
        except VerifierUnavailable as error:
            raise EngineError(f"Nobody could listen to it: {error}") from None
        if verdict.outcome is Outcome.WRONG:
            raise BadAudio(f"The recogniser heard {verdict.heard!r}.")
        tally.not_judged += verdict.outcome is Outcome.NOT_JUDGED

    return check
