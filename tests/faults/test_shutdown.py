"""Fault 16: the server is told to stop while replies are under way."""

from __future__ import annotations

import signal
import socket
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.faults.audio import read_all
from tests.faults.conftest import StartServer
from tests.faults.server import key_of, until
from tests.proxy.conftest import HIT, MISS, Barrier, Heard


def is_closed(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    return False


async def test_replies_that_finish_in_time_are_whole_and_kept(
    start_server: StartServer, barrier: Barrier, cache: Path
) -> None:
    server = start_server(settings={"server.shutdown_s": 30})
    text = f"Hello there. {barrier.text} Goodbye."
    asked = [server.send(text, response_format="pcm") for _ in range(5)]
    for each in asked:
        each.begin()
    await barrier.reached()
    server.process.send_signal(signal.SIGTERM)
    server.log.wait_for("stopping")
    until("nobody else is let in", lambda: is_closed(server.address))
    await barrier.release()
    [body] = {each.hear().body for each in asked}
    assert server.wait() == 0
    assert not read_all(cache).orphans
    server = start_server()
    heard = server.say(text, response_format="pcm")
    assert (heard.outcome, heard.body) == (HIT, body)
    assert server.syntheses().total() == 3


async def test_replies_that_do_not_are_aborted_and_nothing_is_torn(
    start_server: StartServer, barrier: Barrier, cache: Path
) -> None:
    server = start_server(settings={"server.shutdown_s": 0.5})
    text = f"Hello there. {barrier.text} Goodbye."
    streamed, waiting = server.send(text, response_format="pcm"), server.send(barrier.text)
    key = key_of(Heard(200, streamed.begin(), b""))
    await barrier.reached()
    server.settle()
    server.process.send_signal(signal.SIGTERM)
    server.log.wait_for("stopping")
    with pytest.raises((OSError, HTTPException)):
        streamed.hear()
    # Nothing of this one had been sent: it is told, or cut off.
    try:
        assert waiting.hear().status == 503
    except (OSError, HTTPException):
        pass
    assert server.wait() == 0
    await barrier.release()
    content = read_all(cache)
    assert not content.orphans and key not in content.entries
    server = start_server()
    asked = server.send(text, response_format="pcm")
    await barrier.release()
    heard = asked.hear()
    assert (heard.status, heard.outcome) == (200, MISS)
    assert server.syntheses() == {"Hello there.": 1, barrier.text: 2, "Goodbye.": 1}


async def test_while_it_drains_others_are_let_in_and_a_second_signal_ends_everything(
    start_server: StartServer, barrier: Barrier
) -> None:
    server = start_server(settings={"server.shutdown_s": 600, "server.drain_s": 600})
    streamed = server.send(f"Hello there. {barrier.text}", response_format="pcm")
    streamed.begin()
    await barrier.reached()
    server.process.send_signal(signal.SIGTERM)
    server.log.wait_for("stopping")
    assert server.say("Hello there.", response_format="pcm").status == 200
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises((OSError, HTTPException)):
        streamed.hear()
    assert server.wait() == 0
