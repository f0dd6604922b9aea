"""The examples do what they say."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from examples.provider_switch import (
    AGENT,
    KokoroEdge,
    OpenAICompatible,
    ProviderFailed,
    ProviderSwitch,
)
from proxy.client import KokoroSettings, KokoroTTSService
from tests.proxy.raw_server import answer, raw_server

UP, DOWN = answer(200, b"kokoro speaks"), answer(503, b"")
BREAKS_OFF = answer(200, b"kokoro", Content_Length="1000")
SECOND_UP, SECOND_DOWN = answer(200, b"the second speaks"), answer(500, b"")


@asynccontextmanager
async def switch(first: bytes, second: bytes) -> AsyncIterator[ProviderSwitch]:
    async with raw_server(first) as kokoro, raw_server(second) as other:
        async with (
            KokoroTTSService(kokoro.base_url, max_retries=0) as service,
            httpx.AsyncClient() as client,
        ):
            yield ProviderSwitch(
                [
                    KokoroEdge(service, KokoroSettings.model_validate_json(AGENT)),
                    OpenAICompatible(client, other.base_url, "key", "nova", "tts-1"),
                ]
            )


async def heard(switch: ProviderSwitch) -> bytes:
    async with aclosing(switch.speak("Hello.")) as audio:
        return b"".join([chunk async for chunk in audio])


@pytest.mark.parametrize(
    ("first", "second", "said", "who"),
    [
        (UP, SECOND_UP, b"kokoro speaks", "kokoro-edge speaks"),
        (DOWN, SECOND_UP, b"the second speaks", "second speaks"),
    ],
)
async def test_the_second_provider_speaks_where_the_first_does_not(
    first: bytes, second: bytes, said: bytes, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "provider_switch")
    async with switch(first, second) as switched:
        assert await heard(switched) == said
    assert [who in record.message for record in caplog.records][-1]
    assert len(caplog.records) == 1 + (first is DOWN)


async def test_a_sentence_that_was_begun_is_not_begun_again_in_another_voice() -> None:
    async with switch(BREAKS_OFF, SECOND_UP) as switched:
        with pytest.raises(ProviderFailed, match="BrokenOff"):
            await heard(switched)


async def test_without_any_provider_there_is_no_speech() -> None:
    async with switch(DOWN, SECOND_DOWN) as switched:
        with pytest.raises(ProviderFailed, match="no provider"):
            await heard(switched)
