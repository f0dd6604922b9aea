"""All providers, in their order, and the connections that they share."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from proxy.fallback.answer import open_session
from proxy.fallback.breaker import State
from proxy.fallback.provider import Provider, ProviderOffer
from proxy.layers import SettingsError
from proxy.setting_values import clean_api_key
from proxy.settings import FallbackSettings, ProviderSettings
from proxy.speech.elsewhere import Errand


class Providers:
    """Implements `proxy.speech.elsewhere.Elsewhere`, while it is running."""

    def __init__(
        self,
        settings: FallbackSettings,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is that of the circuit breakers.

        Raises:
            SettingsError: a key is to come from a variable that the environment does not have, or
                that holds none.
        """
        self._open: aiohttp.ClientSession | None = None
        self._providers = tuple(
            Provider(each, _api_key(each, environment), settings, self._session, clock)
            for each in settings.providers
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connections are kept open inside, and closed after."""
        async with open_session() as session:
            self._open = session
            try:
                yield
            finally:
                self._open = None

    def offers(self, errand: Errand) -> Iterator[ProviderOffer]:
        for provider in self._providers:
            yield ProviderOffer(provider, provider.wish(errand))

    def health(self) -> dict[str, str]:
        """`up` or, as long as its breaker is not closed, `down`, by name."""
        return {
            provider.name: "up" if provider.breaker.state is State.CLOSED else "down"
            for provider in self._providers
        }

    def _session(self) -> aiohttp.ClientSession:
        assert self._open is not None, "the providers are not running"
        return self._open


def build_providers(settings: FallbackSettings, environment: Mapping[str, str]) -> Providers | None:
    """None where there are none. Raises SettingsError: see `Providers`."""
    return Providers(settings, environment) if settings.providers else None


def _api_key(settings: ProviderSettings, environment: Mapping[str, str]) -> str | None:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    variable = settings.api_key_variable
    if variable is None:
        return None
    if not (key := environment.get(variable, "").strip()):
        raise SettingsError(
            f"fallback.providers: the provider {settings.name} is to take its key from the "
            f"environment variable {variable}, which is not set"
        )
    try:
        return clean_api_key(key)
    except ValueError as problem:
        raise SettingsError(
            f"fallback.providers: the provider {settings.name} cannot use what is in the "
            f"environment variable {variable}: {problem}"
        ) from None
