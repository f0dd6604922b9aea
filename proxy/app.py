"""The composition root: builds the parts, hands them to each other, owns their lifetimes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from proxy.api.access import Access
from proxy.api.admin import AdminApi
from proxy.api.catalogue import CatalogueApi
from proxy.api.clips import ClipsApi
from proxy.api.middleware import around
from proxy.api.request_log import RequestLog
from proxy.api.speech import SpeechApi
from proxy.cache.archive import Keeping
from proxy.cache.counts import Counts
from proxy.cache.disk import DiskTier
from proxy.cache.memory import MemoryTier
from proxy.cache.private import NeverStored
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
DISK = web.AppKey("disk", DiskTier)


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

    planner = Planner(NeverStored(settings.cache.never_store, settings.cache.never_store_patterns))

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
    schedule = Schedule(
        pool,
        slots=settings.engine.processes,
        max_waiting=settings.engine.max_waiting,
        max_wait_s=settings.engine.max_wait_s,
    )
    keeping = (settings.engine.after_hangup, settings.cache.keep_text)
    clips = Clips(cache, schedule, *keeping)
    speaker = Speaker(cache, clips, *keeping)

    log = RequestLog()

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
        log.flush()

    app = web.Application(middlewares=[around(log)], client_max_size=settings.server.max_body_bytes)

    async def stopping(app: web.Application) -> None:
        log.stopping = True

    app.on_shutdown.append(stopping)
    app[POOL] = pool
    app[DISK] = disk
    app.cleanup_ctx.append(lifetimes)
    CatalogueApi(pool).add_routes(app)
    SpeechApi(planner, speaker).add_routes(app)
    ClipsApi(speaker).add_routes(app)
    AdminApi(_access(settings), disk, memory, cache, _keeping(settings)).add_routes(app)
    return app


def _access(settings: Settings) -> Access:
    key = settings.server.admin_key
    return Access(None if key is None else key.get_secret_value(), settings.server.host)


def _keeping(settings: Settings) -> Keeping:
    return Keeping(text=settings.cache.keep_text, ttl_s=settings.cache.ttl_s)


async def _warm_when_ready(
    pool: EnginePool, books: Sequence[Phrasebook], planner: Planner, speaker: Speaker
) -> None:
    await pool.wait_until_ready()
    try:
        await warm(books, planner, speaker, pool.wait_until_ready)
    except Exception:
        logger.exception("rendering the phrasebooks ended early")
