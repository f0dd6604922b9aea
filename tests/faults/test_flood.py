"""Fault 13: a flood of texts that nobody asks for twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import aiohttp

from tests.faults.conftest import StartServer
from tests.faults.server import Server
from tests.faults.test_stampede import clients
from tests.proxy.conftest import HIT, MISS, SPEECH, Heard

MIB = 1024**2
PHRASE = "Thank you for calling."
HOT = "One moment, please."
BOOK = {"name": "desk", "voices": ["af_bella"], "formats": ["wav"], "phrases": [PHRASE]}

SOCKETS, TEXTS = 50, 500


async def say(http: aiohttp.ClientSession, server: Server, text: str) -> Heard:
    """The answer, whole."""
    body = {"response_format": "wav", "input": text}
    async with http.post(f"{server.url}{SPEECH}", json=body) as answer:
        return Heard(answer.status, answer.headers, await answer.read())


async def test_a_flood_of_texts_is_turned_away_and_what_is_hot_or_pinned_is_served(
    start_server: StartServer, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "desk.yaml").write_text(json.dumps(BOOK))
    server = start_server(
        settings={
            "engine.max_waiting": 4,
            "cache.memory_bytes": 2 * MIB,
            "cache.disk_bytes": MIB,
            "warm.at_start": "true",
            "phrasebook.directory": books,
        }
    )
    server.log.wait_for("phrasebooks: 1 rendered")
    hot = server.say(HOT)
    before_bytes = server.resident_bytes()
    answered: Counter[int] = Counter()
    first_made: list[str] = []
    hits_s: list[float] = []
    numbers = itertools.count()

    async def flood(http: aiohttp.ClientSession) -> None:
        while (number := next(numbers)) < TEXTS:
            text = f"This is text number {number}."
            heard = await say(http, server, text)
            answered[heard.status] += 1
            if heard.status == 503:
                assert int(heard.headers["Retry-After"]) >= 1
            else:
                assert heard.outcome == MISS
                first_made.append(text)

    async def call(http: aiohttp.ClientSession, flooding: asyncio.Future[list[None]]) -> None:
        while not flooding.done():
            began_s = time.perf_counter()
            heard = await say(http, server, HOT)
            hits_s.append(time.perf_counter() - began_s)
            assert heard.status == 200 and heard.outcome == HIT
            assert heard.body == hot.body

    async with clients() as http:
        flooding = asyncio.gather(*(flood(http) for _ in range(SOCKETS)))
        await asyncio.gather(call(http, flooding), flooding)
    grown_bytes = server.resident_bytes() - before_bytes
    assert set(answered) == {200, 503} and answered.total() == TEXTS
    assert grown_bytes < 100 * MIB
    assert len(hits_s) > 10
    hits_s.sort()
    measured(
        f"faults: in a flood of {TEXTS} texts from {SOCKETS} sockets {answered[503]} were refused, "
        f"memory grew by {grown_bytes / MIB:.0f} MiB, and {len(hits_s)} hits took "
        f"{hits_s[len(hits_s) // 2] * 1000:.0f} ms (median), {hits_s[-1] * 1000:.0f} ms (longest)"
    )

    assert server.stop() == 0
    server = start_server(settings={"cache.disk_bytes": MIB})
    made = server.syntheses()
    assert server.say(PHRASE).outcome == HIT
    assert server.syntheses() == made
    # The flood was more than the disk takes.
    assert server.say(first_made[0]).outcome == MISS
    assert server.syntheses()[first_made[0]] == 2
