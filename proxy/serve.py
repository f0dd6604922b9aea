"""Run the server until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from aiohttp import web

from proxy.app import DISK, build_app
from proxy.settings import Settings

logger = logging.getLogger(__name__)

_MAX_LINE_BYTES = 64 * 1024
"""Of a request's first line, which holds the text that entries of the cache are looked up by: as
long as the longest input may be, in four bytes a character, each of them written as %F0. What is
longer aiohttp refuses in words of its own."""

_NO_SUCH_ADDRESS_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""`localhost` stands for ::1, too, on machines without IPv6."""


def serve(settings: Settings, engine_command: Sequence[str] | None = None) -> None:
    """Listen, and serve until SIGINT or SIGTERM.

    `engine_command` stands in for our engine process: see `synth.pool.EnginePool`.

    Raises:
        OSError: the address is taken, or the cache directory cannot be written to. Its `filename`
            is the address or the path, where it is known.
        sqlite3.Error: the cache on disk cannot be opened.
        SettingsError: see `proxy.app.build_app`.
        PhrasebookError: there is no phrasebook, or not the one that is set.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, engine_command))


async def _serve(settings: Settings, engine_command: Sequence[str] | None) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    app = build_app(settings, engine_command)
    runner = runner_of(app, settings)
    with ExitStack() as open_sockets:
        # Before the engine is started: with the address taken there is nothing to start it for.
        listening = await _listen(settings.server.host, settings.server.port, open_sockets)
        try:
            await runner.setup()
            for listener in listening:
                await web.SockSite(runner, listener).start()
            url = _url_from_here(runner.addresses)
            # In the thread of the disk: it may be taking the directory anew.
            await app[DISK].run(lambda: app[DISK].owner.announce(url))
            for host, port, *_ in runner.addresses:
                logger.info("listening on %s", _url(host, port))
            await stop.wait()
            logger.info("stopping")
        finally:
            await runner.cleanup()


def runner_of(app: web.Application, settings: Settings) -> web.AppRunner:
    """Runs the server as `serve` does, and is the caller's to set up and clean up."""
    return web.AppRunner(
        app,
        # A client that hangs up must not keep its handler running.
        handler_cancellation=True,
        access_log=None,
        # aiohttp waits this long twice: for the handler to end, and, once the request's body is
        # cancelled, for the handler again (RequestHandler.shutdown). A reply can go on in both.
        shutdown_timeout=settings.server.shutdown_s / 2,
        max_line_size=_MAX_LINE_BYTES,
    )


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _url_from_here(addresses: Sequence[Sequence[Any]]) -> str:
    """Where a command on this machine finds the server."""
    host, port = addresses[0][:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return _url(host, port)


async def _listen(host: str, port: int, open_sockets: ExitStack) -> list[socket.socket]:
    """A socket for every address that the host stands for."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(None, getattr(error, "strerror", None) or "is no host name", host) from error
    listening = []
    failed: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            listener = open_sockets.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # IPv4 has a socket of its own.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen()
        except OSError as error:
            where = f"{address[0]}:{port}"
            failed = OSError(error.errno, os.strerror(error.errno or 0), where)
            if error.errno in _NO_SUCH_ADDRESS_HERE:
                continue
            raise failed from None
        listening.append(listener)
    if not listening and failed is not None:
        raise failed
    return listening


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it installs."""
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
