"""What audio can be encoded as: the rates, content types and extensions of each codec. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from synth.engine import SAMPLE_RATE_HZ

SAMPLE_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
"""Those that any codec has."""


@dataclass(frozen=True, slots=True)
class Codec:
    """What audio can be encoded as, and how."""

    name: str
    content_type: str
    """Of HTTP; `{rate_hz}` stands for the sample rate."""
    extensions: tuple[str, ...]
    """Of file names, without the dot; the first is the usual one."""
    sample_rates_hz: tuple[int, ...] = SAMPLE_RATES_HZ
    default_sample_rate_hz: int = SAMPLE_RATE_HZ
    bitrates_kbps: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """By sample rate in Hz; empty where bits are not for the choosing."""
    default_bitrates_kbps: Mapping[int, int] = field(default_factory=dict)
    """By sample rate in Hz."""


_KBPS_TO_160 = (40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS_TO_320 = (56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)

CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec(
            "mp3",
            "audio/mpeg",
            ("mp3",),
            # Those that MPEG has, but for the lowest: at them a frame is too small to hold the
            # file's true length, which LAME then leaves out.
            bitrates_kbps={
                8_000: (24, 32, 40, 48, 56, 64),
                16_000: _KBPS_TO_160,
                22_050: _KBPS_TO_160[2:],
                24_000: _KBPS_TO_160[3:],
                44_100: _KBPS_TO_320,
                48_000: _KBPS_TO_320[1:],
            },
            default_bitrates_kbps={
                8_000: 32,
                16_000: 48,
                22_050: 64,
                24_000: 64,
                44_100: 96,
                48_000: 96,
            },
        ),
        Codec(
            "opus",
            # `audio/opus` is Opus in RTP. In Ogg it is this (RFC 7845), and browsers play no other.
            "audio/ogg",
            ("opus", "ogg"),
            sample_rates_hz=(8_000, 16_000, 24_000, 48_000),
            bitrates_kbps=dict.fromkeys((8_000, 16_000, 24_000, 48_000), range(6, 257)),
            default_bitrates_kbps={8_000: 24, 16_000: 24, 24_000: 32, 48_000: 48},
        ),
        Codec(
            "aac",
            "audio/aac",
            ("aac",),
            # At lower rates its frames are longer than 40 ms, and none of them can be cut.
            sample_rates_hz=(44_100, 48_000),
            default_sample_rate_hz=48_000,
            bitrates_kbps=dict.fromkeys((44_100, 48_000), range(24, 161)),
            default_bitrates_kbps={44_100: 64, 48_000: 64},
        ),
        Codec("flac", "audio/flac", ("flac",)),
        Codec("wav", "audio/wav", ("wav",)),
        Codec("pcm", "audio/pcm;rate={rate_hz}", ("pcm",)),
        # As telephone platforms take it: little-endian, unlike the audio/L16 of RFC 2586.
        Codec("l16", "audio/l16;rate={rate_hz}", ("pcm",)),
        Codec("ulaw", "audio/basic", ("ulaw",), (8_000,), 8_000),
        # audio/PCMA is for RTP alone (RFC 4856). This is what platforms say that deal in files.
        Codec("alaw", "audio/x-alaw-basic", ("alaw",), (8_000,), 8_000),
        Codec("wav_ulaw", "audio/wav", ("wav",), (8_000, 16_000), 8_000),
        Codec("wav_alaw", "audio/wav", ("wav",), (8_000, 16_000), 8_000),
    )
}
"""By name; the first is the default."""
