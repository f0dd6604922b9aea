"""Encode audio as it comes: every format can be streamed, and is made whole at the end.

What is streamed and what is kept differ in the header alone. A stream's header is sent before its
length is known; the kept file tells the true one, so that players show it and cut nothing off.

Audio comes in at 24 kHz. Formats of another rate are resampled on the way, band-limited, by one
resampler for the whole of a reply, so that nothing is heard where two clips meet.
"""

from __future__ import annotations

import numpy as np
import soxr

from synth.audio.encoders.encoder import Encoder, Finished
from synth.audio.encoders.ffmpeg import AacEncoder, OpusEncoder
from synth.audio.encoders.raw import RawEncoder, a_law, linear, mu_law
from synth.audio.encoders.sndfile import FlacEncoder, Mp3Encoder
from synth.audio.encoders.wav import A_LAW, LINEAR, MU_LAW, WavEncoder
from synth.audio.formats import Format
from synth.engine import SAMPLE_RATE_HZ, Pcm

ENCODER_VERSION = "1"
"""Part of the key of what is kept: raise it when the bytes made from the same samples change."""


def open_encoder(format: Format) -> Encoder:
    """For 24 kHz PCM. Blocking, as the encoder is: some codecs load a library first."""
    encoder = _open_codec(format)
    if format.sample_rate_hz == SAMPLE_RATE_HZ:
        return encoder
    return _Resampling(encoder, format.sample_rate_hz)


def _open_codec(format: Format) -> Encoder:
    """For PCM that has the rate of the format already."""
    rate_hz, kbps = format.sample_rate_hz, format.bitrate_kbps or 0
    match format.codec:
        case "mp3":
            return Mp3Encoder(rate_hz, kbps)
        case "opus":
            return OpusEncoder(rate_hz, kbps)
        case "aac":
            return AacEncoder(rate_hz, kbps)
        case "flac":
            return FlacEncoder(rate_hz)
        case "wav":
            return WavEncoder(rate_hz, LINEAR)
        case "wav_ulaw":
            return WavEncoder(rate_hz, MU_LAW)
        case "wav_alaw":
            return WavEncoder(rate_hz, A_LAW)
        case "pcm" | "l16":
            return RawEncoder(linear)
        case "ulaw":
            return RawEncoder(mu_law)
        case "alaw":
            return RawEncoder(a_law)
    raise AssertionError(format)


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

    def close(self) -> None:
        self._encoder.close()

    def _resampled(self, pcm: Pcm, last: bool = False) -> Pcm:
        samples = self._resampler.resample_chunk(pcm.astype(np.float32), last=last)
        limits = np.iinfo(np.int16)
        # Between two samples at the limit the wave may rise above it.
        held: Pcm = np.clip(np.rint(samples), limits.min, limits.max).astype(np.int16)
        return held
