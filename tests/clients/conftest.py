"""The packages that will call this server, each in an environment of its own, against a real server
with the real model. What they get is decoded and listened to.

What needs an engine that fails or waits at a given moment is done to a server with the scripted
one. Twilio, Asterisk, FreeSWITCH, Vapi and others that are no packages are requests as they send
them, in `recorded`, and what they make of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.clients.audio import is_said
from tests.clients.client import Client
from tests.clients.matrix import CASES, Matrix
from tests.faults.conftest import cache, start_server
from tests.proxy.conftest import barrier, weights_folder
from tests.real.conftest import http, recogniser, server
from tests.real.recogniser import Heard, Recogniser
from tests.real.server import Server, speak

__all__ = ["barrier", "cache", "http", "recogniser", "server", "start_server", "weights_folder"]

_MATRIX = pytest.StashKey[Matrix]()

TEXT = "Your table is booked. We look forward to seeing you."
VOICE = "alloy"

KEY = "sk-of-a-client"
"""Asked for by servers that have keys; the others take any."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("clients")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    case = item.get_closest_marker("case")
    if case is None or (report.when != "call" and report.passed):
        return
    client, name = case.args
    assert name in CASES
    matrix = item.config.stash.setdefault(_MATRIX, Matrix())
    reason = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
    result = "FAIL" if report.failed else "skip" if report.skipped else "ok"
    matrix.add(client.title if isinstance(client, Client) else client, name, result, reason)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if matrix := config.stash.get(_MATRIX, None):
        terminalreporter.section("clients")
        for line in matrix.lines():
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _skip_what_is_not_installed(request: pytest.FixtureRequest) -> None:
    case = request.node.get_closest_marker("case")
    if case and isinstance(client := case.args[0], Client) and (reason := client.why_not()):
        pytest.skip(f"{client.title} {reason}")


@dataclass(frozen=True, slots=True)
class Real:
    """The server with the real model, and what it is to be compared with."""

    server: Server
    _http: aiohttp.ClientSession
    _recogniser: Recogniser

    @property
    def base_url(self) -> str:
        return f"{self.server.url}/v1"

    def job(self, **speech: Any) -> dict[str, Any]:
        """What every driver is told: where the server is, and what to ask it for."""
        return {"base_url": self.base_url, "key": KEY, "speech": speech}

    async def pcm(self, text: str, voice: str) -> bytes:
        """The reply as plain samples at 24 kHz, asked for without any client."""
        return await speak(self._http, self.server, text, voice, "pcm")

    async def check(
        self, reply: bytes, text: str, voice: str, format: str, rate_hz: int = 24_000
    ) -> Heard:
        """That `reply` is `text` said by `voice`, to its end."""
        duration_s = len(await self.pcm(text, voice)) / 2 / 24_000
        return is_said(self._recogniser, text, duration_s, reply, format, rate_hz)


@pytest.fixture
def real(server: Server, http: aiohttp.ClientSession, recogniser: Recogniser) -> Real:
    return Real(server, http, recogniser)
