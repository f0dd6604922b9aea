"""Run the server until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from importlib.util import find_spec

from aiohttp import web

from proxy.app import build_app
from proxy.settings import Settings

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Listen, and serve until SIGINT or SIGTERM.

    Raises:
        OSError: the address is taken, or the cache directory cannot be written to.
        PhrasebookError: see `proxy.app.build_app`.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    runner = web.AppRunner(
        build_app(settings),
        # A client that hangs up must not keep its handler running.
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=settings.server.shutdown_s,
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.server.host, settings.server.port).start()
        for host, port, *_ in runner.addresses:
            logger.info("listening on http://%s:%d", host, port)
        await stop.wait()
        logger.info("stopping")
    finally:
        await runner.cleanup()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it installs."""
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
