"""Servers that stand for the providers: they take what their documentation says, and do what a test
tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.settings import ProviderKind, ProviderSettings
from synth.engine import SAMPLE_RATE_HZ

KEY = "sk-not-to-be-told"

Answer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a provider was asked for, whatever its API calls it."""

    text: str
    voice: str
    model: str
    speed: float


def speech_of(text: str, pitch_hz: float = 330.0) -> bytes:
    """A tone of a plausible length."""
    times_s = np.arange(round(0.06 * len(text) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (6_000 * np.sin(2 * np.pi * pitch_hz * times_s)).astype("<i2").tobytes()


async def speak(request: web.Request, speech: bytes) -> web.StreamResponse:
    """In pieces of an odd size, without telling the length."""
    response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
    await response.prepare(request)
    for begin in range(0, len(speech), 4097):
        await response.write(speech[begin : begin + 4097])
    await response.write_eof()
    return response


async def die_midway(request: web.Request, speech: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
    await response.prepare(request)
    await response.write(speech[: len(speech) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def promise_more(request: web.Request, speech: bytes) -> web.StreamResponse:
    """A body that is shorter than its header says."""
    response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
    response.content_length = len(speech) + 2
    await response.prepare(request)
    await response.write(speech)
    assert request.transport is not None
    request.transport.close()
    return response


async def never_answer(request: web.Request, speech: bytes) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def send(body: bytes, content_type: str = "audio/pcm") -> Answer:
    async def answer(request: web.Request, speech: bytes) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer


def refuse(status: int, body: object = None) -> Answer:
    async def answer(request: web.Request, speech: bytes) -> web.StreamResponse:
        return web.json_response(body or {"error": {"code": "told_to"}}, status=status)

    return answer


@dataclass(slots=True)
class FakeProvider:
    """All three APIs at one address, and what was asked of them."""

    answer: Answer = speak
    asked: list[Asked] = field(default_factory=list)
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    server: TestServer | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/audio/speech", self._openai)
        app.router.add_post("/tts/bytes", self._cartesia)
        app.router.add_post("/v1/text-to-speech/{voice}/stream", self._elevenlabs)
        self.server = TestServer(app)
        await self.server.start_server(shutdown_timeout=0)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.close()

    @property
    def url(self) -> str:
        assert self.server is not None
        return str(self.server.make_url("")).rstrip("/")

    def settings(
        self, name: str = "spare", kind: ProviderKind = "openai", **others: Any
    ) -> ProviderSettings:
        path = "/v1" if kind == "openai" else ""
        given = {"model": "a-model", "voice": "their-voice", "api_key": KEY, **others}
        return ProviderSettings(name=name, kind=kind, url=self.url + path, **given)

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"code": "invalid_api_key"}}, status=401)
        if set(body) - {"model", "input", "voice", "response_format", "speed"}:
            return web.json_response({"error": {"code": "unknown_parameter"}}, status=400)
        assert body["response_format"] == "pcm"
        speed = body.get("speed", 1.0)
        return await self._said(request, body, body["input"], body["voice"], body["model"], speed)

    async def _cartesia(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(text="Unauthorized: Invalid API key", status=401)
        assert request.headers["Cartesia-Version"] == "2025-04-16"
        assert body["output_format"] == {
            "container": "raw",
            "encoding": "pcm_s16le",
            "sample_rate": 24000,
        }
        assert body["voice"]["mode"] == "id" and body["language"] == "en"
        speed = body.get("generation_config", {}).get("speed", 1.0)
        return await self._said(
            request, body, body["transcript"], body["voice"]["id"], body["model_id"], speed
        )

    async def _elevenlabs(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if request.headers.get("xi-api-key") != KEY:
            return web.json_response({"detail": {"status": "invalid_api_key"}}, status=401)
        assert request.query["output_format"] == "pcm_24000"
        speed = body.get("voice_settings", {}).get("speed", 1.0)
        return await self._said(
            request, body, body["text"], request.match_info["voice"], body["model_id"], speed
        )

    async def _said(
        self,
        request: web.Request,
        body: Mapping[str, Any],
        text: str,
        voice: str,
        model: str,
        speed: float,
    ) -> web.StreamResponse:
        self.asked.append(Asked(text, voice, model, speed))
        self.bodies.append(body)
        return await self.answer(request, speech_of(text))
