"""Cut the silence that the model puts before and after every utterance.

Measured on ten voices: 200 to 490 ms before the first sound and 250 to 600 ms after the last, under
-60 dBFS throughout. Left in, every cached reply would open with a third of a second of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth.audio.check import Samples
from synth.engine import SAMPLE_RATE_HZ

AUDIBLE = 0.01
"""Amplitude from which a listener on a telephone hears something: -40 dBFS."""

_FAINT = 0.002
"""Amplitude, -54 dBFS, at which a breathy consonant such as that of "thank" begins. The model's own
silence stays below half of it."""

_FRAME_S = 0.010
_LEAD_PAD_S = 0.010
_TAIL_PAD_S = 0.040
_MAX_LEAD_S = 0.050
"""From the cut to the first audible sample, at the voice's own pace."""
_MAX_TAIL_S = 0.120
"""From the last audible sample to the cut: some voices breathe out for longer than that."""
_FADE_S = 0.004

# A tick is a faint, short sound of the model's own, a good while away from any speech. Seen at the
# end of "Yes." by bf_isabella: 20 ms at -35 dBFS after 190 ms of silence.
_TICK_MAX_S = 0.050
_TICK_MAX_SHARE_OF_PEAK = 0.1
_TICK_MIN_GAP_S = 0.100


@dataclass(frozen=True, slots=True)
class Trimmed:
    samples: Samples
    start_s: float
    """How much was cut off in front."""


def trim(samples: Samples, speed: float = 1.0) -> Trimmed:
    """Keep from just before the first sound to just after the last; fade the two ends.

    Slow speech has slow consonants, so what may stand before the first audible sample grows as
    `speed` falls below 1.0. `samples` must not be silent: see `synth.audio.check`.
    """
    start, end = _speech(samples)
    audible = start + int(np.argmax(np.abs(samples[start:end]) > AUDIBLE))
    audible_end = end - int(np.argmax(np.abs(samples[start:end][::-1]) > AUDIBLE))
    slowness = 1 / min(speed, 1.0)
    longest_lead, longest_tail = _samples(_MAX_LEAD_S * slowness), _samples(_MAX_TAIL_S * slowness)
    start = max(start - _samples(_LEAD_PAD_S), audible - longest_lead, 0)
    end = min(end + _samples(_TAIL_PAD_S), audible_end + longest_tail, len(samples))
    return Trimmed(_faded(samples[start:end]), start / SAMPLE_RATE_HZ)


def _speech(samples: Samples) -> tuple[int, int]:
    """Where the first sound begins and the last one ends, ticks not counted."""
    frame = _samples(_FRAME_S)
    whole_frames = np.pad(np.abs(samples), (0, -len(samples) % frame))
    peaks = whole_frames.reshape(-1, frame).max(axis=1, initial=0.0)
    runs = _runs(peaks > _FAINT)
    for last in (False, True):
        while len(runs) > 1 and _is_tick(peaks, runs, last):
            runs = runs[:-1] if last else runs[1:]
    if not runs:
        return 0, len(samples)
    (first_frame, _), (_, end_frame) = runs[0], runs[-1]
    first = first_frame * frame
    # To the sample: a frame is as long as the pad in front of it.
    onset = first + int(np.argmax(np.abs(samples[first:]) > _FAINT))
    return onset, min(end_frame * frame, len(samples))


def _is_tick(peaks: Samples, runs: list[tuple[int, int]], last: bool) -> bool:
    (begin, end), gap_s = (
        (runs[-1], (runs[-1][0] - runs[-2][1]) * _FRAME_S)
        if last
        else (runs[0], (runs[1][0] - runs[0][1]) * _FRAME_S)
    )
    return (
        (end - begin) * _FRAME_S <= _TICK_MAX_S
        and gap_s >= _TICK_MIN_GAP_S
        and float(peaks[begin:end].max()) <= _TICK_MAX_SHARE_OF_PEAK * float(peaks.max())
    )


def _runs(active: np.typing.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The stretches of True, as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def _faded(samples: Samples) -> Samples:
    """A copy that begins and ends at zero, so that no cut is heard as a click."""
    faded = samples.copy()
    length = min(_samples(_FADE_S), len(faded) // 2)
    ramp = np.linspace(0.0, 1.0, length, dtype=np.float32)
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)
