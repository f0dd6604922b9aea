"""What pages of the web may ask, and what they are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.settings import AuthSettings, Settings
from tests.proxy.conftest import SPEECH, StartEdge
from tests.proxy.serving import ScriptedApp, serving

PAGE, OTHER = "https://app.example.com", "https://evil.example.com"
KEY = "a-key-for-tests"
BEARER = {"Authorization": f"Bearer {KEY}"}
HELLO = {"input": "Hello there."}
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}


def with_origins(settings: Settings, *origins: str) -> Settings:
    return replace(
        settings,
        server=replace(settings.server, cors_origins=origins, max_body_bytes=1024),
        auth=AuthSettings(keys={"desk": SecretStr(KEY)}),
    )


def cors_of(answer: Any) -> dict[str, str]:
    return {
        name.removeprefix("Access-Control-"): value
        for name, value in answer.headers.items()
        if name.startswith("Access-Control-")
    }


@pytest.mark.parametrize("path", [SPEECH, "/v1/models", "/v1/audio/clips/nothing", "/nothing"])
async def test_a_browser_that_asks_first_needs_no_key(
    path: str, start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=with_origins(settings, PAGE), ready=False)
    answer = await edge.client.options(path, headers={"Origin": PAGE, **PREFLIGHT})
    assert answer.status == 204 and await answer.read() == b""
    assert cors_of(answer) == {
        "Allow-Origin": PAGE,
        "Allow-Methods": "GET, HEAD, POST",
        "Allow-Headers": PREFLIGHT["Access-Control-Request-Headers"],
        "Max-Age": "3600",
        "Expose-Headers": cors_of(answer)["Expose-Headers"],
    }
    assert set(answer.headers.getall("Vary")) == {"Origin", "Access-Control-Request-Headers"}
    refused = await edge.client.options(path, headers={"Origin": OTHER, **PREFLIGHT})
    assert cors_of(refused) == {}


async def test_every_answer_can_be_read_by_the_page_errors_and_streams_too(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=with_origins(settings, PAGE))
    page = {"Origin": PAGE, **BEARER}
    long = {"input": "One sentence. And another one. And a third.", "response_format": "wav"}
    for status, body, headers in (
        (200, {"input": "Hello.", "response_format": "pcm"}, page),  # Streamed, for it is new.
        (200, {"input": "Hello.", "response_format": "pcm"}, page),
        (200, long, page),
        (400, {}, page),
        (401, HELLO, {"Origin": PAGE}),
        (413, {"input": "x" * 2048}, page),
    ):
        answer = await edge.client.post(SPEECH, json=body, headers=headers)
        await answer.read()
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        shown = set(answer.headers["Access-Control-Expose-Headers"].lower().split(", "))
        ours = {
            name.lower() for name in answer.headers if name.startswith(("X-", "Cache-S", "ETag"))
        }
        assert not ours - shown - {"x-accel-buffering"}  # Which is for nginx.
        assert {"retry-after", "content-location", "server-timing"} <= shown
        assert answer.headers.getall("Vary") == ["Origin"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    assert (await edge.client.get("/nothing", headers=page)).headers["Vary"] == "Origin"


async def test_other_pages_and_no_page_get_no_leave_and_caches_are_told_that_it_depends(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=with_origins(settings, PAGE), ready=False)
    for origin in (OTHER, f"{PAGE}.evil.example", PAGE.upper(), "null", None):
        headers = BEARER if origin is None else {"Origin": origin, **BEARER}
        answer = await edge.client.get("/v1/models", headers=headers)
        assert answer.status == 200 and cors_of(answer) == {}
        assert answer.headers["Vary"] == "Origin"


async def test_every_page_may_where_that_is_set(start_edge: StartEdge, settings: Settings) -> None:
    edge = await start_edge(settings=with_origins(settings, "*"), ready=False)
    for headers in (BEARER, {"Origin": OTHER, **BEARER}):
        answer = await edge.client.get("/v1/models", headers=headers)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in answer.headers
    answer = await edge.client.options(SPEECH, headers={"Origin": OTHER, **PREFLIGHT})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/v1/admin", "/v1/admin/cache", "/v1/%61dmin/cache"])
@pytest.mark.parametrize("origins", [(PAGE,), ("*",)])
async def test_administration_is_for_no_page(
    path: str, origins: tuple[str, ...], start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=with_origins(settings, *origins), ready=False)
    for answer in (
        await edge.client.options(path, headers={"Origin": PAGE, **PREFLIGHT}),
        await edge.client.get(path, headers={"Origin": PAGE}),
    ):
        assert answer.status in (401, 403) and cors_of(answer) == {}


async def test_without_the_setting_no_answer_says_anything_of_it(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=settings, ready=False)
    answer = await edge.client.get("/v1/models", headers={"Origin": PAGE})
    assert cors_of(answer) == {} and "Vary" not in answer.headers
    answer = await edge.client.options(SPEECH, headers={"Origin": PAGE, **PREFLIGHT})
    assert answer.status == 405 and cors_of(answer) == {}


async def test_an_options_request_that_is_no_preflight_is_an_ordinary_one(
    scripted_app: ScriptedApp, settings: Settings
) -> None:
    async with serving(scripted_app, with_origins(settings, PAGE)) as server:
        connection = await server.connect()
        await connection.send(f"OPTIONS {SPEECH} HTTP/1.1\nHost: edge\nOrigin: {PAGE}\n\n")
        assert (await connection.head()).startswith("HTTP/1.1 401")
