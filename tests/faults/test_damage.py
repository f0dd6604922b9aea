"""Faults 7 and 8: what is on disk is damaged, behind a server's back or before it starts."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.audio import edit, read_all, value_files
from tests.faults.conftest import StartServer
from tests.faults.server import Server, key_of, until
from tests.faults.test_kill import IN_A_FILE, IN_A_ROW, text_of
from tests.proxy.conftest import HIT, MISS, Heard

Change = Callable[[bytes], bytes]

IN_A_PAGE = 100
"""Bytes that are looked for in a database: fewer than lie side by side in a page."""


def flip_a_bit(data: bytes) -> bytes:
    at = len(data) * 2 // 3
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def garbage(size: int) -> bytes:
    return random.Random(8).randbytes(size)


def damage_files(cache: Path, change: Change) -> None:
    for path in value_files(cache):
        edit(path, change)


def damage_row(cache: Path, payload: bytes) -> None:
    """Flip one bit of the payload where it lies in the database's file."""
    place = payload[len(payload) // 2 :][:IN_A_PAGE]

    def change(data: bytes) -> bytes:
        assert data.count(place) == 1
        return data.replace(place, flip_a_bit(place))

    edit(cache / "audio" / "traffic" / "cache.db", change)


def say(server: Server, text: str) -> tuple[str, bytes]:
    heard = server.say(text)
    assert heard.status == 200
    return heard.outcome, heard.body


# What is damaged is found, deleted, and made again.


@pytest.mark.parametrize("change", [flip_a_bit, truncate])
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_files_that_are_damaged_are_made_again(
    change: Change, running: bool, start_server: StartServer, cache: Path
) -> None:
    server = start_server()
    text = text_of(1, IN_A_FILE)
    good = server.say(text).body
    assert say(server, text) == (HIT, good)
    until("the clip and the reply are written", lambda: len(value_files(cache)) == 2)
    if not running:
        server.stop()
    damage_files(cache, change)
    if not running:
        server = start_server()
    assert say(server, text) == (MISS, good)
    assert server.syntheses() == {text: 2}
    assert server.log.count("deleted the damaged cache entry") == 2
    assert say(server, text) == (HIT, good)
    assert server.stop() == 0
    content = read_all(cache)
    assert len(content.entries) == 2 and not content.orphans


def test_a_bit_that_flips_in_the_database_is_noticed(
    start_server: StartServer, cache: Path
) -> None:
    server = start_server()
    text = text_of(1, IN_A_ROW)
    good = server.say(text)
    server.stop()
    for entry in read_all(cache).entries.values():
        damage_row(cache, entry.payload)
    server = start_server()
    assert say(server, text) == (MISS, good.body)
    assert server.syntheses() == {text: 2}
    assert server.log.count("deleted the damaged cache entry") == 2
    assert say(server, text) == (HIT, good.body)
    server.stop()
    assert key_of(good) in read_all(cache).entries


# A database that is none any more is set aside.


def all_of_it(data: bytes) -> bytes:
    return garbage(len(data))


def its_head(data: bytes) -> bytes:
    return garbage(4096) + data[4096:]


def all_but_its_head(data: bytes) -> bytes:
    return data[:4096] + garbage(len(data) - 4096)


def half_of_it(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES = [all_of_it, its_head, all_but_its_head, half_of_it]

TEXTS = [text_of(number, IN_A_ROW) for number in range(8)]

SET_ASIDE = r"set the damaged cache aside as .*\.damaged"


def serves_and_caches(server: Server, replies: list[Heard], number: int) -> None:
    """Whatever was there, the audio is right, and what is new is cached without a restart."""
    for _ in range(2):
        for text, reply in zip(TEXTS, replies, strict=True):
            assert say(server, text)[1] == reply.body
    for text in (text_of(number, IN_A_ROW), text_of(number + 1, IN_A_FILE)):
        outcome, body = say(server, text)
        assert outcome == MISS
        assert say(server, text) == (HIT, body)


def test_garbage_in_a_database_is_set_aside_when_the_server_starts(
    start_server: StartServer, cache: Path
) -> None:
    server = start_server()
    replies = [server.say(text) for text in TEXTS]
    damages = [("traffic", change) for change in DAMAGES] + [("pinned", all_of_it)]
    for number, (tier, change) in enumerate(damages):
        assert server.stop() == 0
        edit(cache / "audio" / tier / "cache.db", change)
        server = start_server()
        serves_and_caches(server, replies, 100 + 2 * number)
        assert server.log.count(SET_ASIDE) == 1, change.__name__
        assert (cache / "audio" / f"{tier}.damaged" / "cache.db").is_file()


def test_garbage_in_the_log_of_a_database_loses_at_most_what_was_in_it(
    start_server: StartServer, cache: Path
) -> None:
    server = start_server()
    replies = [server.say(text) for text in TEXTS]
    assert say(server, TEXTS[-1])[0] == HIT
    server.stop(signal.SIGKILL)  # Else the log would be written back and deleted.
    log = cache / "audio" / "traffic" / "cache.db-wal"
    assert log.stat().st_size > 0
    edit(log, all_of_it)
    server = start_server()
    serves_and_caches(server, replies, 100)


def test_garbage_in_the_database_of_a_running_server_is_set_aside(
    start_server: StartServer, cache: Path
) -> None:
    """Its head alone would not be read again, and is written back from memory."""
    server = start_server()
    replies = [server.say(text) for text in TEXTS]
    for number, change in enumerate((all_of_it, all_but_its_head, half_of_it)):
        assert server.stop() == 0
        server = start_server()
        assert say(server, TEXTS[0]) == (HIT, replies[0].body)
        edit(cache / "audio" / "traffic" / "cache.db", change)
        serves_and_caches(server, replies, 100 + 2 * number)
        assert server.log.count(SET_ASIDE) == 1, change.__name__
    assert server.stop() == 0
