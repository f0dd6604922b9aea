"""Render phrasebooks into the cache, by the same path as a request, behind every request.

One engine for all occasions: the start of the server, an edited book, and every night.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from proxy.cache import upkeep
from proxy.cache.disk import DiskTier
from proxy.cache.key import Key
from proxy.cache.selection import Selection
from proxy.cache.steps import Listed, Purged
from proxy.phrasebook.book import Phrasebook
from proxy.phrasebook.cost import LastWarmUp
from proxy.phrasebook.rendering import UNHEARD, Made, Renderer, listening
from proxy.phrasebook.shelf import Shelf
from proxy.phrasebook.steps import BookProblem, Failed, Progress, Step, Warmed
from proxy.phrasebook.survey import Survey, plan_of
from proxy.phrasebook.takes import Take, ids_in, takes_of
from proxy.speech.plan import Planner
from proxy.speech.speaker import Speaker
from proxy.speech.wording import UnknownPhrasebook

logger = logging.getLogger(__name__)

_PLANNED_AT_A_TIME = 2
"""Takes, before whoever waits is let in between: a tenth of a millisecond for each format."""

_ENOUGH_FOR_A_PACE_S = 20.0
"""Of audio: less says little of how fast this machine is."""


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
    not_pruned: str | None = None

    def note(self, made: Made) -> None:
        self.done += 1
        self.audio_s += made.audio_s
        self.rendered += made.why is None
        self.failed += made.why is not None


class WarmUp:
    """Makes sure that everything in the books is cached, and pinned."""

    def __init__(
        self,
        shelf: Shelf,
        planner: Planner,
        speaker: Speaker,
        disk: DiskTier,
        wait_until_ready: Callable[[float], Awaitable[None]],
        parallel: int = 1,
        verify_model: str | None = None,
        remembered: Path | None = None,
    ) -> None:
        """`wait_until_ready` waits for the engine, and raises EngineLoading where it has failed to
        start for so many seconds. `parallel` takes are made at a time. `remembered` is the file in
        which a run leaves how long it took."""
        self._shelf = shelf
        self._planner = planner
        self._renderer = Renderer(speaker, disk, wait_until_ready, parallel)
        self._disk = disk
        self._wait_until_ready = wait_until_ready
        self._verify_model = verify_model
        self._remembered = remembered
        self._takes: list[Take] = []
        self._named: frozenset[Key] = frozenset()
        self._takes_at = -1
        """`Planner.generation` when they were planned: it changes when a book does."""
        self._warmed_at = -1
        """Likewise, of the last that came to its end."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.progress: Progress | None = None
        """How far the one is that is under way."""
        self.last: Warmed | None = None
        """The last that came to its end, since the server started."""
        self.failed: dict[tuple[str, str, float], str] = {}
        """Why, by text, voice and speed, of what failed the last time it was tried."""

    @property
    def is_up_to_date(self) -> bool:
        """Whether one came to its end since the books are as they are."""
        return self._warmed_at == self._planner.generation

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
                await self._wait_until_ready(0.0)
            takes = await self.takes()
            planned_at = self._takes_at
            self._forget_failures(takes)
            survey = await self.survey()
            kept = await asyncio.to_thread(survey.kept_among, takes)
            missing = [
                take
                for take in takes
                if id(take) not in kept or not await self._renderer.is_whole(take)
            ]
            last = await asyncio.to_thread(self._load_last)
            books = {take.book.name: take.book for take in takes}
            yield await asyncio.to_thread(
                plan_of, self._shelf.directory, list(books.values()), takes, missing, survey, last
            )
            if missing and not orders.dry_run:
                logger.info("phrasebooks: %d phrases to render", len(missing))
            if not orders.dry_run:
                async with aclosing(self._render(orders, takes, missing)) as steps:
                    async for step in steps:
                        yield step
                self._warmed_at = planned_at
        finally:
            self.progress = None
            self._idle.set()

    async def takes(self, books: Sequence[Phrasebook] | None = None) -> list[Take]:
        """What the books in use come to, or these.

        Raises:
            EngineLoading: the weights are not here yet.
        """
        if books is None and self._takes_at == self._planner.generation:
            return self._takes
        while True:
            generation = self._planner.generation
            try:
                found = await self._plan(self._shelf.books if books is None else books)
            except UnknownPhrasebook:
                if self._planner.generation == generation:
                    raise
                continue  # The books were replaced while they were planned.
            if self._planner.generation == generation or books is not None:
                break
        if books is None:
            self._takes, self._takes_at = found, generation
            self._named = frozenset(clip.key for take in found for clip in take.clips)
        return found

    async def _plan(self, books: Sequence[Phrasebook]) -> list[Take]:
        found = []
        for take in takes_of(books, self._planner):
            found.append(take)
            if len(found) % _PLANNED_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return found

    async def named(self) -> frozenset[Key]:
        """Every clip of the books in use."""
        await self.takes()
        return self._named

    def _forget_failures(self, takes: Sequence[Take]) -> None:
        """Those of phrases that are in no book any more."""
        known = {_what(take) for take in takes}
        self.failed = {what: why for what, why in self.failed.items() if what in known}

    async def survey(self) -> Survey:
        """What is pinned, as its rows tell, without reading it.

        Raises:
            CacheUnavailable: the storage failed.
        """
        pinned = []
        async for told in self._disk.tell(upkeep.entries((self._disk.pinned,), Selection())):
            pinned += [step for step in told if isinstance(step, Listed)]
        return Survey(pinned)

    async def _render(
        self, orders: Orders, takes: Sequence[Take], missing: Sequence[Take]
    ) -> AsyncGenerator[Step, None]:
        tally = _Tally()
        self.progress = Progress(0, len(missing), 0, 0.0, None)
        if missing:
            await self._wait_until_ready(0.0)
        # From here on: how long the model took to load says nothing of what is left.
        began_s = time.monotonic()
        expected_s = sum(take.speech_s for take in missing)
        done_s = 0.0
        async with contextlib.AsyncExitStack() as open_until_done:
            recogniser = None
            if orders.verify and missing:
                recogniser = await open_until_done.enter_async_context(
                    listening(self._verify_model)
                )
            making = self._renderer.make(missing, recogniser.terms if recogniser else UNHEARD)
            async for made in await open_until_done.enter_async_context(aclosing(making)):
                done_s += made.take.speech_s
                tally.note(made)
                self._note(made)
                if made.why is not None:
                    yield _failed(made.take, made.why)
                took_s = time.monotonic() - began_s
                left_s = max(0.0, expected_s - done_s)
                self.progress = Progress(
                    tally.done,
                    len(missing),
                    tally.failed,
                    tally.audio_s,
                    eta_s=took_s / done_s * left_s if done_s else None,
                    took_s=took_s,
                )
                yield self.progress
                if recogniser is not None and recogniser.broken is not None:
                    raise recogniser.broken
            if recogniser is not None:
                tally.not_judged = recogniser.not_judged
        if orders.prune:
            await self._prune(tally)
        yield await self._ended(takes, missing, tally, time.monotonic() - began_s)

    def _note(self, made: Made) -> None:
        what = _what(made.take)
        if made.why is None:
            self.failed.pop(what, None)
        else:
            self.failed[what] = made.why

    async def _prune(self, tally: _Tally) -> None:
        if self._shelf.problems:
            tally.not_pruned = "a phrasebook is broken, and nobody knows what it names"
            return
        takes = await self.takes()  # A book may have been edited meanwhile.
        if any(take.problem for take in takes):
            tally.not_pruned = "some phrases cannot be planned, so nobody knows what is theirs"
            return
        async for told in self._disk.tell(upkeep.prune(self._disk.pinned, ids_in(takes))):
            for step in told:
                if isinstance(step, Purged):
                    tally.pruned, tally.pruned_bytes = step.entries, step.size_bytes

    async def _ended(
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
            not_pruned=tally.not_pruned,
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
        await asyncio.to_thread(self._save_last, warmed)
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


def _what(take: Take) -> tuple[str, str, float]:
    return take.phrase.text, take.voice, take.speed


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
