"""What a client got, decoded, against what the server says it made."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from faster_whisper import decode_audio

from tests.real.recogniser import Heard, Recogniser, word_error_rate

_RAW = {"pcm": "PCM_16", "l16": "PCM_16", "ulaw": "ULAW", "alaw": "ALAW"}
"""Formats without a header, by what libsndfile calls their encoding."""

_SPARE_S = 0.15
"""How much longer than its samples a reply of a codec with frames may be."""

_ANY_RATE_HZ = 16_000


def as_wav(reply: bytes, format: str, rate_hz: int = 24_000) -> bytes:
    """A file that any decoder reads. `rate_hz` counts where `format` has no header."""
    if format in ("aac", "flac"):
        # libsndfile does not know AAC, nor FLAC whose header leaves the length open.
        samples = decode_audio(io.BytesIO(reply), sampling_rate=_ANY_RATE_HZ)
        rate_hz = _ANY_RATE_HZ
    elif format in _RAW:
        samples, _ = soundfile.read(
            io.BytesIO(reply),
            format="RAW",
            subtype=_RAW[format],
            endian="LITTLE",
            samplerate=rate_hz,
            channels=1,
        )
    else:
        samples, rate_hz = soundfile.read(io.BytesIO(reply), dtype="float32")
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


def is_said(
    recogniser: Recogniser,
    text: str,
    duration_s: float,
    reply: bytes,
    format: str,
    rate_hz: int = 24_000,
) -> Heard:
    """Check that `reply` is `text`, to its end: `duration_s` is how long it is to be."""
    heard = recogniser.hear(as_wav(reply, format, rate_hz))
    assert word_error_rate([text], [heard.text]) == 0, heard.text
    assert -0.01 <= heard.duration_s - duration_s <= _SPARE_S, (heard.duration_s, duration_s)
    return heard
