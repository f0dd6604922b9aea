"""What an MP3 frame without audio tells of those that follow: the "info frame".

All numbers in it are big-endian. Its fields, and LAME's after them:
http://gabriel.mp3-tech.org/mp3infotag.html
"""

from __future__ import annotations

_ENCODER_DELAY_SAMPLES = 576
_DECODER_DELAY_SAMPLES = 529
"""Of every decoder. Those that know of the encoder's delay leave out both."""

_HAS_SIZE = (2).to_bytes(4)
_OPEN_SIZE = (2**31 - 1).to_bytes(4)
"""FFmpeg takes a frame that tells neither count nor size for audio. What is smaller than the stream
may be where a player ends."""

_ALL_FIELDS_BYTES = 120
"""From the tag's name to LAME's fields, where none of the others is missing."""
_TO_DELAYS_BYTES = 21
"""From the beginning of LAME's fields to the two lengths of 12 bits each."""


def open_info_frame(placeholder: bytes) -> bytes:
    """An info frame that tells the encoder's delay, and leaves the length open.

    `placeholder` is a whole frame of the stream, of which the header is taken.
    """
    lame = (
        b"LAME3.100"
        + bytes([1])  # The bit rate is constant.
        + bytes(11)
        + (_ENCODER_DELAY_SAMPLES << 12).to_bytes(3)
        + bytes(10)
    )
    begin = _tag_begin(placeholder)
    frame = placeholder[:4].ljust(begin, b"\0") + b"Info" + _HAS_SIZE + _OPEN_SIZE + lame
    return (frame + _crc_16(frame).to_bytes(2)).ljust(len(placeholder), b"\0")


def surplus_samples(info_frame: bytes) -> int:
    """How many samples more than went in are decoded after the delay, by one who cuts no end off.

    `info_frame` is that of a file that LAME has finished.
    """
    delays = _tag_begin(info_frame) + _ALL_FIELDS_BYTES + _TO_DELAYS_BYTES
    padding = int.from_bytes(info_frame[delays : delays + 3]) & 0xFFF
    return padding - _DECODER_DELAY_SAMPLES


def samples_of_frame(header: bytes) -> int:
    return 1152 if _is_mpeg_1(header) else 576


def last_frame_bytes(data: bytes, unpadded_bytes: int) -> int:
    """Of frames that all have one bit rate, which may be a byte longer than `unpadded_bytes`."""
    for padding in (0, 1):
        header = data[-unpadded_bytes - padding :][:3]
        same_kind = header[:2] == data[:2] and header[2] & ~2 == data[2] & ~2
        if same_kind and header[2] >> 1 & 1 == padding:
            return unpadded_bytes + padding
    raise AssertionError(f"no MP3 frame of {unpadded_bytes} bytes at the end")


def _tag_begin(frame: bytes) -> int:
    """Of mono: after the header, and the zeros that stand for the audio's own fields."""
    return 4 + (17 if _is_mpeg_1(frame) else 9)


def _is_mpeg_1(header: bytes) -> bool:
    """At 44.1 and 48 kHz. At lower rates it is MPEG 2, and at 8 kHz "2.5"."""
    return bool(header[1] & 8)


def _crc_16(data: bytes) -> int:
    """The kind that is called "ARC"."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
