"""The composition root: builds the parts, hands them to each other, owns their lifetimes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from proxy.api.access import ADMIN_PATH, build_access
from proxy.api.admin_routes import add_admin_routes
from proxy.api.api_keys import build_keys
from proxy.api.cache_admin import CacheAdminApi
from proxy.api.catalogue import CatalogueApi
from proxy.api.clips import ClipsApi
from proxy.api.cors import Cors
from proxy.api.gate import build_gate
from proxy.api.keys_admin import KeysAdminApi
from proxy.api.middleware import around
from proxy.api.openapi.served import Keys, OpenApi
from proxy.api.patience import PATIENCE, Patience
from proxy.api.phrasebook_admin import PhrasebookAdminApi
from proxy.api.request_log import RequestLog
from proxy.api.speech import SpeechApi
from proxy.api.stopping import STOPPING, Stopping
from proxy.api.unknown_fields import UnknownFields
from proxy.api.webhooks import WebhooksApi
from proxy.cache.archive import Keeping
from proxy.cache.disk import CacheUnavailable, DiskTier
from proxy.fallback.providers import build_providers
from proxy.parts import Parts, build_parts
from proxy.phrasebook.mining.miner import HEARD, Miner
from proxy.phrasebook.warm import Orders, WarmUpRunning
from proxy.settings import Settings
from synth.engine import EngineError
from synth.pool import EnginePool

logger = logging.getLogger(__name__)

_WARM_AGAIN_S = 5.0
_WARM_AGAIN_AT_MOST_S = 300.0
_WATCH_AGAIN_S = 10.0
_DISK_MAY_FAIL = 3
"""So often is it tried."""

POOL = web.AppKey("pool", EnginePool)
DISK = web.AppKey("disk", DiskTier)


def build_app(settings: Settings, engine_command: Sequence[str] | None = None) -> web.Application:
    """The server, not yet started; nothing is read from or written to disk before it is. Its start
    raises PhrasebookError where there is no phrasebook, or not the one that is set.

    Raises:
        SettingsError: settings that do not go together, or the key of a provider is not where it is
            to be.

    `engine_command` stands in for our engine process: see `synth.pool.EnginePool`.
    """
    providers = build_providers(settings.fallback, os.environ)
    parts = build_parts(settings, engine_command, providers)
    log, stopping = RequestLog(), Stopping()
    server, auth = settings.server, settings.auth
    keys = build_keys(auth)
    access = build_access(server, keys)
    gate = build_gate(keys, auth.requests_per_minute, auth.requests_per_minute_by_key)
    cors = Cors(server.cors_origins) if server.cors_origins else None
    app = web.Application(
        middlewares=[around(log, gate, cors, stopping)], client_max_size=server.max_body_bytes
    )
    # Each takes every hit a microsecond, so only where there is something to add.
    if cors is not None:
        app.on_response_prepare.append(cors.mark)
    if gate is not None and gate.has_limits:
        app.on_response_prepare.append(gate.tell_limit)
    keeper = _Keeper(parts)

    miner = None
    if settings.mine.enabled:
        audio = settings.cache.directory.expanduser() / "audio"
        miner = Miner(audio / HEARD, settings.mine.max_sentences, parts.warm_up.named)

    async def lifetimes(app: web.Application) -> AsyncIterator[None]:
        await asyncio.to_thread(parts.shelf.open)
        if keys is not None:
            await asyncio.to_thread(keys.derive)
        async with contextlib.AsyncExitStack() as running:
            await running.enter_async_context(parts.running())
            await running.enter_async_context(keeper.running())
            if miner is not None:
                await running.enter_async_context(miner.running())
            yield
        log.flush()

    async def break_off(app: web.Application) -> None:
        log.stopping = True

    app.on_shutdown.append(break_off)
    app[POOL] = parts.pool
    app[DISK] = parts.disk
    app[STOPPING] = stopping
    app[PATIENCE] = Patience(server.request_s, server.stalled_reader_s)
    app.cleanup_ctx.append(lifetimes)
    aliases, fallback = settings.voice.aliases, None if providers is None else providers.health
    CatalogueApi(
        parts.pool, parts.shelf, aliases, keeper.is_warm, fallback, stopping.is_asked
    ).add_routes(app)
    unknown_fields = UnknownFields()
    note = None if miner is None else miner.note
    speech = SpeechApi(parts.planner, parts.speaker, unknown_fields, note)
    speech.add_routes(app)
    WebhooksApi(parts.planner, speech).add_routes(app)
    ClipsApi(parts.speaker, keys).add_routes(app)
    keeping = Keeping(text=settings.cache.keep_text, ttl_s=settings.cache.ttl_s)
    cache_admin = CacheAdminApi(parts.disk, parts.memory, parts.cache, keeping, miner)
    # By the first key: the one who set the keys may give any of them away.
    signs = None if keys is None else keys.all[0]
    phrasebook_admin = PhrasebookAdminApi(parts.shelf, parts.warm_up, miner, signs=signs)
    has_admin_key = server.admin_key is not None
    OpenApi(Keys(admin=has_admin_key, callers=keys is not None)).add_routes(app)
    handlers = {
        **cache_admin.handlers(),
        **phrasebook_admin.handlers(),
        **KeysAdminApi(gate).handlers(),
        ("GET", f"{ADMIN_PATH}/unknown-fields"): unknown_fields.tell,
    }
    add_admin_routes(app, access, handlers)
    return app


class _Keeper:
    """Sees to it that what the phrasebooks name is rendered: at the start, and when they change."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._warmed = False

    def is_warm(self) -> bool:
        """Whether the phrasebooks are rendered, as far as calls are to wait for that."""
        return self._warmed or not self._parts.settings.warm.before_ready

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._keep_warm())]
        if self._parts.settings.warm.on_change:
            # Apart from rendering, which may take hours: a mistake is told as soon as it is made.
            tasks.append(asyncio.create_task(self._watch()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_warm(self) -> None:
        settings, shelf = self._parts.settings.warm, self._parts.shelf
        await self._parts.pool.wait_until_ready()
        if settings.at_start:
            await self._warm()
        self._warmed = True
        while settings.on_change:
            # Whoever has it reloaded: this server, a request, or a warm-up that was broken off.
            await shelf.changed.wait()
            shelf.changed.clear()
            await self._parts.warm_up.wait_until_idle()
            if not self._parts.warm_up.is_up_to_date:
                await self._warm()

    async def _warm(self) -> None:
        """Once no other is under way, and again until one comes to its end. Not for ever where the
        disk is what fails, or has no room: calls are served all the same."""
        again_s, disk_failed = _WARM_AGAIN_S, 0
        while disk_failed < _DISK_MAY_FAIL:
            await self._parts.warm_up.wait_until_idle()
            try:
                async with contextlib.aclosing(
                    self._parts.warm_up.run(Orders(reload=False))
                ) as steps:
                    async for _ in steps:
                        pass
                return
            except WarmUpRunning:  # Another came first.
                continue
            except (EngineError, CacheUnavailable) as error:
                logger.error("rendering the phrasebooks broke off: %s", error)
                disk_failed += isinstance(error, CacheUnavailable)
            except Exception:
                logger.exception("rendering the phrasebooks broke off")
            await asyncio.sleep(again_s)
            again_s = min(_WARM_AGAIN_AT_MOST_S, again_s * 2)
            await self._parts.pool.wait_until_ready()

    async def _watch(self) -> None:
        while True:
            try:
                await self._parts.shelf.watch()
            except Exception:
                logger.exception("watching the phrasebooks failed; it is begun again")
                await asyncio.sleep(_WATCH_AGAIN_S)
