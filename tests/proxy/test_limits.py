"""Clients that send too much, too slowly, or do not read."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import replace
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.middleware import around
from proxy.api.patience import (
    LOOKS,
    PATIENCE,
    Patience,
    Progress,
    left_bytes,
    pieces_of,
    whole_body,
)
from proxy.api.request_log import RequestLog
from proxy.api.streamed import Streamed
from proxy.serve import listen
from proxy.settings import ServerSettings, Settings
from tests.proxy.conftest import SPEECH
from tests.proxy.serving import Connection, ScriptedApp, Serving, connect, serving

Serve = Callable[..., AbstractAsyncContextManager[Serving]]
SECRET = "Bearer sk-very-secret-0123456789"


@pytest.fixture
def serve(scripted_app: ScriptedApp, settings: Settings) -> Serve:
    def start(**server: Any) -> AbstractAsyncContextManager[Serving]:
        return serving(scripted_app, replace(settings, server=replace(settings.server, **server)))

    return start


def code_in(answer: bytes) -> str:
    return str(json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"]["code"])


@pytest.mark.parametrize(
    "head",
    [
        f"GET /v1/models HTTP/1.1\nHost: edge\nAuthorization: {SECRET}{'x' * 2000}\n\n",
        f"GET /v1/models?{'x' * 2000} HTTP/1.1\nHost: edge\nAuthorization: {SECRET}\n\n",
        "GET /v1/models HTTP/1.1\n" + "".join(f"X-{n}: {SECRET}\n" for n in range(30)) + "\n",
    ],
    ids=["a header", "the address", "how many headers"],
)
async def test_a_head_that_is_too_large_is_refused_and_not_repeated_in_the_log(
    head: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with serve(max_header_bytes=1024, max_headers=16) as server:
            connection = await server.connect()
            await connection.send(head)
            answer = await connection.rest()
            assert answer.startswith(b"HTTP/1.0 400")
    assert "refused what is no request that can be read" in caplog.text
    assert "Traceback" not in caplog.text and "secret" not in caplog.text


async def test_a_head_within_the_limits_is_read(serve: Serve) -> None:
    async with serve(max_header_bytes=1024, max_headers=16) as server:
        connection = await server.connect()
        await connection.send(f"GET /health HTTP/1.1\nHost: edge\nX-Long: {'x' * 900}\n\n")
        assert (await connection.head()).startswith("HTTP/1.1 200")


@pytest.mark.parametrize("sent", ["", "GET /hea", "GET /health HTTP/1.1\nHost: ed"])
async def test_a_connection_without_a_whole_head_is_closed(sent: str, serve: Serve) -> None:
    async with serve(idle_s=0.2) as server:
        connection = await server.connect()
        await connection.send(sent)
        assert await connection.rest() == b""


async def test_a_head_that_comes_byte_by_byte_does_not_keep_a_connection(serve: Serve) -> None:
    async with serve(idle_s=0.2) as server:
        connection = await server.connect()

        async def drip() -> None:
            for letter in "GET /health HTTP/1.1\nX: " + "x" * 10_000:
                await connection.send(letter)
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert await connection.rest() == b""
        await asyncio.wait({dripping}, timeout=30)
        assert isinstance(dripping.exception(), ConnectionError)


async def test_a_connection_is_kept_between_requests_and_not_for_ever(serve: Serve) -> None:
    async with serve(idle_s=0.5) as server:
        connection = await server.connect()
        await connection.send("HEAD /health HTTP/1.1\nHost: edge\n\n" * 2)
        for _ in range(2):
            assert (await connection.head()).startswith("HTTP/1.1 200")
        assert await connection.rest() == b""


async def test_a_body_that_does_not_come_is_not_waited_for(serve: Serve) -> None:
    async with serve(request_s=0.1) as server:
        for head in ("Content-Length: 100", "Transfer-Encoding: chunked"):
            connection = await server.connect()
            await connection.send(f"POST {SPEECH} HTTP/1.1\nHost: edge\n{head}\n\n")
            answer = await connection.head()
            assert answer.startswith("HTTP/1.1 408") and "Connection: close" in answer
            body = await connection.reader.readexactly(
                int(answer.partition("Content-Length: ")[2].partition("\r")[0])
            )
            assert code_in(body) == "request_timeout"


def uvloop_s() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").new_event_loop()
    return loop


class Slow:
    """A server of one address, whose answer is larger than any buffer in between."""

    def __init__(self, patience: Patience) -> None:
        self.log = RequestLog()
        self.app = web.Application(middlewares=[around(self.log)])
        self.app[PATIENCE] = patience
        self.app.router.add_get("/", self.large)
        self.app.router.add_post("/whole", self.whole)
        self.app.router.add_post("/pieces", self.pieces)
        self.ended = asyncio.Event()

    async def large(self, request: web.Request) -> web.StreamResponse:
        try:
            streamed = Streamed(request, {})
            await streamed.begin()
            for _ in range(4096):
                await streamed.write(b"x" * 65_536)
            return await streamed.end()
        finally:
            self.ended.set()

    async def whole(self, request: web.Request) -> web.Response:
        return web.Response(text=str(len(await whole_body(request))))

    async def pieces(self, request: web.Request) -> web.Response:
        return web.Response(text=str([len(piece) async for piece in pieces_of(request, 3)]))


@pytest.fixture
async def slow() -> AsyncIterator[Callable[[Patience], Any]]:
    started: list[tuple[TestServer, Connection]] = []

    async def start(patience: Patience) -> tuple[Slow, Connection]:
        made = Slow(patience)
        server = TestServer(made.app)
        await server.start_server(shutdown_timeout=0.1)
        assert server.port
        started.append((server, await connect(server.port)))
        return made, started[-1][1]

    yield start
    for server, connection in started:
        await connection.close()
        await server.close()


async def test_who_takes_nothing_of_an_answer_is_cut_off_and_the_log_says_why(
    slow: Callable[[Patience], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "proxy"):
        server, connection = await slow(Patience(stalled_reader_s=0.2))
        await connection.send("GET / HTTP/1.1\nHost: edge\n\n")
        await connection.head()
        async with asyncio.timeout(60):
            await server.ended.wait()
        await asyncio.sleep(0)
        server.log.flush()
    assert [" - slow " in line for line in caplog.messages] == [True]


@given(st.lists(st.integers(0, 3), max_size=40))
def test_only_who_takes_nothing_at_all_for_several_looks_has_stalled(taken: list[int]) -> None:
    progress, left_bytes, unchanged = Progress(), 1_000, 0
    progress.has_stalled(left_bytes)
    for some in taken:
        left_bytes -= some
        unchanged = 0 if some else unchanged + 1
        assert progress.has_stalled(left_bytes) == (unchanged == LOOKS)


def test_where_nothing_is_left_nothing_is_waited_for() -> None:
    progress = Progress()
    assert not any(progress.has_stalled(0) for _ in range(10 * LOOKS))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others do not tell")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("loop_of", [asyncio.new_event_loop, uvloop_s], ids=["asyncio", "uvloop"])
def test_what_a_slow_reader_takes_is_seen_although_our_own_buffer_stays_as_it_is(
    loop_of: Callable[[], asyncio.AbstractEventLoop], encrypted: bool
) -> None:
    with asyncio.Runner(loop_factory=loop_of) as runner:
        runner.run(take_slowly(encrypted))


async def take_slowly(encrypted: bool) -> None:
    """Until what is left became less many times while our own buffer did not once."""
    arrived: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

    async def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set_result(writer)

    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * 1024**2)
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(
            arrive, sock=listener, ssl=context if encrypted else None
        )
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            raw.connect(listener.getsockname())
            peer: socket.socket = raw
            if encrypted:
                trusting = ssl.create_default_context()
                authority.configure_trust(trusting)
                peer = await asyncio.to_thread(
                    trusting.wrap_socket, raw, server_hostname="localhost"
                )
            writer = await arrived
            writer.write(b"x" * 8 * 1024**2)
            transport = writer.transport
            taken, seen = 0, 0
            while seen < 8:
                left, own = left_bytes(transport), transport.get_write_buffer_size()
                assert left > own
                while taken < 2 * 1024**2 and left_bytes(transport) == left:
                    taken += len(await asyncio.to_thread(peer.recv, 16_384))
                assert left_bytes(transport) != left
                seen += transport.get_write_buffer_size() == own
            peer.close()
            transport.abort()
        server.close()


def test_what_a_transport_without_a_socket_holds_is_what_is_left() -> None:
    class Holding(asyncio.WriteTransport):
        def get_write_buffer_size(self) -> int:
            return 5

    assert left_bytes(Holding()) == 5
    with socket.socket() as closed:
        pass
    assert left_bytes(Holding({"socket": closed})) == 5


async def test_an_upload_that_stops_coming_is_not_waited_for(
    slow: Callable[[Patience], Any],
) -> None:
    _, connection = await slow(Patience(request_s=0.2))
    await connection.send("POST /pieces HTTP/1.1\nHost: edge\nContent-Length: 6\n\nabcdef")
    assert (await connection.head()).startswith("HTTP/1.1 200")
    assert await connection.reader.readexactly(6) == b"[3, 3]"
    await connection.send("POST /pieces HTTP/1.1\nHost: edge\nContent-Length: 6\n\nabc")
    assert (await connection.head()).startswith("HTTP/1.1 408")


async def test_a_body_that_comes_with_its_head_or_soon_after_is_read(
    slow: Callable[[Patience], Any],
) -> None:
    _, connection = await slow(Patience(request_s=30))
    await connection.send("POST /whole HTTP/1.1\nHost: edge\nContent-Length: 6\n\nabcdef")
    assert (await connection.head()).startswith("HTTP/1.1 200")
    assert await connection.reader.readexactly(1) == b"6"
    await connection.send("POST /whole HTTP/1.1\nHost: edge\nContent-Length: 6\n\nabc")
    await connection.send("def")
    assert (await connection.head()).startswith("HTTP/1.1 200")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="of Linux")
async def test_the_kernel_gives_up_on_what_it_was_handed_a_little_later_than_the_server() -> None:
    with ExitStack() as stack:
        settings = ServerSettings(port=0, stalled_reader_s=30)
        for listener in await listen(settings, stack):
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            connection, _ = listener.accept()
            stack.enter_context(connection)
            wait_ms = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert wait_ms == 60_000
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0


async def test_a_client_may_be_waited_for_longer_than_the_kernel_can_count() -> None:
    with ExitStack() as stack:
        for longest_s in (1e7, 1e308):
            assert await listen(ServerSettings(port=0, stalled_reader_s=longest_s), stack)
