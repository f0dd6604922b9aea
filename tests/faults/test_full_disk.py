"""Fault 9: the disk is full. Requests are served, nothing is torn, and writing recovers."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.audio import read_all
from tests.faults.conftest import StartServer
from tests.faults.server import Server
from tests.faults.test_kill import IN_A_FILE, IN_A_ROW, text_of
from tests.proxy.conftest import HIT, MISS

MIB = 1024**2
MEMORY = {"cache.memory_bytes": 64 * MIB}

SIZES = (IN_A_ROW, IN_A_FILE)

IN_TMPFS = 'mount -t tmpfs -o size=2m none "$0" && { eval "$1"; shift; exec "$@"; }'
"""For a process alone, in a namespace of its own: a disk of 2 MiB in the directory `$0`."""


def fill_up(server: Server, limit_bytes: int) -> None:
    """From now on no file of the server's can be written to beyond this size."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit_bytes, hard))


def make_room(server: Server) -> None:
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize(
    ("limit_bytes", "failures"),
    [pytest.param(0, 4, id="no room"), pytest.param(100_000, 1, id="room for what is small")],
)
def test_on_a_full_disk_requests_are_served_and_writing_recovers(
    limit_bytes: int, failures: int, start_server: StartServer, cache: Path, tmp_path: Path
) -> None:
    def texts(first: int) -> list[str]:
        return [text_of(first + number, size) for number, size in enumerate(SIZES)]

    before, seen, meanwhile, afterwards = (texts(first) for first in (0, 10, 20, 30))
    spared = start_server(tmp_path / "spared")
    server = start_server()
    for text in (*before, *seen):
        server.say(text)
    assert server.stop() == 0
    server = start_server(settings=MEMORY)
    for text in seen:
        server.say(text)

    fill_up(server, limit_bytes)
    for _ in range(2):
        for text in (*seen, *before):
            heard = server.say(text)
            assert (heard.outcome, heard.body) == (HIT, spared.say(text).body)
    for outcome in (MISS, HIT):
        for text in meanwhile:
            heard = server.say(text)
            assert (heard.status, heard.outcome) == (200, outcome)
            assert heard.body == spared.say(text).body
    server.log.wait_for("could not keep the cache entry", times=failures)

    make_room(server)
    for text in afterwards:
        assert server.say(text).body == spared.say(text).body
    assert server.stop() == 0
    assert not read_all(cache).orphans
    server = start_server()
    for text in (*seen, *before, *afterwards):
        heard = server.say(text)
        assert (heard.outcome, heard.body) == (HIT, spared.say(text).body)
    for text in meanwhile:
        assert server.say(text).body == spared.say(text).body
    assert server.stop() == 0
    assert not read_all(cache).orphans


# A small disk.


def in_tmpfs(directory: Path, first: str = ":") -> list[str | Path]:
    """The beginning of a command that then sees a disk of 2 MiB in the directory."""
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", IN_TMPFS, directory, first]


def test_a_server_that_starts_on_a_full_disk_serves_and_caches_once_there_is_room(
    start_server: StartServer,
    cache: Path,
    tmp_path: Path,
    measured: Callable[[str], None],
) -> None:
    """And then on one that the cache fills up by itself."""
    audio = cache / "audio"
    audio.mkdir(parents=True)
    tried = subprocess.run([*in_tmpfs(audio), "true"], capture_output=True, text=True)
    if tried.returncode:
        measured(f"faults: no small disk could be mounted here: {tried.stderr.strip()}")
        return
    spared = start_server(tmp_path / "spared")
    full = "head -c 4M /dev/zero > filler 2>/dev/null"
    server = start_server(wrapper=in_tmpfs(audio, f'cd "$0"; {full}; cd "$OLDPWD"'))
    inside = Path(f"/proc/{server.pid}/root{audio}")
    assert (inside / "filler").stat().st_size > 1.9 * MIB

    def hears(number: int) -> str:
        text = text_of(number, SIZES[number % 2])
        heard = server.say(text)
        assert (heard.status, heard.body) == (200, spared.say(text).body)
        return heard.outcome

    for number in (0, 1, 0, 1):
        assert hears(number) == MISS
    os.truncate(inside / "filler", MIB)
    server.log.wait_for("opened the cache in .* again", times=2)
    assert [hears(number) for number in (0, 1, 0, 1)] == [MISS, MISS, HIT, HIT]

    for number in range(2, 20):
        hears(number)
    server.log.wait_for("could not keep the cache entry")
    outcomes = [hears(number) for number in range(20)]
    assert set(outcomes) == {HIT, MISS} and outcomes[:4] == [HIT] * 4
    (inside / "filler").unlink()
    for number in (20, 21):
        hears(number)
    assert [hears(number) for number in (20, 21)] == [HIT, HIT]
    shutil.copytree(inside, tmp_path / "copy" / "audio")
    assert not read_all(tmp_path / "copy").orphans
