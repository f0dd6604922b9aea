"""Samples and nothing else: signed 16-bit, µ-law, A-law. Nothing is held back."""

from __future__ import annotations

import io
from collections.abc import Callable

import soundfile

from synth.audio.encoders.encoder import Finished
from synth.engine import Pcm

_G711_RATE_HZ = 8_000


class RawEncoder:
    """Sample by sample, as `to_bytes` makes bytes of them."""

    def __init__(self, to_bytes: Callable[[Pcm], bytes]) -> None:
        self._to_bytes = to_bytes
        self._data = bytearray()

    def write(self, pcm: Pcm) -> bytes:
        data = self._to_bytes(pcm)
        self._data += data
        return data

    def finish(self) -> Finished:
        return Finished(tail=b"", whole=bytes(self._data))

    def close(self) -> None:
        """There is nothing that is open."""


def linear(pcm: Pcm) -> bytes:
    """Signed 16-bit, little-endian."""
    return pcm.astype("<i2", copy=False).tobytes()


def mu_law(pcm: Pcm) -> bytes:
    """G.711, one byte a sample."""
    return _g711(pcm, "ULAW")


def a_law(pcm: Pcm) -> bytes:
    """G.711, one byte a sample."""
    return _g711(pcm, "ALAW")


def _g711(pcm: Pcm, law: str) -> bytes:
    file = io.BytesIO()
    # A rate must be said, and stands nowhere in the file.
    soundfile.write(file, pcm, _G711_RATE_HZ, format="RAW", subtype=law)
    return file.getvalue()
