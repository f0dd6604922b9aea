"""Faults 1, 2 and 3: many ask for the same new reply, and some, or all, of them leave."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.faults.conftest import StartServer
from tests.faults.server import Server, until
from tests.proxy.conftest import COLLAPSED, HIT, MISS, SPEECH, Barrier, outcome_of

RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: to close is to reset the connection."""


@pytest.fixture
def many_sockets() -> Iterator[None]:
    """As many open files as may be, for the test and for the servers it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def clients() -> AsyncIterator[aiohttp.ClientSession]:
    """Each request has a connection of its own, and all the time it needs."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


async def ask(http: aiohttp.ClientSession, server: Server, text: str) -> aiohttp.ClientResponse:
    """Returns as soon as the answer begins."""
    body = {"response_format": "pcm", "input": text}
    answer = await http.post(f"{server.url}{SPEECH}", json=body)
    assert answer.status == 200
    return answer


def reset(answer: aiohttp.ClientResponse) -> None:
    """Leave as a machine leaves that has lost its power, or a proxy that has lost its patience."""
    assert answer.connection is not None and answer.connection.transport is not None
    connection: socket.socket = answer.connection.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    answer.close()


async def test_a_thousand_who_ask_at_once_get_the_same_reply_made_once(
    start_server: StartServer, barrier: Barrier, many_sockets: None
) -> None:
    server = start_server()
    text = f"Hello there. {barrier.text} Goodbye."
    async with clients() as http:
        # All have heard the first sentence, and so have joined, before the second is made.
        answers = await asyncio.gather(*(ask(http, server, text) for _ in range(1000)))
        await barrier.release()
        bodies = await asyncio.gather(*(answer.read() for answer in answers))
    assert Counter(outcome_of(answer.headers) for answer in answers) == {MISS: 1, COLLAPSED: 999}
    assert len(set(bodies)) == 1
    assert server.syntheses() == {"Hello there.": 1, barrier.text: 1, "Goodbye.": 1}
    heard = server.say(text, response_format="pcm")
    assert (heard.outcome, heard.body) == (HIT, bodies[0])


async def test_the_first_client_is_cut_off_and_the_others_hear_all_of_it(
    start_server: StartServer, barrier: Barrier
) -> None:
    server = start_server()
    text = f"Hello there. {barrier.text} Goodbye."
    async with clients() as http:
        first = await ask(http, server, text)
        others = [await ask(http, server, text) for _ in range(5)]
        assert outcome_of(first.headers) == MISS
        reset(first)
        await asyncio.to_thread(server.log.wait_for, "POST .* gone")
        await barrier.release()
        bodies = {await answer.read() for answer in others}
    assert [outcome_of(answer.headers) for answer in others] == [COLLAPSED] * 5
    assert server.syntheses() == {"Hello there.": 1, barrier.text: 1, "Goodbye.": 1}
    # Nothing is kept in memory here: it is on disk.
    heard = server.say(text, response_format="pcm")
    assert heard.outcome == HIT and bodies == {heard.body}


@pytest.mark.parametrize(
    ("policy", "finished", "made_again"),
    [
        ("finish_segment", False, ("Goodbye.",)),
        ("finish_reply", True, ()),
        ("drop", False, ("Wait", "Goodbye.")),
    ],
)
async def test_when_all_have_left_the_policy_decides_and_nothing_leaks(
    policy: str,
    finished: bool,
    made_again: tuple[str, ...],
    start_server: StartServer,
    barrier: Barrier,
) -> None:
    server = start_server(settings={"engine.after_hangup": policy})
    text = f"Hello there. {barrier.text} Goodbye."
    sockets = server.sockets()
    async with clients() as http:
        answers = [await ask(http, server, text) for _ in range(20)]
        await barrier.reached()
        for answer in answers:
            reset(answer)
        await asyncio.to_thread(server.log.wait_for, "POST .* gone", 20)
        await barrier.release()
        if finished:
            until("the rest is made", lambda: server.syntheses()["Goodbye."] == 1)
        # Another request comes to the engine, so that is idle again.
        other = await ask(http, server, "Another one.")
        assert outcome_of(other.headers) == MISS
        await other.read()
        made = server.syntheses()
        assert made == {"Hello there.": 1, barrier.text: 1, "Another one.": 1} | (
            {"Goodbye.": 1} if finished else {}
        )
        again = asyncio.ensure_future(ask(http, server, text))
        if "Wait" in made_again:
            await barrier.release()
        answer = await again
        assert outcome_of(answer.headers) == (HIT if finished else MISS)
        await answer.read()
    assert len(server.syntheses() - made) == len(made_again)
    until("connections are closed", lambda: server.sockets() <= sockets)
    assert server.stop() == 0
