"""One provider: which of its voices stands in, how long it may take, and whether it is let be."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import aiohttp

from proxy.cache.key import Key, digest
from proxy.fallback.answer import read_answer
from proxy.fallback.breaker import Attempt, Breaker
from proxy.fallback.cartesia import CartesiaApi
from proxy.fallback.elevenlabs import ElevenLabsApi
from proxy.fallback.openai_api import OpenAiApi
from proxy.fallback.pcm import PcmReader
from proxy.fallback.request import Api, CannotAsk, Request, Wish
from proxy.settings import FallbackSettings, ProviderSettings
from proxy.speech.elsewhere import Errand, NotSpoken
from synth.audio.encode import ENCODER_VERSION
from synth.engine import Pcm

logger = logging.getLogger(__name__)

APIS: dict[str, Api] = {
    "openai": OpenAiApi(),
    "cartesia": CartesiaApi(),
    "elevenlabs": ElevenLabsApi(),
}
"""By `kind`."""


class Provider:
    """Speaks errands, as long as it does not fail too often in a row."""

    def __init__(
        self,
        settings: ProviderSettings,
        api_key: str | None,
        fallback: FallbackSettings,
        session: Callable[[], aiohttp.ClientSession],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.api = APIS[settings.kind]
        self.breaker = Breaker(fallback.breaker_failures, fallback.breaker_s, clock)
        self._api_key = api_key
        self._session = session

    @property
    def name(self) -> str:
        return self.settings.name

    def wish(self, errand: Errand) -> Wish:
        settings = self.settings
        voice = settings.voices.get(errand.voice, settings.voice)
        return Wish(errand.text, voice, settings.model, errand.language, errand.speed)

    async def speak(self, wish: Wish) -> AsyncGenerator[Pcm]:
        """See `proxy.speech.elsewhere.Offer.speak`."""
        request = self.api.request(self.settings.base_url, self._api_key, wish)
        attempt = self.breaker.enter()
        if attempt is None:
            raise NotSpoken("is left alone after too many failures")
        told = False
        try:
            async with aclosing(self._samples(request, wish)) as pieces:
                async for pcm in pieces:
                    yield pcm
            told = True
            self._well(attempt)
        except CannotAsk:
            raise
        except NotSpoken as why:
            told = True
            self._unwell(attempt, str(why))
            raise
        except Exception as problem:
            told = True
            # By its kind alone, here and in the detour: the message may hold the text or a key.
            self._unwell(attempt, type(problem).__name__)
            raise
        finally:
            if not told:
                self.breaker.left(attempt)

    async def _samples(self, request: Request, wish: Wish) -> AsyncGenerator[Pcm]:
        reader = PcmReader(wish.text, wish.speed)
        settings = self.settings
        answer = read_answer(self._session(), request, settings.timeout_s, settings.stall_s)
        async with aclosing(answer):
            async for data in answer:
                pcm = reader.feed(data)
                if pcm is not None:
                    yield pcm
        rest = reader.finish()
        if rest is not None:
            yield rest

    def _well(self, attempt: Attempt) -> None:
        if self.breaker.succeeded(attempt):
            logger.warning("the provider %s speaks again", self.name)

    def _unwell(self, attempt: Attempt, why: str) -> None:
        if self.breaker.failed(attempt):
            logger.warning("the provider %s is left alone for a while: %s", self.name, why)


@dataclass(frozen=True, slots=True)
class ProviderOffer:
    """An errand, as this provider would do it: see `proxy.speech.elsewhere.Offer`."""

    provider: Provider
    wish: Wish

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def voice(self) -> str:
        return self.wish.voice

    @property
    def keep(self) -> bool:
        return self.provider.settings.keep

    def key(self, format: str) -> Key:
        """Not of the provider's name, nor of its key: these change no sound."""
        settings, wish = self.provider.settings, self.wish
        return digest(
            "elsewhere",
            settings.kind,
            self.provider.api.version,
            settings.base_url,
            wish.model,
            wish.voice,
            wish.language,
            f"{wish.speed:.2f}",
            wish.text,
            format,
            ENCODER_VERSION,
        )

    def speak(self) -> AsyncGenerator[Pcm]:
        return self.provider.speak(self.wish)
