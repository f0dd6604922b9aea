"""A whole server around an engine that does what the text says: see `tests.synth.scripted_engine`.

The model's files are stand-ins of a few bytes, so nothing here needs the real ones.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient, AiohttpServer

from proxy.app import POOL, build_app
from proxy.settings import (
    CacheSettings,
    EngineSettings,
    PhrasebookSettings,
    ServerSettings,
    Settings,
    WarmSettings,
)
from synth import weights
from synth.voices import VOICES

SCRIPTED_ENGINE = Path(__file__).parents[1] / "synth" / "scripted_engine.py"
SPEECH = "/v1/audio/speech"


HIT, MISS, COLLAPSED = "hit", "miss", "collapsed"


def outcome_of(headers: Mapping[str, str]) -> str:
    """Where an answer came from, by its `Cache-Status`."""
    name, *parameters = headers["Cache-Status"].split("; ")
    assert name == "kokoro-edge"
    assert ("hit" in parameters) != any(each.startswith("fwd=") for each in parameters)
    if "hit" in parameters:
        return HIT
    return COLLAPSED if "collapsed" in parameters else MISS


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def outcome(self) -> str:
        return outcome_of(self.headers)


@dataclass(frozen=True, slots=True)
class Edge:
    """A running server, and what its engine was asked for."""

    client: TestClient[web.Request, None]
    log: Path

    async def ask(self, text: str, **fields: Any) -> aiohttp.ClientResponse:
        """Returns as soon as the answer begins."""
        return await self.client.post(SPEECH, json={"input": text, **fields})

    async def say(self, text: str, **fields: Any) -> Heard:
        answer = await self.ask(text, **fields)
        return Heard(answer.status, answer.headers, await answer.read())

    async def stop(self) -> None:
        await self.client.close()

    def syntheses(self) -> Counter[str]:
        """How often the engine began to make each segment, since the first server of the test."""
        if not self.log.exists():
            return Counter()
        return Counter(self.log.read_text(encoding="utf-8").splitlines())


StartEdge = Callable[..., Awaitable[Edge]]
"""`await start_edge(*engine_options, settings=..., ready=True)`"""


class Barrier:
    """A FIFO: an engine told `wait PATH` stops there until it is released."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._opened: int | None = None

    @property
    def text(self) -> str:
        """The sentence that makes the engine wait."""
        return f"Wait {self.path}."

    async def reached(self) -> None:
        """Wait until the engine waits."""
        async with asyncio.timeout(30):
            self._opened = await asyncio.to_thread(os.open, self.path, os.O_WRONLY)

    async def release(self) -> None:
        """Let the engine go on, once it is there."""
        if self._opened is None:
            await self.reached()
        assert self._opened is not None
        os.close(self._opened)
        self._opened = None

    def remove(self) -> None:
        """Free whoever waits at either end, after a test that failed in between."""
        if self._opened is not None:
            os.close(self._opened)
        os.close(os.open(self.path, os.O_RDWR | os.O_NONBLOCK))
        with suppress(FileNotFoundError):
            self.path.unlink()


@pytest.fixture
def barrier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Barrier]:
    # Not under `tmp_path`: its name comes from the test's, and would be read as Markdown.
    barrier = Barrier(tmp_path_factory.mktemp("fifo") / "barrier")
    yield barrier
    barrier.remove()


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Has the names of the model's files, and nothing of the model."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "voices").mkdir()
    for name in ("config.json", "kokoro-v1_0.pth", *(f"voices/{voice}.pt" for voice in VOICES)):
        (folder / name).write_text(f"stands for {name}", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def little_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a phrasebook that is read in no time."""
    folder = tmp_path_factory.mktemp("books")
    book = "name: little\nvoices: [af_bella]\nformats: [mp3]\nphrases: [This is a phrase.]\n"
    (folder / "little.yaml").write_text(book, encoding="utf-8")
    return folder


@pytest.fixture
def settings(tmp_path: Path, weights_folder: Path, little_book: Path) -> Settings:
    """Of a server with an empty cache, whose weights are known before it starts."""
    directory = tmp_path / "cache"
    weights.fetch(str(weights_folder), directory)
    return Settings(
        server=ServerSettings(shutdown_s=0.2),
        engine=EngineSettings(weights=str(weights_folder)),
        cache=CacheSettings(directory=directory),
        phrasebook=PhrasebookSettings(directory=little_book),
        warm=WarmSettings(at_start=False),
    )


@pytest.fixture
def scripted_app(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., web.Application]:
    """`scripted_app(*engine_options, settings=...)`: the server, not yet started."""
    monkeypatch.setenv("SCRIPTED_ENGINE_LOG", str(tmp_path / "syntheses.log"))

    def build(*engine_options: str, settings: Settings = settings) -> web.Application:
        command = (sys.executable, str(SCRIPTED_ENGINE), *engine_options)
        return build_app(settings, engine_command=command)

    return build


@pytest.fixture
def start_edge(
    aiohttp_client: AiohttpClient,
    aiohttp_server: AiohttpServer,
    scripted_app: Callable[..., web.Application],
    settings: Settings,
    tmp_path: Path,
) -> StartEdge:
    async def start(
        *engine_options: str, settings: Settings = settings, ready: bool = True
    ) -> Edge:
        app = scripted_app(*engine_options, settings=settings)
        # aiohttp's test server sets handler_cancellation itself, as `proxy.serve` does.
        server = await aiohttp_server(app, shutdown_timeout=settings.server.shutdown_s)
        client: TestClient[web.Request, None] = await aiohttp_client(server)
        if ready:
            await app[POOL].wait_until_ready()
        return Edge(client, tmp_path / "syntheses.log")

    return start


@pytest.fixture
async def edge(start_edge: StartEdge) -> Edge:
    """A server whose engine is up."""
    return await start_edge()
