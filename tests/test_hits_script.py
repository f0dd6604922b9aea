"""`scripts/bench hits`: its figures, and its client against servers that are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hits_bare import build_app
from hits_load import PATH, LoadError, Target, closed_loop, open_loop, percentile, schedule
from hits_wrk import parse

Serve = Callable[[web.Application], Awaitable[Target]]

WRK = """\
Running 5s test @ http://127.0.0.1:40523/v1/audio/speech
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.92ms    3.04ms  45.51ms   90.56%
    Req/Sec     2.37k   274.55     2.77k    76.00%
  Latency Distribution
     50%  950.00us
     75%    7.02ms
     90%    8.96ms
     99%    1.25s
  11823 requests in 5.01s, 224.46MB read
Requests/sec:   2359.88
Transfer/sec:     44.80MB
wrong answers: 0
"""


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves an application, and says how it is asked."""
    servers = []

    async def start(app: web.Application) -> Target:
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        assert server.port is not None
        return Target(server.host, server.port, b"{}", must_be_hit=False)

    yield start
    for server in servers:
        await server.close()


def answering(speak: Callable[[web.Request], Awaitable[web.Response]]) -> web.Application:
    app = web.Application()
    app.router.add_post(PATH, speak)
    return app


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([3.0], 0.99) == 3
    assert percentile([1.0, 2.0], 0.99) == 2


def test_a_schedule_is_even_and_as_long_as_asked_for() -> None:
    assert list(schedule(4, 1.0)) == [0, 0.25, 0.5, 0.75]
    assert len(list(schedule(500, 5))) == 2500


def test_what_wrk_prints_is_read_whatever_its_units() -> None:
    load = parse(WRK)
    assert (load.requests, load.elapsed_s) == (11823, 5.01)
    assert load.p50_s == pytest.approx(0.00095)
    assert load.p99_s == 1.25


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("", "no result"),
        (WRK.replace("11823 requests", "0 requests"), "no result"),
        (WRK.replace("wrong answers: 0", "wrong answers: 7"), "7 answers"),
        (WRK.replace("     99%", "     98%"), "no 99%"),
        (WRK + "  Socket errors: connect 0, read 3, write 0, timeout 0\n", "read 3"),
    ],
)
def test_a_run_of_wrk_that_went_wrong_is_an_error(printed: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        parse(printed)


async def test_a_closed_loop_counts_what_the_server_answers(serve: Serve) -> None:
    target = await serve(build_app(b"a" * 200_000, "audio/mpeg"))
    load = await closed_loop(target, connections=3, seconds=0.2)
    assert load.requests >= 3
    assert 0.2 <= load.elapsed_s < 10
    assert 0 < load.p50_s <= load.p99_s


async def test_an_open_loop_asks_by_schedule(serve: Serve) -> None:
    target = await serve(build_app(b"a", "audio/mpeg"))
    load = await open_loop(target, connections=4, rate_per_s=100, seconds=0.3)
    assert load.requests == 30
    assert load.elapsed_s >= 0.29
    assert 0 < load.p50_s <= load.p99_s


async def test_latency_counts_from_when_a_request_was_due(serve: Serve) -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(body=b"a")

    target = await serve(answering(slow))
    load = await open_loop(target, connections=1, rate_per_s=100, seconds=0.1)
    # Each takes 50 ms, one is due every 10 ms, and there is one connection: the last waits for all.
    assert load.p99_s >= 10 * 0.05 - 0.09
    assert load.requests == 10


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (503, {}, "503"),
        (200, {}, "Cache-Status is 'none'"),
        (200, {"Cache-Status": "kokoro-edge; fwd=miss"}, "fwd=miss"),
    ],
)
async def test_whatever_is_no_hit_is_an_error(
    serve: Serve, status: int, headers: dict[str, str], message: str
) -> None:
    async def speak(request: web.Request) -> web.Response:
        return web.Response(status=status, body=b"a", headers=headers)

    plain = await serve(answering(speak))
    with pytest.raises(LoadError, match=message):
        await closed_loop(Target(plain.host, plain.port, plain.body), 2, 0.1)


async def test_an_answer_that_is_a_hit_is_counted(serve: Serve) -> None:
    async def speak(request: web.Request) -> web.Response:
        return web.Response(body=b"a", headers={"Cache-Status": "kokoro-edge; hit"})

    plain = await serve(answering(speak))
    load = await closed_loop(Target(plain.host, plain.port, plain.body), 2, 0.1)
    assert load.requests >= 2


async def test_nobody_there_is_an_error() -> None:
    with pytest.raises(LoadError, match="127"):
        await closed_loop(Target("127.0.0.1", 1, b""), 1, 0.1)
