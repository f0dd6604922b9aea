"""Fault 6: the server is killed while it writes. What it leaves is whole, or not there."""

from __future__ import annotations

import random
import re
import resource
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.faults.audio import read_all, read_copy
from tests.faults.conftest import StartServer
from tests.faults.server import Server, until
from tests.proxy.conftest import HIT

WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen".split()

CHANGES = re.compile(r"(mkdir|open|write|__exit__|execute|remove|unlink|rmdir) #")
"""Steps that can change what is on disk. A kill before another is one before the next of these."""

IN_A_ROW, IN_A_FILE = 15, 280
"""Characters of a text whose reply, as WAV, lies in the database, and beside it."""

NO_CACHE = {"Cache-Control": "no-cache"}


def text_of(number: int, characters: int) -> str:
    """One sentence, and another one for every number."""
    rest = random.Random(number).choices(WORDS, k=characters)
    return f"{number} {' '.join(rest)}"[: characters - 1].strip() + "."


def killed(server: Server, text: str, headers: dict[str, str] | None = None) -> int:
    """Ask for a reply of which the server dies, be it before the answer or after."""
    with suppress(OSError, HTTPException):
        server.say(text, headers)
    return server.wait()


def is_swept(cache: Path, orphans: Iterable[Path]) -> Callable[[], bool]:
    return lambda: not any((cache / path).exists() for path in orphans)


# At each step.


@dataclass(frozen=True, slots=True)
class Write:
    """How the entries are written, whose write is interrupted."""

    characters: int
    replaces: bool = False
    """Whether there are entries under these keys already."""

    def prepare(self, server: Server, text: str) -> None:
        if self.replaces:
            server.say_and_store(text)

    @property
    def headers(self) -> dict[str, str]:
        return NO_CACHE if self.replaces else {}


def steps_of(server: Server, write: Write, armed: Path, log: Path) -> list[str]:
    """Each kind of step, once: of the clip's write, the reply's, the clip's, and so on."""
    text = text_of(0, write.characters)
    write.prepare(server, text)
    armed.touch()
    server.say_and_store(text, write.headers)
    armed.unlink()
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if CHANGES.search(line)]
    kinds = list(dict.fromkeys(re.sub(r"entry \d ", "", line) for line in lines))
    kinds = [kind for kind in kinds if kind.endswith((" #1", "write #100"))]
    if write.replaces:  # What comes before is the same.
        kinds = kinds[next(i for i, kind in enumerate(kinds) if "_row_update" in kind) :]
    chosen = [f"entry {2 - number % 2} {kind}" for number, kind in enumerate(kinds)]
    return [step if step in lines else _of_the_other(step) for step in chosen]


def _of_the_other(step: str) -> str:
    """Of the reply's write instead of the clip's, or the other way round."""
    return re.sub(r"entry (\d)", lambda match: f"entry {3 - int(match[1])}", step)


@pytest.mark.parametrize(
    ("write", "at_least"),
    [
        pytest.param(Write(IN_A_ROW), 6, id="in a row"),
        pytest.param(Write(IN_A_FILE), 11, id="in a file"),
        pytest.param(Write(IN_A_FILE, replaces=True), 5, id="in place of another file"),
    ],
)
def test_a_kill_before_any_step_of_a_write_leaves_a_whole_entry_or_none(
    write: Write, at_least: int, start_server: StartServer, cache: Path, tmp_path: Path
) -> None:
    armed, log = tmp_path / "armed", tmp_path / "steps"
    watched = {"FAULT_ARMED": str(armed), "FAULT_STEPS": str(log)}
    spared = start_server(tmp_path / "spared", environment=watched)
    steps = steps_of(spared, write, armed, log)
    print(*steps, sep="\n")
    assert len(steps) >= at_least
    orphans: set[Path] = set()
    server = start_server(environment=watched | {"FAULT_KILL_AT": steps[0]})
    for number, step in enumerate(steps, 1):
        text = text_of(number, write.characters)
        write.prepare(server, text)
        armed.touch()
        assert killed(server, text, write.headers) == -signal.SIGKILL, step
        armed.unlink()
        left = read_copy(cache, tmp_path / "copy")
        orphans |= left.orphans
        after = {"FAULT_KILL_AT": steps[number]} if number < len(steps) else {}
        server = start_server(environment=watched | after)
        until("orphans are gone", is_swept(cache, left.orphans))
        assert server.say(text).body == spared.say(text).body, step
        heard = server.say(text)
        assert (heard.outcome, heard.body) == (HIT, spared.say(text).body), step
    assert server.stop() == 0
    content = read_all(cache)
    assert not content.orphans
    # Of each text a clip and a reply.
    assert len(content.entries) == 2 * len(steps)
    assert bool(orphans) == (write.characters == IN_A_FILE)


# In the middle of one.


def test_a_kill_in_the_middle_of_writing_a_file_leaves_nothing_torn(
    start_server: StartServer, cache: Path, tmp_path: Path
) -> None:
    """The kernel kills the process when a file of it would grow beyond a limit, which is inside of
    a call that writes: the database's log, or a reply's file."""
    spared = start_server(tmp_path / "spared")
    limits = {IN_A_ROW: (20_000,), IN_A_FILE: (100_000, 200_001)}
    server = start_server(environment={"FAULT_SIGXFSZ": "kill"})
    number = 0
    for characters, sizes in limits.items():
        for limit_bytes in sizes:
            number += 1
            text = text_of(number, characters)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
            assert killed(server, text) == -signal.SIGXFSZ
            grown = [path for path in cache.rglob("*") if path.stat().st_size == limit_bytes]
            assert grown, "the write was not interrupted in its middle"
            left = read_copy(cache, tmp_path / "copy")
            server = start_server(environment={"FAULT_SIGXFSZ": "kill"})
            until("orphans are gone", is_swept(cache, left.orphans))
            assert server.say(text).body == spared.say(text).body
            assert server.say(text).outcome == HIT
    assert server.stop() == 0
    assert not read_all(cache).orphans


# At any moment.


def test_after_kills_at_random_moments_everything_that_is_served_is_whole(
    start_server: StartServer, cache: Path, tmp_path: Path
) -> None:
    """Each server is killed by whoever got the k-th answer, while others go on asking."""
    moments = random.Random(6)
    asked: list[str] = []
    heard: dict[str, bytes] = {}
    lock = threading.Lock()

    def ask(client: Server, last: int) -> None:
        """Ask for one new text after the other, until the server is gone."""
        with suppress(OSError, HTTPException):
            while True:
                with lock:
                    text = text_of(len(asked), (IN_A_ROW, 60, IN_A_FILE)[len(asked) % 3])
                    asked.append(text)
                answer = client.say(text)
                assert answer.status == 200
                with lock:
                    heard[text] = answer.body
                    if len(heard) == last:
                        client.process.send_signal(signal.SIGKILL)

    for _ in range(8):
        server = start_server()
        last = len(heard) + moments.randint(2, 16)
        with ThreadPoolExecutor(4) as threads:
            asking = [threads.submit(ask, server.another_client(), last) for _ in range(4)]
        for each in asking:
            each.result()
        assert server.wait() == -signal.SIGKILL
        read_copy(cache, tmp_path / "copy")
    server, spared = start_server(), start_server(tmp_path / "spared")
    for text in asked:
        body = spared.say(text).body
        assert server.say(text).body == heard.get(text, body) == body
    assert server.stop() == 0
    content = read_all(cache)
    assert not content.orphans
    assert len(content.entries) == 2 * len(asked)
