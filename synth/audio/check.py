"""Is what the model made fit to be heard? Asked before anything is stored or sent.

The bounds come from 41 voices at 0.25 to 4.0 times their own pace: 0.06 to 0.11 s for each sound of
a sentence, up to 0.46 s for a letter said alone; peaks from 0.08 to 0.89.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import regex

from synth.engine import BadAudio, Pcm

Samples = npt.NDArray[np.float32]
"""What the model makes: mono, 24 kHz, shape (n,), float32, full scale at -1.0 and 1.0."""

_SILENT_PEAK = 0.02
_LOUDEST_PEAK = 1.41
"""3 dB over full scale. Less than that is turned down, and nothing is lost."""
_CLIPPED = 0.999
_CLIPPED_MAX_SHARE = 0.001

_SHORTEST_S_PER_SOUND = 0.03
_LONGEST_S = 1.0
_LONGEST_S_PER_SYMBOL = 0.3
_SOUND = regex.compile(r"[\p{L}--\p{Lm}]", regex.V1)


def check_signal(samples: Samples) -> None:
    """Raises `BadAudio` where samples are missing, not numbers, silent or clipped."""
    if not np.isfinite(samples).all():
        raise BadAudio("The model's output holds values that are not numbers.")
    peaks = np.abs(samples)
    peak = float(peaks.max(initial=0.0))
    if peak < _SILENT_PEAK:
        raise BadAudio(f"The model's output is silent: its peak is {peak:.4f} of full scale.")
    clipped = float((peaks >= _CLIPPED).mean())
    if peak > _LOUDEST_PEAK or clipped > _CLIPPED_MAX_SHARE:
        raise BadAudio(
            f"The model's output is clipped: its peak is {peak:.2f} of full scale, "
            f"{clipped:.1%} of it at the limit."
        )


def check_length(duration_s: float, phonemes: str, speed: float) -> None:
    """Raises `BadAudio` where trimmed audio cannot be the speech of `phonemes`."""
    at_own_pace_s = duration_s * speed
    shortest_s = _SHORTEST_S_PER_SOUND * len(_SOUND.findall(phonemes))
    longest_s = _LONGEST_S + _LONGEST_S_PER_SYMBOL * len(phonemes)
    if not shortest_s <= at_own_pace_s <= longest_s:
        raise BadAudio(
            f"The model's output has an implausible length: {at_own_pace_s:.2f} s at normal pace, "
            f"where its {len(phonemes)} phonemes take {shortest_s:.2f} to {longest_s:.2f} s."
        )


def to_pcm(samples: Samples) -> Pcm:
    """16-bit samples of checked audio, turned down where they would not fit."""
    peak = float(np.abs(samples).max(initial=0.0))
    gain = _CLIPPED / peak if peak > _CLIPPED else 1.0
    return np.round(samples * (gain * np.iinfo(np.int16).max)).astype(np.int16)
