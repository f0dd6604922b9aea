"""Encode audio as it comes: every format can be streamed, and is made whole at the end.

What is streamed and what is kept differ in the header alone. A stream's header is sent before its
length is known; the kept file tells the true one, so that players show it and cut nothing off.

Audio comes in at 24 kHz. Formats of another rate are resampled on the way, band-limited, by one
resampler for the whole of a reply, so that nothing is heard where two clips meet.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soundfile
import soxr

from synth.engine import SAMPLE_RATE_HZ, Pcm

CODECS = ("mp3", "wav", "pcm")
"""The first is the default."""

SAMPLE_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
"""Every codec can be had at each of them. 24 kHz, the model's own, is the default."""

_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Format:
    """A codec at a sample rate. Mono."""

    codec: str
    sample_rate_hz: int = SAMPLE_RATE_HZ

    @property
    def name(self) -> str:
        """The codec's own at 24 kHz; `pcm_8000` and the like at other rates."""
        if self.sample_rate_hz == SAMPLE_RATE_HZ:
            return self.codec
        return f"{self.codec}_{self.sample_rate_hz}"

    @property
    def extension(self) -> str:
        """Of a file's name, without the dot."""
        return self.codec

    @property
    def content_type(self) -> str:
        match self.codec:
            case "mp3":
                return "audio/mpeg"
            case "pcm":
                return f"audio/pcm;rate={self.sample_rate_hz}"
        return f"audio/{self.codec}"


FORMATS: dict[str, Format] = {
    format.name: format
    # Those of the default rate come first, and the second time they keep their place.
    for rate_hz in (SAMPLE_RATE_HZ, *SAMPLE_RATES_HZ)
    for format in (Format(codec, rate_hz) for codec in CODECS)
}
"""By name; the first is the default."""


def format_of(codec: str, sample_rate_hz: int) -> Format:
    """Raises `ValueError` where there is no such codec or rate."""
    if codec not in CODECS or sample_rate_hz not in SAMPLE_RATES_HZ:
        raise ValueError(f"there is no format {codec!r} at {sample_rate_hz} Hz")
    return Format(codec, sample_rate_hz)


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
    """Raises `ValueError` where there is no such codec or rate."""
    if format.sample_rate_hz not in SAMPLE_RATES_HZ:
        raise ValueError(f"there is no encoder for {format.name!r}")
    encoder = _open_codec(format)
    if format.sample_rate_hz == SAMPLE_RATE_HZ:
        return encoder
    return _Resampling(encoder, format.sample_rate_hz)


def _open_codec(format: Format) -> Encoder:
    """For PCM that has the rate of the format already."""
    match format.codec:
        case "mp3":
            return _Mp3Encoder(format.sample_rate_hz)
        case "wav":
            return _WavEncoder(format.sample_rate_hz)
        case "pcm":
            return _PcmEncoder()
    raise ValueError(f"there is no encoder for {format.name!r}")


class _Resampling:
    """Brings 24 kHz PCM to another rate, and hands it on to the encoder of a codec.

    n samples become n * rate / 24000, to the nearest whole one, however they are cut into writes.
    The resampler looks ahead: it holds back the last 27 ms of what it was given (65 ms for 8 kHz),
    and gives them out when more comes or all is finished.
    """

    def __init__(self, encoder: Encoder, sample_rate_hz: int) -> None:
        self._encoder = encoder
        # In floats: its 16-bit mode adds noise, and another one for another cut into writes.
        self._resampler = soxr.ResampleStream(SAMPLE_RATE_HZ, sample_rate_hz, 1, dtype="float32")

    def write(self, pcm: Pcm) -> bytes:
        return self._encoder.write(self._resampled(pcm))

    def finish(self) -> Finished:
        rest = self._encoder.write(self._resampled(np.zeros(0, dtype=np.int16), last=True))
        finished = self._encoder.finish()
        return Finished(tail=rest + finished.tail, whole=finished.whole)

    def _resampled(self, pcm: Pcm, last: bool = False) -> Pcm:
        samples = self._resampler.resample_chunk(pcm.astype(np.float32), last=last)
        limits = np.iinfo(np.int16)
        # Between two samples at the limit the wave may rise above it.
        held: Pcm = np.clip(np.rint(samples), limits.min, limits.max).astype(np.int16)
        return held


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

    def __init__(self, sample_rate_hz: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._pcm = _PcmEncoder()
        self._pending_header = self._header(self._UNKNOWN_BYTES)

    def write(self, pcm: Pcm) -> bytes:
        header, self._pending_header = self._pending_header, b""
        return header + self._pcm.write(pcm)

    def finish(self) -> Finished:
        data = self._pcm.finish().whole
        return Finished(tail=self._pending_header, whole=self._header(len(data)) + data)

    def _header(self, data_bytes: int) -> bytes:
        """RIFF/WAVE, format 1 (PCM), mono, 16-bit."""
        riff_bytes = min(data_bytes + 36, 0xFFFFFFFF)
        rate = self._sample_rate_hz
        return struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            *(b"RIFF", riff_bytes, b"WAVE"),
            *(b"fmt ", 16, 1, 1, rate, rate * _BYTES_PER_SAMPLE, _BYTES_PER_SAMPLE, 16),
            *(b"data", data_bytes),
        )


_MP3_COMPRESSION_LEVELS = {
    8_000: 0.55,
    16_000: 0.73,
    22_050: 0.63,
    24_000: 0.63,
    44_100: 0.77,
    48_000: 0.77,
}
"""libsndfile's name for the bit rate, by sample rate in Hz. 0.0 is the highest that MP3 has at that
sample rate (64 kbit/s at 8 kHz, 160 up to 24 kHz, 320 above), 1.0 the lowest (8, 8, 32)."""


class _Mp3Encoder:
    """Constant bit rate through libsndfile and LAME: 32 kbit/s at 8 kHz (where 64 is the most there
    is), 48 at 16, 64 at 22.05 and 24, 96 at 44.1 and 48 kHz.

    LAME's first frame carries no audio but the true length, and is written again at the end. Before
    that it says "one frame", and some decoders believe it: a stream goes without it. That is also
    why the bit rate is constant: without that frame, decoders work the length out from the rate of
    the next one, and libsndfile's own cuts the end off a stream of variable rate.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._file = _Mp3File()
        self._sent = 0
        self._encoder = soundfile.SoundFile(
            self._file,
            "w",
            samplerate=sample_rate_hz,
            channels=1,
            format="MP3",
            bitrate_mode="CONSTANT",
            compression_level=_MP3_COMPRESSION_LEVELS[sample_rate_hz],
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
