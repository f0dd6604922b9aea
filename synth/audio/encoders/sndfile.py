"""MP3 and FLAC, as libsndfile writes them."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from synth.audio.encoders.encoder import Finished
from synth.audio.encoders.mp3_frames import (
    last_frame_bytes,
    open_info_frame,
    samples_of_frame,
    surplus_samples,
)
from synth.audio.trim import AUDIBLE
from synth.engine import Pcm

_MP3_KBPS = {
    8_000: (8, 64),
    16_000: (8, 160),
    22_050: (8, 160),
    24_000: (8, 160),
    44_100: (32, 320),
    48_000: (32, 320),
}
"""The lowest and the highest bit rate that libsndfile knows at a sample rate in Hz."""

_MORE_KBPS = {8_000: 1.2}
"""Is added to what is asked for, by sample rate; 0.25 at others. libsndfile rounds down, so that
exactly 64 may be 63. LAME writes at the nearest rate that there is, but chooses its filters by what
was asked. What was kept before there was a choice was asked for like this, and stays the same."""

_LONGEST_PADDING_S = 0.019
_MOST_LOST_S = 0.017
"""Of the audio, with the last frame. Together they are a frame at 16 kHz; at 8 kHz it has twice as
much, so that there a stream may be up to 55 ms longer than its audio. Replies end with 40 ms in
which nothing is heard."""

_FLAC_LEVEL = 0.25
"""libsndfile's name for libFLAC's level 2: the highest with blocks of 1,152 samples. Above it they
have 4,096, half a second at 8 kHz that a stream would wait for, and save a twentieth."""


class _File(io.BytesIO):
    """A file in memory that is sent while it grows, and gets its header mended at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first_write_bytes = 0
        self._sent = 0

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        if not self.first_write_bytes and self.tell() == 0:
            self.first_write_bytes = len(data)
        return super().write(data)

    def unsent(self, begin: int = 0) -> bytes:
        """What was not returned yet of all that stands from `begin` on."""
        begin = max(self._sent, begin)
        with self.getbuffer() as content:
            data = bytes(content[begin:])
        self._sent = begin + len(data)
        return data


class Mp3Encoder:
    """Constant bit rate, through LAME. Holds back up to three frames: 73 ms at 24 kHz.

    LAME's first frame carries no audio but the true length, and is written again at the end. Before
    that it says nothing. A stream has another in its place, which tells the codec's delay and
    leaves the length open. That is also why the bit rate is constant: without the length, decoders
    work it out from the rate of the next frame, and libsndfile's own cuts the end off a stream of
    variable rate.

    What LAME fills its last frame up with cannot be told in a stream. Where that is more than
    19 ms, and no sound is lost, the stream goes without the frame.
    """

    def __init__(self, sample_rate_hz: int, bitrate_kbps: int) -> None:
        lowest, highest = _MP3_KBPS[sample_rate_hz]
        asked_kbps = min(bitrate_kbps + _MORE_KBPS.get(sample_rate_hz, 0.25), highest)
        self._sample_rate_hz = sample_rate_hz
        self._end: Pcm = np.zeros(0, dtype=np.int16)
        self._began = False
        self._file = _File()
        self._encoder = soundfile.SoundFile(
            self._file,
            "w",
            samplerate=sample_rate_hz,
            channels=1,
            format="MP3",
            bitrate_mode="CONSTANT",
            # libsndfile's name for the bit rate.
            compression_level=(highest - asked_kbps) / (highest - lowest),
        )

    def write(self, pcm: Pcm) -> bytes:
        self._encoder.write(pcm)
        self._encoder.flush()
        kept = slice(-self._samples(_MOST_LOST_S), None)
        self._end = np.concatenate([self._end, pcm[kept]])[kept]
        return self._begun(self._file.unsent(self._file.first_write_bytes))

    def finish(self) -> Finished:
        self._encoder.close()
        whole = self._file.getvalue()
        tail = self._file.unsent(self._file.first_write_bytes)
        if tail and self._ends_in_padding(whole):
            tail = tail[: -last_frame_bytes(whole, self._file.first_write_bytes)]
        return Finished(tail=self._begun(tail), whole=whole)

    def close(self) -> None:
        self._encoder.close()

    def _begun(self, data: bytes) -> bytes:
        """With a stream's first frame, where these are its first bytes."""
        if self._began or not data:
            return data
        self._began = True
        return open_info_frame(self._file.getvalue()[: self._file.first_write_bytes]) + data

    def _ends_in_padding(self, whole: bytes) -> bool:
        """Whether a stream is nearer to its length without the last frame, and nobody hears it."""
        most_lost = self._samples(_MOST_LOST_S)
        surplus = surplus_samples(whole)
        lost = max(samples_of_frame(whole) - surplus, 0)
        # FFmpeg opens nothing that has a single frame left, as the shortest audio would.
        too_short = len(self._end) < most_lost
        if too_short or surplus <= self._samples(_LONGEST_PADDING_S) or lost > most_lost:
            return False
        lost_peak = np.abs(self._end[len(self._end) - lost :].astype(np.int32)).max(initial=0)
        return bool(lost_peak <= AUDIBLE * np.iinfo(np.int16).max)

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._sample_rate_hz)


class FlacEncoder:
    """16 bits, lossless. Holds back up to a block: 48 ms at 24 kHz.

    The header of a stream has no length, no digest and no sizes of blocks, which is allowed.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._file = _File()
        self._encoder = soundfile.SoundFile(
            self._file,
            "w",
            samplerate=sample_rate_hz,
            channels=1,
            format="FLAC",
            subtype="PCM_16",
            compression_level=_FLAC_LEVEL,
        )

    def write(self, pcm: Pcm) -> bytes:
        self._encoder.write(pcm)
        self._encoder.flush()
        return self._file.unsent()

    def finish(self) -> Finished:
        self._encoder.close()
        return Finished(tail=self._file.unsent(), whole=self._file.getvalue())

    def close(self) -> None:
        self._encoder.close()
