"""What the speaker asks of whoever speaks in the engine's place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Protocol

from proxy.cache.key import Key
from synth.engine import Pcm


class NotSpoken(Exception):
    """A provider did not say it, or not to the end. The message is for the log: it holds neither
    the text nor a key."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be said elsewhere."""

    text: str
    """As it is sent: without marks that only our engine reads."""
    voice: str
    """The blend that was asked for, in its canonical spelling."""
    language: str
    """BCP 47, as in `synth.voices.Language.tag`."""
    speed: float


class Offer(Protocol):
    """An errand, as one provider would do it."""

    @property
    def name(self) -> str:
        """The provider's, as the settings have it."""
        ...

    @property
    def voice(self) -> str:
        """The voice, as the provider calls it."""
        ...

    @property
    def keep(self) -> bool:
        """Whether what it makes may be stored."""
        ...

    def key(self, format: str) -> Key:
        """Of the finished reply in this format, a name in `synth.audio.encode.FORMATS`. Two share
        one when they are the same errand for the same voice and model of the same server."""
        ...

    def speak(self) -> AsyncGenerator[Pcm]:
        """The speech, piece by piece, as it comes. Close the generator, or come to its end.

        Raises:
            NotSpoken: it was not said, or what came so far is not all.
        """
        ...


class Elsewhere(Protocol):
    """Everybody who may speak in the engine's place."""

    def offers(self, errand: Errand) -> Iterable[Offer]:
        """In the order in which they are to be asked."""
        ...


@dataclass(frozen=True, slots=True)
class StandIn:
    """Who speaks a reply in the engine's place."""

    name: str
    voice: str
    key: Key
    """What the finished reply is kept under, where it is: never the engine's own."""
    keep: bool

    @property
    def title(self) -> str:
        """What is told as the voice of the reply: `spare/alloy`."""
        return f"{self.name}/{self.voice}"
