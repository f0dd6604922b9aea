"""RIFF/WAVE: a header before samples of 16 bits, of µ-law or of A-law.

A stream's header gives the largest size there is, which players and Python's `wave` take for "until
the end".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from synth.audio.encoders.encoder import Finished
from synth.audio.encoders.raw import RawEncoder, a_law, linear, mu_law
from synth.engine import Pcm

_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Law:
    """How samples stand in the file."""

    tag: int
    """RIFF's number for it."""
    bytes_per_sample: int
    to_bytes: Callable[[Pcm], bytes]


LINEAR = Law(1, 2, linear)
MU_LAW = Law(7, 1, mu_law)
A_LAW = Law(6, 1, a_law)


class WavEncoder:
    """Mono, at one rate. Nothing is held back."""

    def __init__(self, sample_rate_hz: int, law: Law) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._law = law
        self._samples = RawEncoder(law.to_bytes)
        self._pending_header = self._header(_UNKNOWN)

    def write(self, pcm: Pcm) -> bytes:
        header, self._pending_header = self._pending_header, b""
        return header + self._samples.write(pcm)

    def finish(self) -> Finished:
        data = self._samples.finish().whole
        # Chunks have an even length. In a stream, which has no end, it would be one sample more.
        padding = bytes(len(data) % 2)
        whole = self._header(len(data)) + data + padding
        return Finished(tail=self._pending_header, whole=whole)

    def close(self) -> None:
        self._samples.close()

    def _header(self, data_bytes: int) -> bytes:
        law, rate = self._law, self._sample_rate_hz
        width = law.bytes_per_sample
        described = struct.pack("<HHIIHH", law.tag, 1, rate, rate * width, width, 8 * width)
        fact = b""
        if law is not LINEAR:  # Others say how much of an extension follows, and their length.
            described += struct.pack("<H", 0)
            # Here players take the largest size there is for the true one, and 0 for "not known".
            samples = 0 if data_bytes == _UNKNOWN else data_bytes // width
            fact = struct.pack("<4sII", b"fact", 4, samples)
        chunks = struct.pack("<4sI", b"fmt ", len(described)) + described + fact
        riff_bytes = 4 + len(chunks) + 8 + data_bytes + data_bytes % 2
        return (
            struct.pack("<4sI4s", b"RIFF", min(riff_bytes, _UNKNOWN), b"WAVE")
            + chunks
            + struct.pack("<4sI", b"data", data_bytes)
        )
