"""The composition root: builds the parts, hands them to each other, owns their lifetimes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from proxy.api.catalogue import CatalogueApi
from proxy.api.middleware import identify, tell_errors
from proxy.api.speech import SpeechApi
from proxy.cache.disk import DiskTier
from proxy.cache.memory import MemoryTier
from proxy.cache.tiered import TieredCache
from proxy.phrasebook.book import Phrasebook, read_all, shipped_directory
from proxy.phrasebook.warm import warm
from proxy.settings import Settings
from proxy.speech.clips import Clips
from proxy.speech.plan import Planner
from proxy.speech.schedule import Schedule
from proxy.speech.speaker import Speaker
from synth.fingerprint import read_package_versions
from synth.pool import EngineOptions, EnginePool
from synth.weights import installed

logger = logging.getLogger(__name__)

POOL = web.AppKey("pool", EnginePool)


def build_app(settings: Settings, engine_command: Sequence[str] | None = None) -> web.Application:
    """The server, not yet started; nothing is read from or written to disk before it is.

    `engine_command` stands in for our engine process: see `synth.pool.EnginePool`.

    Raises:
        PhrasebookError: a phrasebook that is to be rendered at the start cannot be used.
    """
    directory = settings.cache.directory.expanduser()
    books: tuple[Phrasebook, ...] = ()
    if settings.phrasebook.warm_at_start:
        books = read_all((settings.phrasebook.directory or shipped_directory()).expanduser())

    planner = Planner()

    async def look_for_weights() -> None:
        planner.weights = await asyncio.to_thread(installed, settings.engine.weights, directory)

    pool = EnginePool(
        EngineOptions(
            weights=settings.engine.weights,
            cache_dir=directory,
            device=settings.engine.device,
            threads=settings.engine.threads,
            processes=settings.engine.processes,
            pass_deadline_s=settings.engine.pass_deadline_s,
        ),
        engine_command,
        on_ready=look_for_weights,
    )
    disk = DiskTier(directory / "audio", settings.cache.disk_bytes)
    cache = TieredCache(MemoryTier(settings.cache.memory_bytes, settings.cache.memory_policy), disk)
    schedule = Schedule(pool, settings.engine.processes, settings.engine.max_waiting)
    clips = Clips(cache, schedule)
    speaker = Speaker(cache, clips)

    async def lifetimes(app: web.Application) -> AsyncIterator[None]:
        await disk.open()
        # Before the engine is up: what is cached can be served as soon as its key is known.
        await asyncio.to_thread(read_package_versions)
        await look_for_weights()
        pool.start()
        warming = asyncio.create_task(_warm_when_ready(pool, books, planner, speaker))
        yield
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        await speaker.close()
        await clips.close()
        await pool.close()
        await disk.close()

    app = web.Application(
        middlewares=[identify, tell_errors], client_max_size=settings.server.max_body_bytes
    )
    app[POOL] = pool
    app.cleanup_ctx.append(lifetimes)
    CatalogueApi(pool).add_routes(app)
    SpeechApi(planner, speaker).add_routes(app)
    return app


async def _warm_when_ready(
    pool: EnginePool, books: Sequence[Phrasebook], planner: Planner, speaker: Speaker
) -> None:
    await pool.wait_until_ready()
    try:
        await warm(books, planner, speaker, pool.wait_until_ready)
    except Exception:
        logger.exception("rendering the phrasebooks ended early")
