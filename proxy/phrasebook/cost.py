"""What rendering comes to, before it is done: seconds of speech, bytes, time. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from proxy.whole_file import write_whole
from synth.audio.formats import Format, format_named

GUESSED_PACE = 0.4
"""Seconds of work for each second of speech, as two cores without a GPU take."""

_S_PER_CHAR = 0.047
_S_PER_TEXT = 0.3
"""Fitted to 1,460 clips of the shipped books. A language as a whole is within a quarter of that,
Hindi half as long again."""
_CLIP_BYTES_PER_S = 26_000
"""FLAC at 24 kHz."""
_BYTES_PER_SAMPLE = {
    **dict.fromkeys(("wav", "pcm", "l16"), 2),
    **dict.fromkeys(("ulaw", "alaw", "wav_ulaw", "wav_alaw"), 1),
}
_FLAC_BYTES_PER_S = {
    8_000: 8_500,
    16_000: 16_300,
    22_050: 22_000,
    24_000: 24_200,
    44_100: 39_000,
    48_000: 41_500,
}
"""Of speech, by sample rate in Hz."""
_OGG_BYTES_PER_S = 400
"""What pages add to Opus."""
_ENTRY_BYTES = 700
"""Of an envelope and its row."""


def speech_s(text: str, speed: float = 1.0) -> float:
    """How long a text takes to be said, roughly, in seconds."""
    return (_S_PER_TEXT + len(text) * _S_PER_CHAR) / speed


def clip_bytes(audio_s: float) -> int:
    """What a clip of this length takes on disk."""
    return round(audio_s * _CLIP_BYTES_PER_S) + _ENTRY_BYTES


def file_bytes(audio_s: float, format: str) -> int:
    """What a reply of this length takes on disk, in a format by its name."""
    return round(audio_s * _bytes_per_s(format_named(format))) + _ENTRY_BYTES


def _bytes_per_s(format: Format) -> int:
    if format.codec == "flac":
        return _FLAC_BYTES_PER_S[format.sample_rate_hz]
    if format.bitrate_kbps is None:
        return _BYTES_PER_SAMPLE[format.codec] * format.sample_rate_hz
    container = _OGG_BYTES_PER_S if format.codec == "opus" else 0
    return format.bitrate_kbps * 125 + container


@dataclass(frozen=True, slots=True)
class LastWarmUp:
    """What is remembered of the last warm-up that came to its end."""

    ended_at_s: float
    """In seconds since 1970."""
    took_s: float
    audio_s: float
    """Rendered in it; 0 where everything was cached already."""
    pace: float | None
    """Seconds of work for each second of audio, of the last one that rendered anything."""

    def save(self, path: Path) -> None:
        """Raises OSError: it cannot be written."""
        write_whole(path, json.dumps(asdict(self)).encode())

    @classmethod
    def load(cls, path: Path) -> LastWarmUp | None:
        """None: there was none, or nothing is known of it."""
        try:
            match json.loads(path.read_text(encoding="utf-8")):
                case {
                    "ended_at_s": int() | float() as ended_at_s,
                    "took_s": int() | float() as took_s,
                    "audio_s": int() | float() as audio_s,
                    "pace": int() | float() | None as pace,
                }:
                    return cls(ended_at_s, took_s, audio_s, pace)
        except (OSError, ValueError):
            pass
        return None
