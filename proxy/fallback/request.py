"""What every API of a provider is asked for: raw samples, over one HTTP request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy.speech.elsewhere import NotSpoken


class CannotAsk(NotSpoken):
    """The API has no way to ask for this; the provider is as well as before."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A speech as a provider is asked for it."""

    text: str
    voice: str
    """As the provider calls it."""
    model: str
    language: str
    """BCP 47, in lower case: `en-us`."""
    speed: float


@dataclass(frozen=True, slots=True)
class Request:
    """A POST whose answer is mono 16-bit little-endian PCM at 24 kHz, as it is made."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    """The provider's key is in here."""
    body: Mapping[str, object] = field(repr=False)
    """Sent as JSON."""


class Api(Protocol):
    """One provider's HTTP API. Pure."""

    version: str
    """Part of the key of what is kept: raise it when the same wish is asked for otherwise."""

    def request(self, url: str, api_key: str | None, wish: Wish) -> Request:
        """`url` has no `/` at its end.

        Raises:
            CannotAsk: see there.
        """
        ...


def require_speed(speed: float, slowest: float, fastest: float) -> None:
    """Raises CannotAsk: another speed than the caller's would be another reply."""
    if not slowest <= speed <= fastest:
        raise CannotAsk(f"speed {speed:g} is not one of its {slowest:g} to {fastest:g}")
