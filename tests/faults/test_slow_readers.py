"""Fault 14: clients that take a large reply a byte at a time, or not at all."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults.conftest import StartServer
from tests.faults.server import Server
from tests.proxy.conftest import HIT, MISS, SPEECH, Heard

MIB = 1024**2
READERS = 20
TEXT = " ".join(f"This is sentence number {number} of a very long reply." for number in range(70))
LONG = {"response_format": "wav", "input": TEXT, "speed": 0.25}


@contextmanager
def slow_reader(server: Server, request: bytes) -> Iterator[socket.socket]:
    """Asks for the long reply, and has read one byte of the answer."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # The least there is.
        connection.settimeout(60)
        connection.connect(server.address)
        connection.sendall(request)
        assert connection.recv(1) == b"H"
        yield connection


def post(whole: Heard) -> bytes:
    body = json.dumps(LONG).encode()
    head = f"POST {SPEECH} HTTP/1.1\r\nHost: edge\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get_a_part(whole: Heard) -> bytes:
    """All but the first two bytes, by the reply's address."""
    path = whole.headers["Content-Location"]
    return f"GET {path} HTTP/1.1\r\nHost: edge\r\nRange: bytes=2-\r\n\r\n".encode()


@pytest.mark.parametrize("request_of", [post, get_a_part])
@pytest.mark.parametrize("memory_bytes", [64 * MIB, 0], ids=["from memory", "from disk"])
def test_those_who_read_a_byte_at_a_time_cost_little_and_keep_nobody_waiting(
    request_of: Callable[[Heard], bytes],
    memory_bytes: int,
    start_server: StartServer,
    measured: Callable[[str], None],
) -> None:
    server = start_server(settings={"cache.memory_bytes": memory_bytes, "server.shutdown_s": 0.5})
    server.say(TEXT, speed=0.25)
    whole = server.say(TEXT, speed=0.25)
    assert whole.outcome == HIT
    size_bytes = len(whole.body)
    assert size_bytes > 10 * MIB
    before_bytes = server.resident_bytes()
    with ExitStack() as stack:
        readers = [
            stack.enter_context(slow_reader(server, request_of(whole))) for _ in range(READERS)
        ]
        for number in range(10):
            for reader in readers:
                assert len(reader.recv(1)) == 1
            assert server.say(f"Text number {number}.").outcome == MISS
            assert server.say(f"Text number {number}.").outcome == HIT
        assert server.say(TEXT, speed=0.25).body == whole.body
        grown_bytes = server.resident_bytes() - before_bytes
        measured(
            f"faults: {READERS} slow readers of {size_bytes / MIB:.0f} MiB each cost "
            f"{grown_bytes / MIB:.0f} MiB"
        )
        assert grown_bytes < READERS * size_bytes / 4
        assert server.stop() == 0
