"""A real server for tests to harm: a process of its own, spoken to over real sockets."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from multidict import CIMultiDict

from tests.proxy.conftest import SPEECH, Heard

SCRIPTED_SERVER = Path(__file__).with_name("scripted_server.py")

DEADLINE_S = 60.0

_LISTENING = re.compile(r"listening on (http://\S+)")
_ENGINE_READY = re.compile(r"engine ready on")
_KEY = re.compile(r'key="([0-9a-f]{32})"')


def until(what: str, true: Callable[[], bool]) -> None:
    """Wait for the state of another process. Fails loudly when it does not come."""
    ends_s = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < ends_s, f"it did not come true in {DEADLINE_S:g} s: {what}"
        time.sleep(0.01)


class Log:
    """The lines of a process's standard error, as they come."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def count(self, pattern: str | re.Pattern[str]) -> int:
        with self._changed:
            return sum(re.search(pattern, line) is not None for line in self._lines)

    def wait_for(self, pattern: str | re.Pattern[str], times: int = 1) -> re.Match[str]:
        """Wait until so many lines match. Returns the match in the last of them."""
        ends_s = time.monotonic() + DEADLINE_S
        with self._changed:
            while True:
                found = [it for line in self._lines if (it := re.search(pattern, line))]
                if len(found) >= times:
                    return found[times - 1]
                left_s = ends_s - time.monotonic()
                assert not self._ended and left_s > 0, f"{pattern!r} was not logged {times} times"
                self._changed.wait(left_s)

    def join(self) -> None:
        self._reader.join()

    def _read(self, lines: Iterable[str]) -> None:
        """Print every line, too: pytest shows it where a test fails."""
        for line in lines:
            print(line, end="", file=sys.stderr)
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@dataclass
class Asked:
    """A request that was sent."""

    _connection: http.client.HTTPConnection
    _answer: http.client.HTTPResponse | None = None

    def begin(self) -> Mapping[str, str]:
        """Wait until the answer begins. Its headers."""
        if self._answer is None:
            self._answer = self._connection.getresponse()
        return CIMultiDict(self._answer.getheaders())

    def hear(self) -> Heard:
        """All of the answer. Raises OSError or HTTPException: it did not end cleanly."""
        headers = self.begin()
        assert self._answer is not None
        return Heard(self._answer.status, headers, self._answer.read())


@dataclass
class Server:
    """A running server, and what its engine was asked for."""

    process: subprocess.Popen[str]
    log: Log
    syntheses_log: Path
    url: str = ""
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)
    _asked: list[http.client.HTTPConnection] = field(default_factory=list, repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname and parts.port
        return parts.hostname, parts.port

    def wait_until_listening(self) -> None:
        self.url = self.log.wait_for(_LISTENING)[1]

    def wait_until_ready(self) -> None:
        """Wait until it listens, its engine is up, and it says so."""
        self.wait_until_listening()
        self.log.wait_for(_ENGINE_READY)
        health = self.health()
        assert health["status"] == "ok" and health["model_loaded"] is True

    def health(self) -> dict[str, Any]:
        heard = self.request("GET", "/health")
        assert heard.status == 200
        health: dict[str, Any] = json.loads(heard.body)
        return health

    def say(self, text: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Heard:
        """Ask for a reply and read it to its end, over one connection that is kept."""
        body = {"response_format": "wav", "input": text} | fields
        return self.request("POST", SPEECH, json.dumps(body), headers)

    def send(self, text: str, **fields: Any) -> Asked:
        """Ask for a reply over a connection of its own; when to hear it is up to the caller."""
        body = json.dumps({"response_format": "wav", "input": text} | fields)
        connection = http.client.HTTPConnection(*self.address, timeout=DEADLINE_S)
        self._asked.append(connection)
        connection.request("POST", SPEECH, body)
        return Asked(connection)

    def stored(self) -> int:
        """How many entries it has written to disk."""
        stats = json.loads(self.request("GET", "/v1/admin/cache").body)
        return int(stats["counts"]["stored"])

    def say_and_store(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Ask for a reply that is not cached, of one sentence, and wait until it and its clip are
        written."""
        before = self.stored()
        self.say(text, headers)
        until("the clip and the reply are written", lambda: self.stored() >= before + 2)

    def settle(self) -> None:
        """Wait until all that was sent has come to where it waits, or was answered.

        A request that only wants what is cached goes the same way, up to the engine, and later.
        """
        for number in range(3):
            text = f"Nobody has asked for this {number}."
            assert self.say(text, {"Cache-Control": "only-if-cached"}).status == 504

    def request(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Heard:
        """Raises OSError or HTTPException: the answer did not end cleanly."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self.address, timeout=DEADLINE_S)
        try:
            self._connection.request(method, path, body, dict(headers or {}))
            return Asked(self._connection).hear()
        except BaseException:
            self.hang_up()
            raise

    def another_client(self) -> Server:
        """The same server, spoken to over another connection."""
        return replace(self, _connection=None, _asked=[])

    def hang_up(self) -> None:
        """Close all connections to it."""
        for connection in self._asked:
            connection.close()
        self._asked.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def syntheses(self) -> Counter[str]:
        """How often the engine began to make each segment, since the first server of the test."""
        if not self.syntheses_log.exists():
            return Counter()
        return Counter(self.syntheses_log.read_text(encoding="utf-8").splitlines())

    def engine_pids(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def resident_bytes(self) -> int:
        """What the server, without its engine, has in memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match
        return int(match[1]) * 1024

    def sockets(self) -> int:
        """How many sockets the server has open now."""
        count = 0
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                count += str(descriptor.readlink()).startswith("socket:")
            except FileNotFoundError:  # It was closed since it was listed.
                pass
        return count

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it, wait until it has ended, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended of itself."""
        self.hang_up()
        code = self.process.wait(timeout=DEADLINE_S)
        self.log.join()
        return code


def key_of(heard: Heard) -> str:
    """The id of the entry that a reply is kept under."""
    match = _KEY.search(heard.headers["Cache-Status"])
    assert match
    return match[1]
