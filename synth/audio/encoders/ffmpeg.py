"""Opus and AAC, as FFmpeg's libraries write them: what libsndfile has not, or not for a stream.

A stream and the kept file are the same bytes. PyAV is imported when an encoder is opened, and not
before: it takes a third of a second.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from synth.audio.encoders.encoder import Finished
from synth.engine import Pcm

if TYPE_CHECKING:
    import av

_PAGE_S = 0.06
"""Of Ogg. By default a page holds a second, which a stream would wait for; a page for every packet
would cost a third of the bits."""

_AAC_FRAME = 1024
_MAX_PADDING_S = 0.019
"""What a file of AAC may last longer than its audio."""


class OpusEncoder:
    """Opus in Ogg. Holds back up to 110 ms.

    The file says how many samples are to be left out at both ends, and so lasts exactly as long as
    what went in. Whatever its rate is, decoders put out 48 kHz, unless they are asked for another.
    """

    def __init__(self, sample_rate_hz: int, bitrate_kbps: int) -> None:
        self._file = _File(
            "ogg",
            # Otherwise every file has a number of its own in it.
            {"fflags": "+bitexact", "serial_offset": "1", "page_duration": f"{_PAGE_S * 1e6:.0f}"},
        )
        # Constrained: no more bits than were asked for, whatever is said.
        options = {"vbr": "constrained", "application": "audio"}
        self._track = _Track(self._file, "libopus", sample_rate_hz, bitrate_kbps, options)

    def write(self, pcm: Pcm) -> bytes:
        for packet in self._track.encode(pcm):
            self._file.mux(packet)
        return self._file.unsent()

    def finish(self) -> Finished:
        try:
            for packet in self._track.flush():
                self._file.mux(packet)
            return self._file.finish()
        finally:
            self.close()

    def close(self) -> None:
        self._file.close()


class AacEncoder:
    """AAC-LC in ADTS. Holds back up to three frames: 64 ms at 48 kHz.

    A file of ADTS is a number of frames, and nothing in it tells what to leave out of them. So the
    encoder's first, which holds what is before the beginning, is not written. What is in the first
    21 ms then comes out faded in, with its mirror image faded out before it: replies begin with
    10 ms of near silence, and speech hides the rest. The last frame is filled up with silence,
    unless the file would last 19 ms too long for it: then the 4 ms or less that are in it are cut
    off, in which replies have faded out.
    """

    def __init__(self, sample_rate_hz: int, bitrate_kbps: int) -> None:
        self._file = _File("adts", {})
        self._track = _Track(self._file, "aac", sample_rate_hz, bitrate_kbps, {})
        self._least_samples = _AAC_FRAME - math.floor(_MAX_PADDING_S * sample_rate_hz)

    def write(self, pcm: Pcm) -> bytes:
        self._write(self._track.encode(pcm))
        return self._file.unsent()

    def finish(self) -> Finished:
        left_out = self._track.samples - self._least_samples
        try:
            self._write(self._track.flush(), end=max(left_out, 0) + 1)
            return self._file.finish()
        finally:
            self.close()

    def close(self) -> None:
        self._file.close()

    def _write(self, packets: list[av.Packet[Any]], end: float = math.inf) -> None:
        """Those that begin within the audio, and before `end` in samples."""
        for packet in packets:
            assert packet.pts is not None
            if 0 <= packet.pts < end:
                self._file.mux(packet)


class _Memory:
    """What PyAV writes to. Not a part of `_File`: the two would keep each other alive."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


class _File:
    """A container that is written into memory, from its beginning to its end."""

    def __init__(self, container: str, options: dict[str, str]) -> None:
        import av

        self._memory = _Memory()
        self._sent = 0
        self._closed = False
        self.container: Any = av.open(
            self._memory, "w", format=container, container_options={"flush_packets": "1", **options}
        )

    def mux(self, packet: av.Packet[Any]) -> None:
        self.container.mux(packet)

    def unsent(self) -> bytes:
        """What was not returned yet."""
        data = bytes(self._memory.data[self._sent :])
        self._sent += len(data)
        return data

    def finish(self) -> Finished:
        self.close()
        return Finished(tail=self.unsent(), whole=bytes(self._memory.data))

    def close(self) -> None:
        if not self._closed:
            self._closed = True  # Also where closing it fails: it is not to be tried twice.
            self.container.close()


class _Track:
    """The samples of a file, on their way through a codec."""

    def __init__(
        self, file: _File, codec: str, rate_hz: int, kbps: int, options: dict[str, str]
    ) -> None:
        self._stream = file.container.add_stream(codec, rate=rate_hz)
        self._stream.layout = "mono"
        self._stream.bit_rate = kbps * 1000
        self._stream.options = {"flags": "+bitexact", **options}
        self._rate_hz = rate_hz
        self.samples = 0
        """That were encoded until now."""

    def encode(self, pcm: Pcm) -> list[av.Packet[Any]]:
        if not len(pcm):
            return []
        import av

        # PyAV brings it to the codec's own samples, and cuts it into frames.
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], "s16", "mono")
        frame.sample_rate = self._rate_hz
        frame.pts = self.samples
        self.samples += len(pcm)
        packets: list[av.Packet[Any]] = self._stream.encode(frame)
        return packets

    def flush(self) -> list[av.Packet[Any]]:
        if not self.samples:
            return []
        packets: list[av.Packet[Any]] = self._stream.encode(None)
        return packets
