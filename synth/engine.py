"""What an engine is: segments in, clips out, and the ways it can fail.

Errors, all of them `EngineError`:

- `CannotSay`: the text's fault. Nobody should try again.
- `EngineUnavailable`: not now.
  - `EngineLoading`: it is starting, or being replaced.
  - `EngineDied`: its process ended, or had to be ended, while it worked, more than once.
- `BadAudio`: the model's output is not fit to be heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from synth.voices import Blend

SAMPLE_RATE_HZ = 24_000

Pcm = npt.NDArray[np.int16]
"""Mono audio at `SAMPLE_RATE_HZ`: shape (n,), int16. What is stored and sent: the same samples
whether a clip is fresh from the model or comes out of a cache."""


class EngineError(Exception):
    """The root of everything that an engine raises on purpose. The message is for users."""


class CannotSay(EngineError):
    """The text holds something that this model, in this language, has no sound for."""


class BadAudio(EngineError):
    """The model's output is silent, not a number, clipped, or of an implausible length."""


class EngineUnavailable(EngineError):
    """There is no engine to serve this now."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineLoading(EngineUnavailable):
    """The engine is starting."""


class EngineDied(EngineUnavailable):
    """The engine's process ended while it worked on this, and again on the second try."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What is synthesised in one piece: a sentence, as a rule."""

    text: str
    """Normalised (see `synth.text.normalise`), not empty."""
    blend: Blend
    language: str
    """The code of one of `synth.voices.LANGUAGES`."""
    speed: float
    """1.0 is the voice's own pace; 2.0 takes half the time."""
    seed: int
    """Kokoro is stochastic; the same seed gives the same samples. From 0 to 2**63 - 1."""


@dataclass(frozen=True, slots=True)
class Word:
    """When a word is heard, in seconds from the clip's first sample."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Clip:
    """A segment's audio: trimmed and checked."""

    pcm: Pcm
    words: tuple[Word, ...] = ()
    """Empty where the language's G2P keeps no words (all but English)."""

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / SAMPLE_RATE_HZ


class Engine(Protocol):
    """Turns segments into clips."""

    async def synthesize(self, segment: Segment, ahead: Sequence[Segment] = ()) -> Clip:
        """Make the clip of `segment`.

        `ahead` are later segments of the same reply: their text is checked before any audio is
        made, so that a reply which cannot be said whole fails before its first byte.

        Raises:
            EngineError: see the top of this module.
        """
        ...
