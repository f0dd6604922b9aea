"""What an encoder is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from synth.engine import Pcm


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an encoding."""

    tail: bytes
    """What a stream still has to be sent."""
    whole: bytes
    """The complete file, with a header that tells its true length."""


class Encoder(Protocol):
    """Turns mono PCM into the bytes of one format. Blocking: call it in a thread."""

    def write(self, pcm: Pcm) -> bytes:
        """Encode more audio. Returns what a stream can be sent now, which may be nothing."""
        ...

    def finish(self) -> Finished:
        """Encode what is still held back. Nothing can be written afterwards, and it is closed."""
        ...

    def close(self) -> None:
        """Let go of everything, finished or not. Once it is closed, this does nothing."""
        ...
