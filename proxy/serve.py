"""Run the server until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from importlib.util import find_spec
from typing import Any

from aiohttp import web

from proxy.api.stopping import STOPPING, Stopping
from proxy.app import DISK, build_app
from proxy.http_log import HttpLog
from proxy.settings import ServerSettings, Settings
from proxy.tls import Certificate, build_certificate

logger = logging.getLogger(__name__)

_NO_SUCH_ADDRESS_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""`localhost` stands for ::1, too, on machines without IPv6."""

_LONGEST_MS = 2**31 - 1
"""What the kernel takes for a number of milliseconds."""

_LET_IN_S = 0.1
"""So long does the last one have to ask."""


def serve(settings: Settings, engine_command: Sequence[str] | None = None) -> None:
    """Listen, and serve until SIGINT or SIGTERM; a second one ends what is under way at once.

    `engine_command` stands in for our engine process: see `synth.pool.EnginePool`.

    Raises:
        OSError: the address is taken, or the cache directory cannot be written to. Its `filename`
            is the address or the path, where it is known.
        sqlite3.Error: the cache on disk cannot be opened.
        PhrasebookError: there is no phrasebook, or not the one that is set.
        SettingsError: settings that do not go together, or a certificate that cannot be used.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, engine_command))


async def _serve(settings: Settings, engine_command: Sequence[str] | None) -> None:
    app = build_app(settings, engine_command)
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, app[STOPPING].ask)
    with ExitStack() as open_sockets:
        # Before the engine is started: with the address taken there is nothing to start it for.
        listening = await listen(settings.server, open_sockets)
        await serve_on(listening, app, settings.server)


async def serve_on(
    listening: Sequence[socket.socket], app: web.Application, settings: ServerSettings
) -> None:
    """Serve on these sockets until `app[STOPPING]` is asked. Raises as `serve`."""
    certificate = build_certificate(settings)
    context = None if certificate is None else certificate.open()
    stopping = app[STOPPING]
    runner = web.AppRunner(app, **runner_options(settings))
    try:
        await runner.setup()
        for listener in listening:
            await web.SockSite(runner, listener, ssl_context=context).start()
        scheme = "http" if certificate is None else "https"
        url = _url_from_here(scheme, runner.addresses)

        async def announce() -> None:
            fingerprint = None if certificate is None else certificate.fingerprint
            # In the thread of the disk: it may be taking the directory anew.
            await app[DISK].run(lambda: app[DISK].owner.announce(url, fingerprint))

        await announce()
        for host, port, *_ in runner.addresses:
            logger.info("listening on %s", _url(scheme, host, port))
        async with _watched(certificate, announce):
            await stopping.asked.wait()
            logger.info("stopping")
            await _drain(stopping, settings.drain_s)
    finally:
        async with _aborted_at_once(runner, stopping):
            for site in runner.sites:
                await site.stop()
            # aiohttp would let whoever was let in just now wait until it ends, and then go away.
            await asyncio.sleep(_LET_IN_S)
            await runner.cleanup()


def runner_options(settings: ServerSettings) -> dict[str, Any]:
    """How aiohttp treats connections."""
    return {
        # A client that hangs up must not keep its handler running.
        "handler_cancellation": True,
        "access_log": None,
        "logger": HttpLog(),
        # aiohttp waits this long twice: for the handler to end, and, once the request's body is
        # cancelled, for the handler again (RequestHandler.shutdown). A reply can go on in both.
        "shutdown_timeout": settings.shutdown_s / 2,
        # Begins with the connection and with the end of each answer, and ends with a whole head: so
        # it is for those who send one a byte at a time, too.
        "keepalive_timeout": settings.idle_s,
        "max_line_size": settings.max_header_bytes,
        "max_field_size": settings.max_header_bytes,
        "max_headers": settings.max_headers,
    }


@asynccontextmanager
async def _watched(
    certificate: Certificate | None, changed: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    if certificate is None:
        yield
        return
    task = asyncio.create_task(certificate.watch(changed))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _drain(stopping: Stopping, drain_s: float) -> None:
    """Go on as before, for as long as load balancers take to notice that it is not ready."""
    with suppress(TimeoutError):
        async with asyncio.timeout(drain_s):
            await stopping.at_once.wait()


@asynccontextmanager
async def _aborted_at_once(runner: web.AppRunner, stopping: Stopping) -> AsyncIterator[None]:
    """Abort every connection when that is asked for within the block."""

    async def abort() -> None:
        await stopping.at_once.wait()
        for connection in [] if runner.server is None else runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    task = asyncio.create_task(abort())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _url_from_here(scheme: str, addresses: Sequence[Sequence[Any]]) -> str:
    """Where a command on this machine finds the server."""
    host, port = addresses[0][:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return _url(scheme, host, port)


async def listen(settings: ServerSettings, open_sockets: ExitStack) -> list[socket.socket]:
    """A socket for every address that the host stands for."""
    host, port = settings.host, settings.port
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
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Of what the kernel has taken already, and of connections that are being closed.
                # Later than our own, which says in the log what it did. Inherited by connections.
                give_up_ms = int(min(settings.stalled_reader_s * 2 * 1000, _LONGEST_MS))
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, give_up_ms)
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
