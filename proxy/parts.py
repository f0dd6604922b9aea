"""The parts that speak, whoever is served by them: a server, or a command that runs by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from proxy.cache.counts import Counts
from proxy.cache.disk import DiskTier
from proxy.cache.memory import MemoryTier
from proxy.cache.private import NeverStored
from proxy.cache.tiered import TieredCache
from proxy.fallback.providers import Providers
from proxy.phrasebook.shelf import Shelf
from proxy.phrasebook.warm import WarmUp
from proxy.settings import Settings
from proxy.speech.clips import Clips
from proxy.speech.plan import Planner
from proxy.speech.schedule import Schedule
from proxy.speech.speaker import Speaker
from synth.fingerprint import read_package_versions
from synth.pool import EngineOptions, EnginePool
from synth.weights import installed

LAST_WARM_UP = "last-warm-up.json"
"""In the cache's directory: how the last warm-up went, for estimates of the next."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Built, handed to each other, and not yet running."""

    settings: Settings
    planner: Planner
    pool: EnginePool
    disk: DiskTier
    memory: MemoryTier
    cache: TieredCache
    clips: Clips
    speaker: Speaker
    shelf: Shelf
    warm_up: WarmUp
    providers: Providers | None = None

    @asynccontextmanager
    async def running(self, nothing_is_made: bool = False) -> AsyncIterator[None]:
        """Open the disk, start the engine, and end both after the block. Where nothing is to be
        made, the engine is only started for weights that are not here yet.

        Raises:
            OSError: the cache's directory cannot be used; CacheInUse, where another has it.
        """
        await self.disk.open()
        connections = AsyncExitStack()
        try:
            if self.providers is not None:
                await connections.enter_async_context(self.providers.running())
            # Before the engine is up: what is cached can be served as soon as its key is known.
            await asyncio.to_thread(read_package_versions)
            await self.look_for_weights()
            if not nothing_is_made or self.planner.weights is None:
                self.pool.start()
            yield
        finally:
            await self.speaker.close()
            await connections.aclose()
            await self.clips.close()
            await self.pool.close()
            await self.disk.close()

    async def look_for_weights(self) -> None:
        settings = self.settings
        self.planner.weights = await asyncio.to_thread(
            installed, settings.engine.weights, settings.cache.directory.expanduser()
        )


def build_parts(
    settings: Settings,
    engine_command: Sequence[str] | None = None,
    providers: Providers | None = None,
) -> Parts:
    """Nothing is read or written yet.

    `engine_command` stands in for our engine process: see `synth.pool.EnginePool`. `providers`
    speak for callers what it cannot take in time.
    """
    directory = settings.cache.directory.expanduser()
    never_stored = NeverStored(settings.cache.never_store, settings.cache.never_store_patterns)
    planner = Planner(never_stored, settings.voice.aliases)

    async def look_for_weights() -> None:
        await parts.look_for_weights()

    pool = build_pool(settings, engine_command, look_for_weights)
    counts = Counts()
    disk = DiskTier(
        directory / "audio",
        settings.cache.disk_bytes,
        settings.cache.pinned_bytes,
        counts,
        settings.cache.ttl_s,
    )
    memory = MemoryTier(settings.cache.memory_bytes, settings.cache.memory_policy)
    cache = TieredCache(
        memory,
        disk,
        counts,
        ttl_s=settings.cache.ttl_s,
        admission=settings.cache.disk_admission,
    )
    after_s, admit, max_wait_s = None, _admit_all, settings.engine.max_wait_s
    if providers is not None:
        # Who could wait for the engine is better served by somebody who is there.
        after_s, admit = settings.fallback.after_s, pool.require_up
        max_wait_s = min(max_wait_s, after_s)
    schedule = Schedule(
        pool, settings.engine.processes, settings.engine.max_waiting, max_wait_s, admit
    )
    keeping = (settings.engine.after_hangup, settings.cache.keep_text)
    clips = Clips(cache, schedule, *keeping)
    speaker = Speaker(cache, clips, *keeping, providers, after_s)
    shelf = Shelf(settings.phrasebook.directory, settings.phrasebook.books, planner)
    warm_up = WarmUp(
        shelf,
        planner,
        speaker,
        disk,
        pool.wait_until_loaded,
        parallel=settings.engine.processes,
        verify_model=settings.warm.verify_model,
        remembered=directory / "audio" / LAST_WARM_UP,
    )
    parts = Parts(
        settings, planner, pool, disk, memory, cache, clips, speaker, shelf, warm_up, providers
    )
    return parts


def _admit_all() -> None:
    pass


def build_pool(
    settings: Settings,
    engine_command: Sequence[str] | None = None,
    on_ready: Callable[[], Awaitable[None]] | None = None,
) -> EnginePool:
    """See `synth.pool.EnginePool`."""
    options = EngineOptions(
        weights=settings.engine.weights,
        cache_dir=settings.cache.directory.expanduser(),
        device=settings.engine.device,
        threads=settings.engine.threads,
        processes=settings.engine.processes,
        pass_deadline_s=settings.engine.pass_deadline_s,
    )
    return EnginePool(options, engine_command, on_ready)
