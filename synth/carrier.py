"""Very short phrases are said after a sentence, and cut out.

Said alone, "Eight." is heard as "late" and "E." as "leave": the model adds sounds at either end of
what is very short. Behind another sentence it does so half as often (docs/adr/0007).
"""

from __future__ import annotations

import numpy as np

from synth.audio.check import Samples
from synth.audio.trim import AUDIBLE
from synth.engine import SAMPLE_RATE_HZ

CARRIERS = {"a": "I can hear you.", "b": "I can hear you."}
"""By language. English alone: where to cut is told by the times of words, and only its G2P has
words. It ends in a vowel, since a stop is heard at the beginning of what follows."""

MAX_SOUNDS = 4
"""A phrase of more is as good alone."""

_NO_SOUNDS = frozenset("ˈˌː")
_FRAME_SAMPLES = SAMPLE_RATE_HZ * 5 // 1000
_REACH_S = 0.060
"""How far into the words before and after it the pause may lie, at the voice's own pace."""


def is_very_short(phonemes: str) -> bool:
    """Marks of stress and length are no sounds."""
    sounds = sum(symbol.isalpha() and symbol not in _NO_SOUNDS for symbol in phonemes)
    return sounds <= MAX_SOUNDS


def find_cut(samples: Samples, before_s: float, after_s: float, speed: float) -> int | None:
    """The sample in the middle of the longest pause between a word that ends at `before_s` and one
    that begins at `after_s`. None where there is no pause."""
    reach_s = _REACH_S / speed
    begin = max(0, round((before_s - reach_s) * SAMPLE_RATE_HZ))
    end = round((after_s + reach_s) * SAMPLE_RATE_HZ)
    window = np.abs(samples[begin:end])
    whole = len(window) // _FRAME_SAMPLES
    peaks = window[: whole * _FRAME_SAMPLES].reshape(whole, _FRAME_SAMPLES).max(axis=1, initial=0)
    edges = np.flatnonzero(np.diff((peaks <= AUDIBLE).astype(np.int8), prepend=0, append=0))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return None
    first, last = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return begin + int(first + last) * _FRAME_SAMPLES // 2
