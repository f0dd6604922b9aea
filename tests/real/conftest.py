"""One real server for the tests that only speak to it; the rest start their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from synth.weights import Weights
from tests.real.recogniser import Recogniser
from tests.real.server import Server, serve

WITHOUT_WARM_UP = ("--warm-at-start", "false")


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, real_weights: Weights
) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    with serve(directory, cache_dir, *WITHOUT_WARM_UP) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    return Recogniser()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
