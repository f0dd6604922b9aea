"""Faults 4, 5 and 17: the engine cannot make a reply, or its beginning only, or it is killed."""

from __future__ import annotations

import json
import os
import signal
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.faults.audio import read_all
from tests.faults.conftest import StartServer
from tests.faults.server import until
from tests.proxy.conftest import HIT, Barrier, Heard


def error_code(heard: Heard) -> str:
    return str(json.loads(heard.body)["error"]["code"])


async def test_when_it_fails_before_the_first_byte_all_are_told_and_nothing_is_kept(
    start_server: StartServer, barrier: Barrier, cache: Path
) -> None:
    server = start_server()
    ahead = server.send(barrier.text)
    await barrier.reached()
    asked = [server.send("Bad audio. Hello there.") for _ in range(20)]
    server.settle()
    await barrier.release()
    heard = [each.hear() for each in asked]
    assert {(each.status, error_code(each)) for each in heard} == {(502, "bad_audio")}
    assert server.syntheses() == {barrier.text: 1, "Bad audio.": 1}
    assert ahead.hear().status == 200
    # Who asks next has it tried again.
    assert server.say("Bad audio. Hello there.").status == 502
    assert server.syntheses()["Bad audio."] == 2
    assert server.stop() == 0
    assert len(read_all(cache).entries) == 2  # Those of the one that went well.


@pytest.mark.parametrize(("bad", "times"), [("Bad audio.", 1), ("Crash.", 2)])
async def test_when_it_fails_in_the_middle_the_connection_is_aborted_and_nothing_is_kept(
    bad: str, times: int, start_server: StartServer, barrier: Barrier, cache: Path
) -> None:
    server = start_server()
    text = f"Hello there. {barrier.text} {bad} Goodbye."
    asked = [server.send(text, response_format="pcm") for _ in range(5)]
    for each in asked:
        each.begin()
    await barrier.release()
    for each in asked:
        with pytest.raises((OSError, HTTPException)):
            each.hear()
    assert server.syntheses() == {"Hello there.": 1, barrier.text: 1, bad: times}
    assert server.stop() == 0
    content = read_all(cache)
    assert [entry.about.kind for entry in content.entries.values()] == ["clip"] * 2


async def test_a_segment_whose_engine_is_killed_is_made_by_the_next_one(
    start_server: StartServer, barrier: Barrier
) -> None:
    server = start_server()
    asked = server.send(f"Hello there. {barrier.text} Goodbye.", response_format="pcm")
    await barrier.reached()
    [engine] = server.engine_pids()
    os.kill(engine, signal.SIGKILL)
    until("it is tried again", lambda: server.syntheses()[barrier.text] == 2)
    await barrier.release()
    heard = asked.hear()
    assert heard.status == 200
    assert server.syntheses() == {"Hello there.": 1, barrier.text: 2, "Goodbye.": 1}
    again = server.say(f"Hello there. {barrier.text} Goodbye.", response_format="pcm")
    assert (again.outcome, again.body) == (HIT, heard.body)
    assert engine not in server.engine_pids()


async def test_a_reply_whose_engine_is_killed_twice_is_unavailable_and_the_next_is_not(
    start_server: StartServer, barrier: Barrier
) -> None:
    server = start_server()
    asked = server.send(barrier.text)
    await barrier.reached()
    [first] = server.engine_pids()
    os.kill(first, signal.SIGKILL)
    until("it is tried again", lambda: server.syntheses()[barrier.text] == 2)
    [second] = server.engine_pids()
    os.kill(second, signal.SIGKILL)
    heard = asked.hear()
    assert heard.status == 503
    assert int(heard.headers["Retry-After"]) >= 1
    assert server.say("Hello there.").status == 200
