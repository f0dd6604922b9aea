"""When speech is heard: from bytes and the moments they arrived to the first audible sample.

A player begins at the first byte, and speech that opens with silence is not heard until the
silence has been played. So a sample is heard at

    max(arrival of the bytes that hold it, arrival of the first byte + the sample's offset),

and the time to the first audible sample is that of the first whose amplitude is over 0.01 of full
scale. For pcm and wav this is exact, from byte positions. Compressed formats are decoded whole:
which byte completes a sample is then unknown, and first byte + offset is a lower bound.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

AUDIBLE_AMPLITUDE = 0.01
"""Of full scale: -40 dBFS, above codec noise and dither, below any voice."""
PCM_RATE_HZ = 24_000
"""OpenAI's `pcm`: 24 kHz, 16 bit little-endian, mono, no header."""
DECODABLE = ("pcm", "wav", "mp3", "opus", "flac")
"""OpenAI's formats less aac, which soundfile does not read."""

_NOT_PCM_TYPE = re.compile(r"mpeg|mp3|wav|ogg|opus|flac|aac|mp4", re.IGNORECASE)
_NOT_PCM_BYTES = (b"RIFF", b"ID3", b"OggS", b"fLaC")
_RATE = re.compile(r"\brate\s*=\s*\"?(\d+)", re.IGNORECASE)
_EXTENSIBLE = 0xFFFE
_SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
    (6, 8): "ALAW",
    (7, 8): "ULAW",
}
"""(WAVE format tag, bits) to libsndfile's name."""


class MeasurementError(Exception):
    """There is nothing to measure: one line for the user."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A piece of a body."""

    end_bytes: int
    """Bytes of the body that were there once this piece was."""
    elapsed_s: float
    """Since just before the request was sent."""


@dataclass(frozen=True, slots=True)
class Received:
    """A complete response body and how it arrived."""

    body: bytes
    content_type: str
    arrivals: tuple[Arrival, ...]
    """At least one, `end_bytes` ascending."""
    total_s: float
    new_connection: bool
    """A connection was set up for it, so its times include that."""
    waited_s: float
    """Spent on 503s before it was accepted; in none of the times."""

    @property
    def first_byte_s(self) -> float:
        return self.arrivals[0].elapsed_s


@dataclass(frozen=True, slots=True)
class Heard:
    """What a listener makes of a body."""

    audible_offset_s: float
    """Silence before the first audible sample."""
    first_audible_s: float
    """Since just before the request was sent, as this module defines it."""
    audio_s: float
    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where uncompressed samples lie in a body, and what they are."""

    rate_hz: int
    channels: int
    subtype: str
    frame_bytes: int
    start_bytes: int
    end_bytes: int


def hear(received: Received, audio_format: str) -> Heard:
    """Find the first audible sample.

    :param audio_format: one of `DECODABLE`, as it was asked for.
    :raises MeasurementError: when the body is not that format, is cut inside a sample, or holds
        no audible sample.
    """
    if audio_format not in ("pcm", "wav"):
        return _hear_compressed(received, audio_format)
    layout = _pcm_layout(received) if audio_format == "pcm" else _wav_layout(received.body)
    held_bytes = layout.end_bytes - layout.start_bytes
    if held_bytes % layout.frame_bytes:
        raise MeasurementError(f"the audio ends inside a sample, after {held_bytes} bytes")
    samples, _ = soundfile.read(
        io.BytesIO(received.body[layout.start_bytes : layout.end_bytes]),
        samplerate=layout.rate_hz,
        channels=layout.channels,
        format="RAW",
        subtype=layout.subtype,
        endian="LITTLE",
        dtype="float64",
        always_2d=True,
    )
    frame = _first_audible(samples, layout.rate_hz)
    held_by = layout.start_bytes + (frame + 1) * layout.frame_bytes
    arrived_s = next(a.elapsed_s for a in received.arrivals if a.end_bytes >= held_by)
    offset_s = frame / layout.rate_hz
    return Heard(
        audible_offset_s=offset_s,
        first_audible_s=max(arrived_s, received.first_byte_s + offset_s),
        audio_s=len(samples) / layout.rate_hz,
        sample_rate_hz=layout.rate_hz,
    )


def _hear_compressed(received: Received, audio_format: str) -> Heard:
    try:
        samples, rate_hz = soundfile.read(
            io.BytesIO(received.body), dtype="float64", always_2d=True
        )
    except soundfile.SoundFileError as error:
        raise MeasurementError(f"the {audio_format} audio cannot be decoded: {error}") from None
    offset_s = _first_audible(samples, rate_hz) / rate_hz
    return Heard(
        audible_offset_s=offset_s,
        first_audible_s=received.first_byte_s + offset_s,
        audio_s=len(samples) / rate_hz,
        sample_rate_hz=rate_hz,
    )


def _first_audible(samples: np.ndarray[Any, np.dtype[np.float64]], rate_hz: int) -> int:
    """Index of the first audible frame of `samples`, shaped (frames, channels), full scale 1."""
    audible = np.abs(samples).max(axis=1, initial=0) > AUDIBLE_AMPLITUDE
    if not audible.any():
        raise MeasurementError(f"{len(samples) / rate_hz:.2f} s of audio, and all of it is silence")
    return int(audible.argmax())


def _pcm_layout(received: Received) -> _Layout:
    # Any bytes at all are pcm: a server that ignores `response_format` would be measured as noise.
    if _NOT_PCM_TYPE.search(received.content_type) or received.body.startswith(_NOT_PCM_BYTES):
        raise MeasurementError(f"asked for pcm, and the server sent {received.content_type}")
    named = _RATE.search(received.content_type)
    rate_hz = int(named[1]) if named else PCM_RATE_HZ
    if rate_hz == 0:
        raise MeasurementError(f"no sample rate: {received.content_type}")
    return _Layout(rate_hz, 1, "PCM_16", 2, 0, len(received.body))


def _wav_layout(body: bytes) -> _Layout:
    """Walk the RIFF chunks up to `data`.

    A streamed wav cannot know its sizes: the size of RIFF is never read, and that of `data` only
    believed when that many bytes are there (0 and 0xFFFFFFFF are usual in place of it).
    """
    if body[:4] != b"RIFF" or body[8:12] != b"WAVE":
        raise MeasurementError("asked for wav, and what came is none")
    at, fmt = 12, b""
    while at + 8 <= len(body):
        name, (size,) = body[at : at + 4], struct.unpack_from("<I", body, at + 4)
        at += 8
        if name == b"data":
            available = len(body) - at
            return _data_layout(fmt, at, size if 0 < size <= available else available)
        if name == b"fmt ":
            fmt = body[at : at + size]
        at += size + size % 2
    raise MeasurementError("the wav has no data chunk")


def _data_layout(fmt: bytes, start_bytes: int, size_bytes: int) -> _Layout:
    if len(fmt) < 16:
        raise MeasurementError("the wav has no fmt chunk before its data")
    tag, channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        (tag,) = struct.unpack_from("<H", fmt, 24)
    subtype = _SUBTYPES.get((tag, bits))
    if subtype is None or not rate_hz or not channels or frame_bytes != channels * bits // 8:
        raise MeasurementError(f"wav of an unknown kind: tag {tag}, {bits} bit, {rate_hz} Hz")
    return _Layout(rate_hz, channels, subtype, frame_bytes, start_bytes, start_bytes + size_bytes)
