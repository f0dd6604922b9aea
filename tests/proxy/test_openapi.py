"""`/openapi.json` says what the server does, and the server does what it says."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pydantic
import pytest
from aiohttp import web
from openapi_spec_validator import validate
from yarl import URL

from proxy.api.errors import PROBLEMS
from proxy.api.openapi.document import build_document
from proxy.api.openapi.served import Keys
from proxy.api.schema import MAX_INPUT_CHARS
from proxy.app import POOL
from proxy.serve import runner_options
from proxy.settings import MineSettings, Settings
from tests.proxy.conftest import Edge

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")

KEY = "a-key-for-tests"

App = Callable[..., web.Application]


def operations(app: web.Application) -> set[tuple[str, str]]:
    """Every method and address of the app but those that aiohttp, or we, derive from others."""
    found = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        # Nothing is there under `/v1/admin` but what is there by its own name.
        if route.resource is not None and route.method != "*"
    }
    mirrored = {("HEAD", path) for method, path in found if method == "GET"}
    return found - mirrored


def test_every_address_is_described_and_nothing_else(scripted_app: App) -> None:
    document = build_document(Keys(admin=True))
    described = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "head"
    }
    assert described == operations(scripted_app())


@pytest.mark.parametrize("keys", [Keys(admin=False), Keys(admin=True, callers=True)])
def test_the_document_is_openapi(keys: Keys) -> None:
    validate(build_document(keys))


async def test_it_is_served_as_json(edge: Edge) -> None:
    answer = await edge.client.get("/openapi.json")
    assert answer.content_type == "application/json"
    assert await answer.json() == build_document(Keys(admin=False))


def test_every_error_is_described_by_its_code() -> None:
    responses = build_document(Keys(admin=True))["components"]["responses"]
    for problem in PROBLEMS.values():
        # Where no key was sent there is none, as in OpenAI's API.
        assert (
            problem.code is None
            or f"`{problem.code}`" in responses[f"Refused{problem.status}"]["description"]
        )


def test_a_key_is_asked_for_where_there_is_one() -> None:
    def asked(keys: Keys) -> tuple[object, ...]:
        paths = build_document(keys)["paths"]
        return tuple(
            paths[path][method]["security"]
            for path, method in (("/v1/admin/cache", "get"), ("/v1/audio/speech", "post"))
        )

    assert asked(Keys(admin=False)) == ([{"adminKey": []}, {}], [{"apiKey": []}, {}])
    assert asked(Keys(admin=True, callers=True)) == ([{"adminKey": []}], [{"apiKey": []}])


def test_refusals_of_access_are_described_wherever_a_key_is() -> None:
    for methods in build_document(Keys(admin=True))["paths"].values():
        for operation in methods.values():
            assert bool(operation["security"]) == ({"401", "403"} <= set(operation["responses"]))


@pytest.fixture
async def url(settings: Settings, scripted_app: App, tmp_path: Path) -> AsyncIterator[URL]:
    """Of a server that asks for a key and has everything on, run as `kokoro-edge serve` does."""
    settings = replace(
        settings,
        server=replace(settings.server, admin_key=pydantic.SecretStr(KEY)),
        mine=MineSettings(enabled=True),
        # None that is here: loading one takes seconds, and it would judge tones.
        warm=replace(settings.warm, verify_model=str(tmp_path / "none")),
    )
    app = scripted_app(settings=settings)
    runner = web.AppRunner(app, **runner_options(settings.server))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await app[POOL].wait_until_ready()
        host, port = runner.addresses[0]
        yield URL(f"http://{host}:{port}")
    finally:
        await runner.cleanup()


async def test_entries_are_looked_up_by_a_text_as_long_as_can_be_said(url: URL) -> None:
    text = "😀" * (MAX_INPUT_CHARS - 1) + "a"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
        answer = await session.get(url / "v1/admin/cache/entries" % {"text": text})
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")


@pytest.mark.long
async def test_schemathesis_finds_nothing(url: URL, tmp_path: Path) -> None:
    """Whatever it thinks of, in all its phases, is answered as the document says."""
    tested = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
        *(str(url / "openapi.json"), "--header", f"Authorization: Bearer {KEY}"),
        "--no-color",
        # It leaves files where it runs.
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await tested.communicate()
    told = output.decode()
    assert tested.returncode == 0, told
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in told, told
