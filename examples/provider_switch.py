"""An agent that goes on talking when a speech provider does not.

A platform stores `KokoroSettings` with each agent. Whatever the agent says is asked of kokoro-edge
first and, where that has no speech to give, of a second provider that speaks OpenAI's speech API.

    .venv/bin/python examples/provider_switch.py "Your table is booked for four." >booked.pcm
    ffplay -f s16le -ar 24000 -ac 1 booked.pcm

    KOKORO_URL      http://127.0.0.1:8000/v1, if it is not set
    KOKORO_KEY      where the server wants one
    SECOND_URL      https://api.openai.com/v1, if it is not set
    SECOND_KEY      without it there is no second provider
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Protocol

import httpx

from proxy.client import KokoroError, KokoroSettings, KokoroTTSService, Timeouts

logger = logging.getLogger("provider_switch")

AGENT = '{"voice": "af_bella(2)+af_sky(1)", "speed": 1.1, "response_format": "pcm"}'
"""As it comes from the platform's database. Both providers give pcm at 24 kHz, so that it does not
matter to the player which one speaks."""


class ProviderFailed(Exception):
    """This provider has no speech for this text now."""


class SpeechProvider(Protocol):
    """Whatever makes speech of text."""

    @property
    def name(self) -> str: ...

    def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """Raises ProviderFailed."""
        ...


@dataclass(frozen=True, slots=True)
class KokoroEdge:
    """The first provider: one service for all agents, each with settings of its own."""

    service: KokoroTTSService
    settings: KokoroSettings
    name: str = "kokoro-edge"

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        stream = self.service.stream_audio(text, settings=self.settings)
        try:
            async with aclosing(stream) as audio:
                async for chunk in audio:
                    yield chunk
        except KokoroError as error:
            # Not its message, which may quote what is said.
            why = (
                f"{type(error).__name__}, {error.status or 'no status'}, {error.code or 'no code'}"
            )
            raise ProviderFailed(f"{why}, request {error.request_id}") from error


@dataclass(frozen=True, slots=True)
class OpenAICompatible:
    """A second provider, with a voice that comes near to the agent's."""

    client: httpx.AsyncClient
    base_url: str
    api_key: str
    voice: str
    model: str
    name: str = "second"

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        body = {"model": self.model, "voice": self.voice, "input": text, "response_format": "pcm"}
        headers = {"Authorization": f"Bearer {self.api_key}"}
        try:
            async with self.client.stream(
                "POST", f"{self.base_url}/audio/speech", json=body, headers=headers
            ) as answer:
                answer.raise_for_status()
                async for chunk in answer.aiter_bytes():
                    yield chunk
        except httpx.HTTPError as error:
            raise ProviderFailed(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class ProviderSwitch:
    """Asks one provider after the other, and tells the log which one spoke."""

    providers: Sequence[SpeechProvider]

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """Raises ProviderFailed: none of them, or one that was heard already. Another would say the
        sentence from its beginning again, in another voice."""
        for provider in self.providers:
            asked_s, first_ms = time.perf_counter(), None
            try:
                async with aclosing(provider.speak(text)) as audio:
                    async for chunk in audio:
                        if first_ms is None:
                            first_ms = (time.perf_counter() - asked_s) * 1000
                            logger.info("%s speaks, after %.0f ms", provider.name, first_ms)
                        yield chunk
                return
            except ProviderFailed as error:
                logger.warning("%s failed: %s", provider.name, error)
                if first_ms is not None:
                    raise
        raise ProviderFailed("no provider has speech for this")


async def main(text: str) -> None:
    # Short: while a caller waits in silence, a second provider is better than a second try.
    patience = Timeouts(connect_s=0.5, first_audio_s=2.0, stall_s=2.0)
    async with AsyncExitStack() as open_clients:
        service = KokoroTTSService(
            os.environ.get("KOKORO_URL", "http://127.0.0.1:8000/v1"),
            os.environ.get("KOKORO_KEY"),
            timeouts=patience,
            max_retries=1,
        )
        await open_clients.enter_async_context(service)
        settings = KokoroSettings.model_validate_json(AGENT)
        providers: list[SpeechProvider] = [KokoroEdge(service, settings)]
        if key := os.environ.get("SECOND_KEY"):
            client = await open_clients.enter_async_context(httpx.AsyncClient(timeout=5.0))
            url = os.environ.get("SECOND_URL", "https://api.openai.com/v1")
            providers.append(OpenAICompatible(client, url, key, "nova", "gpt-4o-mini-tts"))
        async with aclosing(ProviderSwitch(providers).speak(text)) as audio:
            async for chunk in audio:
                sys.stdout.buffer.write(chunk)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(main(" ".join(sys.argv[1:]) or "Hello. How can I help?"))
    except ProviderFailed as failed:
        sys.exit(str(failed))
