"""Samples out of bytes that come in any pieces, and whether they can be the speech of a text."""

from __future__ import annotations

import numpy as np

from proxy.speech.elsewhere import NotSpoken
from synth.engine import SAMPLE_RATE_HZ, Pcm

_SAMPLE_BYTES = 2
_PIECE_BYTES = SAMPLE_RATE_HZ * _SAMPLE_BYTES // 4
"""A quarter of a second: an encoder that is fed crumbs takes longer for the whole."""

_CONTAINERS = (b"RIFF", b"ID3", b"OggS", b"fLaC")
_MAGIC_BYTES = 4

_SILENT_PEAK = 0.02
"""Of full scale, as for the engine's own output."""

_SHORTEST_S_PER_LETTER = 0.02
_LONGEST_S = 10.0
_LONGEST_S_PER_CHARACTER = 0.75
"""At the voice's own pace. Wide: digits are long words, other voices are slower than Kokoro's, and
other servers leave silence at both ends. What is cut off early, or never ends, is outside."""


class PcmReader:
    """Turns the bytes of one speech into samples, and refuses what cannot be that speech."""

    def __init__(self, text: str, speed: float) -> None:
        letters = sum(character.isalpha() for character in text)
        self._shortest_s = _SHORTEST_S_PER_LETTER * letters / speed
        self._longest_s = _LONGEST_S + _LONGEST_S_PER_CHARACTER * len(text) / speed
        self._held = bytearray()
        self._samples = 0
        self._peak = 0

    def feed(self, data: bytes) -> Pcm | None:
        """Samples of what came so far, once there are enough of them; the first as soon as there is
        one.

        Raises:
            NotSpoken: it is a file and not samples, or is longer than the text can be.
        """
        self._held += data
        if not self._samples:
            if len(self._held) < _MAGIC_BYTES:
                return None
            if bytes(self._held).startswith(_CONTAINERS):
                raise NotSpoken("answered with an audio file instead of raw samples")
        elif len(self._held) < _PIECE_BYTES:
            return None
        return self._take()

    def finish(self) -> Pcm | None:
        """The rest, where there is any.

        Raises:
            NotSpoken: all of it together is not fit to be heard.
        """
        if len(self._held) % _SAMPLE_BYTES:
            raise NotSpoken("ended in the middle of a sample")
        rest = self._take() if self._held else None
        duration_s = self._samples / SAMPLE_RATE_HZ
        if duration_s < self._shortest_s or not self._samples:
            raise NotSpoken(
                f"ended after {duration_s:.2f} s, where the text takes {self._shortest_s:.2f} s "
                "at least"
            )
        if self._peak < _SILENT_PEAK * np.iinfo(np.int16).max:
            raise NotSpoken("answered with silence")
        return rest

    def _take(self) -> Pcm:
        whole = len(self._held) // _SAMPLE_BYTES * _SAMPLE_BYTES
        pcm = np.frombuffer(bytes(self._held[:whole]), dtype="<i2").astype(np.int16, copy=False)
        del self._held[:whole]
        self._samples += len(pcm)
        self._peak = max(self._peak, int(np.abs(pcm.astype(np.int32)).max(initial=0)))
        if self._samples > self._longest_s * SAMPLE_RATE_HZ:
            raise NotSpoken(f"does not end: {self._longest_s:.0f} s are plenty for the text")
        return pcm
