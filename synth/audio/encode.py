"""Encode audio as it comes: every format can be streamed, and is made whole at the end.

What is streamed and what is kept differ in the header alone. A stream's header is sent before its
length is known; the kept file tells the true one, so that players show it and cut nothing off.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Protocol

import soundfile

from synth.engine import SAMPLE_RATE_HZ, Pcm

_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Format:
    """One value of `response_format`."""

    name: str
    content_type: str


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format("mp3", "audio/mpeg"),
        Format("wav", "audio/wav"),
        Format("pcm", f"audio/pcm;rate={SAMPLE_RATE_HZ}"),
    )
}
"""By name; the first is the default."""

ENCODER_VERSION = "1"
"""Part of the key of what is kept: raise it when the bytes made from the same samples change."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an encoding."""

    tail: bytes
    """What a stream still has to be sent."""
    whole: bytes
    """The complete file, with a header that tells its true length."""


class Encoder(Protocol):
    """Turns mono 24 kHz PCM into the bytes of one format. Blocking: call it in a thread."""

    def write(self, pcm: Pcm) -> bytes:
        """Encode more audio. Returns what a stream can be sent now, which may be nothing."""
        ...

    def finish(self) -> Finished:
        """Encode what is still held back. Nothing can be written afterwards."""
        ...


def open_encoder(format: Format) -> Encoder:
    match format.name:
        case "mp3":
            return _Mp3Encoder()
        case "wav":
            return _WavEncoder()
        case "pcm":
            return _PcmEncoder()
    raise ValueError(f"there is no encoder for {format.name!r}")


class _PcmEncoder:
    """Signed 16-bit little-endian samples and nothing else."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, pcm: Pcm) -> bytes:
        data = pcm.astype("<i2", copy=False).tobytes()
        self._data += data
        return data

    def finish(self) -> Finished:
        return Finished(tail=b"", whole=bytes(self._data))


class _WavEncoder:
    """PCM behind a RIFF header. A stream's header gives the largest size there is, which players
    and Python's `wave` take for "until the end"."""

    _UNKNOWN_BYTES = 0xFFFFFFFF

    def __init__(self) -> None:
        self._pcm = _PcmEncoder()
        self._pending_header = _wav_header(self._UNKNOWN_BYTES)

    def write(self, pcm: Pcm) -> bytes:
        header, self._pending_header = self._pending_header, b""
        return header + self._pcm.write(pcm)

    def finish(self) -> Finished:
        data = self._pcm.finish().whole
        return Finished(tail=self._pending_header, whole=_wav_header(len(data)) + data)


def _wav_header(data_bytes: int) -> bytes:
    """RIFF/WAVE, format 1 (PCM), mono, 16-bit."""
    riff_bytes = min(data_bytes + 36, 0xFFFFFFFF)
    rate = SAMPLE_RATE_HZ
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", riff_bytes, b"WAVE"),
        *(b"fmt ", 16, 1, 1, rate, rate * _BYTES_PER_SAMPLE, _BYTES_PER_SAMPLE, 16),
        *(b"data", data_bytes),
    )


class _Mp3Encoder:
    """64 kbit/s through libsndfile and LAME.

    LAME's first frame carries no audio but the true length, and is written again at the end. Before
    that it says "one frame", and some decoders believe it: a stream goes without it. That is also
    why the bit rate is constant: without that frame, decoders work the length out from the rate of
    the next one, and libsndfile's own cuts the end off a stream of variable rate.
    """

    _COMPRESSION_LEVEL = 0.63
    """libsndfile's name for 64 kbit/s: 160 at 0.0, falling to 8 at 1.0."""

    def __init__(self) -> None:
        self._file = _Mp3File()
        self._sent = 0
        self._encoder = soundfile.SoundFile(
            self._file,
            "w",
            samplerate=SAMPLE_RATE_HZ,
            channels=1,
            format="MP3",
            bitrate_mode="CONSTANT",
            compression_level=self._COMPRESSION_LEVEL,
        )

    def write(self, pcm: Pcm) -> bytes:
        self._encoder.write(pcm)
        self._encoder.flush()
        return self._unsent()

    def finish(self) -> Finished:
        self._encoder.close()
        return Finished(tail=self._unsent(), whole=self._file.getvalue())

    def _unsent(self) -> bytes:
        begin = max(self._sent, self._file.header_bytes)
        data = self._file.getvalue()
        self._sent = max(begin, len(data))
        return data[begin:]


class _Mp3File(io.BytesIO):
    """A file in memory that remembers how long its first frame is."""

    header_bytes = 0

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        if not self.header_bytes and self.tell() == 0:
            self.header_bytes = len(data)
        return super().write(data)
