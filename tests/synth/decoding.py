"""Audio to encode, and other people's decoders to read it back with."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

import av
import numpy as np
import soundfile

from synth.audio.encode import open_encoder
from synth.audio.encoders.encoder import Finished
from synth.audio.formats import format_named
from synth.engine import SAMPLE_RATE_HZ, Pcm

_CONTAINERS = {"ulaw": "mulaw", "alaw": "alaw", "aac": "aac", "flac": "flac"}
"""FFmpeg's names: of very short files it cannot tell by itself."""


def speechlike(samples: int) -> Pcm:
    """A tone that swells and falls, so that a piece which is lost or moved is noticed."""
    times_s = np.arange(samples) / SAMPLE_RATE_HZ
    loudness = 4_000 + 8_000 * np.abs(np.sin(2 * np.pi * 1.3 * times_s))
    return np.asarray(loudness * np.sin(2 * np.pi * 330 * times_s), dtype=np.int16)


def tone(frequency_hz: float, peak: int = 8_000, seconds: float = 1.0) -> Pcm:
    times_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.asarray(np.rint(peak * np.sin(2 * np.pi * frequency_hz * times_s)), dtype=np.int16)


def samples_of(name: str, pcm: Pcm) -> int:
    """How many samples of this format last as long as `pcm`."""
    return round(len(pcm) * format_named(name).sample_rate_hz / SAMPLE_RATE_HZ)


def encode(name: str, pcm: Pcm, writes: int = 1) -> tuple[bytes, Finished]:
    """The stream as a client gets it, and the end of the encoding."""
    encoder = open_encoder(format_named(name))
    stream = b"".join(encoder.write(part) for part in uneven(pcm, writes))
    finished = encoder.finish()
    return stream + finished.tail, finished


def uneven(pcm: Pcm, writes: int) -> Sequence[Pcm]:
    cuts = (np.linspace(0, 1, writes + 1)[1:-1] ** 2 * len(pcm)).astype(int)
    return np.split(pcm, cuts)


def resampled(name: str, pcm: Pcm) -> Pcm:
    """What went in, at the rate of the format: what is to come out."""
    linear = f"pcm_{format_named(name).sample_rate_hz}"
    return decode(linear, encode(linear, pcm)[0])


def decode(name: str, data: bytes) -> Pcm:
    """The samples at the rate of the format, which the file tells where it tells one."""
    format = format_named(name)
    match format.codec:
        case "pcm" | "l16":
            return np.frombuffer(data, dtype="<i2").astype(np.int16)
        case "wav":
            return _by_python(data, format.sample_rate_hz)
        case "ulaw" | "alaw" | "aac" | "flac":
            return decode_by_ffmpeg(data, format.sample_rate_hz, _CONTAINERS[format.codec])
    pcm, told_hz = soundfile.read(io.BytesIO(data), dtype="int16")
    assert told_hz == format.sample_rate_hz and pcm.ndim == 1
    return np.asarray(pcm, dtype=np.int16)


def _by_python(data: bytes, rate_hz: int) -> Pcm:
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert file.getframerate() == rate_hz
        frames = file.readframes(file.getnframes())
    return np.frombuffer(frames, dtype="<i2").astype(np.int16)


def decode_by_ffmpeg(data: bytes, rate_hz: int, container: str | None = None) -> Pcm:
    """`container` is FFmpeg's name; None lets it find out."""
    options = {"sample_rate": str(rate_hz)} if container and "law" in container else {}
    found = [np.zeros(0, dtype=np.int16)]
    with av.open(io.BytesIO(data), "r", format=container, options=options) as file:
        assert file.streams.audio[0].rate == rate_hz
        to_16_bit = av.AudioResampler("s16", "mono")
        for frame in file.decode(audio=0):
            found += [part.to_ndarray()[0] for part in to_16_bit.resample(frame)]
    return np.concatenate(found)
