"""A server that is told to stop: what it still does, and for how long."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from proxy.settings import Settings
from tests.proxy.conftest import SPEECH, Barrier
from tests.proxy.serving import ScriptedApp, Serving, serving

STREAMED = {"response_format": "pcm"}


def with_server(settings: Settings, **changes: Any) -> Settings:
    return replace(settings, server=replace(settings.server, **changes))


async def status_of(server: Serving, path: str = "/health/ready") -> tuple[int, str, bool]:
    """Of a connection of its own: status, reason, and whether it is to be closed."""
    async with aiohttp.ClientSession() as http, http.get(server.url + path) as answer:
        body = await answer.json()
        return (
            answer.status,
            body.get("reason", ""),
            answer.headers.get("Connection", "") == "close",
        )


async def test_while_it_drains_it_serves_and_tells_that_it_is_not_ready(
    scripted_app: ScriptedApp, settings: Settings
) -> None:
    async with serving(scripted_app, with_server(settings, drain_s=60)) as server:
        await server.wait_until_ready()
        assert await status_of(server) == (200, "", False)
        server.stopping.ask()
        assert await status_of(server) == (503, "the server is stopping", True)
        assert await status_of(server, "/health") == (200, "", True)
        body = {"input": "Hello there. And goodbye.", **STREAMED}
        async with aiohttp.ClientSession() as http:
            for _ in range(2):  # Streamed, and from memory.
                async with http.post(server.url + SPEECH, json=body) as answer:
                    assert answer.status == 200 and await answer.read()
                    assert answer.headers["Connection"] == "close"
        assert not server.task.done()
        server.stopping.ask()
        await server.task


async def test_after_the_drain_nobody_is_let_in_and_what_is_under_way_finishes(
    scripted_app: ScriptedApp, settings: Settings, barrier: Barrier
) -> None:
    settings = with_server(settings, drain_s=0.1, shutdown_s=60)
    async with serving(scripted_app, settings) as server, aiohttp.ClientSession() as http:
        await server.wait_until_ready()
        body = {"input": f"Hello there. {barrier.text} Goodbye.", **STREAMED}
        async with http.post(server.url + SPEECH, json=body) as answer:
            await barrier.reached()
            server.stopping.ask()
            while True:
                try:
                    await status_of(server)
                except aiohttp.ClientConnectorError:
                    break
            assert not server.task.done()
            await barrier.release()
            heard = await answer.read()
        await server.task
    assert len(heard) > 3 * 4_800


async def test_told_twice_it_stops_at_once(
    scripted_app: ScriptedApp, settings: Settings, barrier: Barrier
) -> None:
    settings = with_server(settings, drain_s=60, shutdown_s=60)
    async with serving(scripted_app, settings) as server, aiohttp.ClientSession() as http:
        await server.wait_until_ready()
        body = {"input": f"Hello there. {barrier.text}", **STREAMED}
        async with http.post(server.url + SPEECH, json=body) as answer:
            await barrier.reached()
            server.stopping.ask()
            server.stopping.ask()
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
        async with asyncio.timeout(30):
            await server.task


async def test_told_again_while_it_finishes_it_stops_at_once(
    scripted_app: ScriptedApp, settings: Settings, barrier: Barrier
) -> None:
    async with serving(scripted_app, with_server(settings, shutdown_s=600)) as server:
        await server.wait_until_ready()
        async with aiohttp.ClientSession() as http:
            body = {"input": f"Hello there. {barrier.text}", **STREAMED}
            async with http.post(server.url + SPEECH, json=body) as answer:
                await barrier.reached()
                server.stopping.ask()
                while True:
                    try:
                        await status_of(server)
                    except aiohttp.ClientConnectorError:
                        break
                server.stopping.ask()
                with pytest.raises(aiohttp.ClientError):
                    await answer.read()
            async with asyncio.timeout(30):
                await server.task
