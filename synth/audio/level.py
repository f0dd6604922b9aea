"""Bring clips to one loudness, so that none stands out where they are put together.

Kokoro says a short phrase up to 3 dB louder than the sentence after it, in the same voice; how
much, and in which direction, depends on the voice (docs/adr/0007).
"""

from __future__ import annotations

import numpy as np

from synth.audio.check import Samples
from synth.audio.trim import AUDIBLE
from synth.engine import SAMPLE_RATE_HZ, BadAudio

TARGET_DBFS = -23.0
"""About what the model's voices have by themselves, so that most gains are small."""

MAX_GAIN_DB = 4.0
"""Up or down: a voice that whispers is left a whisper."""

_HIGHEST_PEAK = 0.98

_QUIETEST_DBFS = -35.0
_LOUDEST_DBFS = -12.0
"""41 voices, levelled, say a sentence and a short word at -25 to -17 dBFS."""

_FRAME_SAMPLES = SAMPLE_RATE_HZ * 20 // 1000


def active_level_dbfs(samples: Samples) -> float:
    """The level of speech, without the pauses in it: RMS over the frames of 20 ms in which
    something is audible. -inf where nothing is."""
    whole_frames = np.pad(samples.astype(np.float64), (0, -len(samples) % _FRAME_SAMPLES))
    powers = np.square(whole_frames.reshape(-1, _FRAME_SAMPLES)).mean(axis=1)
    active = powers[powers > AUDIBLE**2]
    return 10 * float(np.log10(active.mean())) if len(active) else -np.inf


def level(samples: Samples) -> Samples:
    """The same speech at `TARGET_DBFS`, or as near to it as `MAX_GAIN_DB` and the peaks allow."""
    now_dbfs = active_level_dbfs(samples)
    if not np.isfinite(now_dbfs):
        return samples
    gain_db = np.clip(TARGET_DBFS - now_dbfs, -MAX_GAIN_DB, MAX_GAIN_DB)
    loudest = _HIGHEST_PEAK / float(np.abs(samples).max())
    # Not turned down for its peaks alone: whoever makes 16-bit samples of it sees to those.
    gain = min(10 ** (gain_db / 20), max(loudest, 1.0))
    return samples * np.float32(gain)


def check_level(samples: Samples) -> None:
    """Raises `BadAudio` where levelled speech is far from where all voices are."""
    now_dbfs = active_level_dbfs(samples)
    if not _QUIETEST_DBFS <= now_dbfs <= _LOUDEST_DBFS:
        raise BadAudio(
            f"The model's output has an implausible level: {now_dbfs:.0f} dBFS, where speech has "
            f"{_QUIETEST_DBFS:.0f} to {_LOUDEST_DBFS:.0f}."
        )
