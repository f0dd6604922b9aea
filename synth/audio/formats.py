"""The formats that audio can be had in: codecs, rates, names, content types, extensions. Pure.

A format's name is what stands in keys, in the cache and in phrasebooks: the codec's at its default
rates, else with them behind it, `pcm_8000`, `mp3_8000_24k`. It never changes its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from synth.engine import SAMPLE_RATE_HZ

SAMPLE_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
"""Those that any codec has."""

_NAMES_KEPT = 1024
_SLN = {8_000: "sln", 16_000: "sln16", 24_000: "sln24", 44_100: "sln44", 48_000: "sln48"}
"""Asterisk's extensions of 16-bit samples without a header. Its `.pcm` is µ-law."""


class NoSuchFormat(ValueError):
    """There is no such codec, or it has no such rate. Says what there is, in half a sentence."""

    def __init__(
        self, field: Literal["codec", "sample_rate", "bitrate_kbps"], message: str
    ) -> None:
        super().__init__(message)
        self.field = field
        """What is wrong, as requests and phrasebooks call it."""


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


@dataclass(frozen=True, slots=True)
class Format:
    """A codec at a sample rate and a bit rate. Mono. See `format_of`.

    Raises `NoSuchFormat` where the codec has no such rates.
    """

    codec: str
    sample_rate_hz: int
    bitrate_kbps: int | None = None
    """None where the codec has none to choose."""

    def __post_init__(self) -> None:
        codec = _codec(self.codec)
        if self.sample_rate_hz not in codec.sample_rates_hz:
            raise NoSuchFormat(
                "sample_rate",
                f"{self.codec} has no sample rate of {self.sample_rate_hz} Hz: "
                f"it has {_either(codec.sample_rates_hz)}",
            )
        bitrates_kbps = codec.bitrates_kbps.get(self.sample_rate_hz)
        if bitrates_kbps is None:
            if self.bitrate_kbps is not None:
                raise NoSuchFormat(
                    "bitrate_kbps", f"it means nothing to {self.codec}: leave it out"
                )
        elif self.bitrate_kbps not in bitrates_kbps:
            raise NoSuchFormat(
                "bitrate_kbps",
                f"{self.codec} at {self.sample_rate_hz} Hz has no bit rate of "
                f"{self.bitrate_kbps} kbit/s: it has {_either(bitrates_kbps)}",
            )

    @property
    def name(self) -> str:
        """Stable, and read back by `format_named`."""
        codec = CODECS[self.codec]
        name = self.codec
        if self.sample_rate_hz != codec.default_sample_rate_hz:
            name += f"_{self.sample_rate_hz}"
        if self.bitrate_kbps != codec.default_bitrates_kbps.get(self.sample_rate_hz):
            name += f"_{self.bitrate_kbps}k"
        return name

    @property
    def content_type(self) -> str:
        return CODECS[self.codec].content_type.format(rate_hz=self.sample_rate_hz)

    @property
    def extensions(self) -> tuple[str, ...]:
        """Of a file's name, without the dot: all that it may be asked for by."""
        own = CODECS[self.codec].extensions
        sln = _SLN.get(self.sample_rate_hz)
        match self.codec:
            case "pcm" if sln:
                return (*own, sln)
            case "l16" if sln:
                return (sln, *own)
        return own

    @property
    def extension(self) -> str:
        """The usual one. Of 16-bit samples it is Asterisk's for `l16`, so that a reply's address
        can be given to it, and `pcm` for `pcm`."""
        return self.extensions[0]


@lru_cache(_NAMES_KEPT)
def format_of(
    codec: str, sample_rate_hz: int | None = None, bitrate_kbps: int | None = None
) -> Format:
    """A format with the codec's defaults for what is None.

    Raises `NoSuchFormat` where there is no such codec, or it has no such rate.
    """
    known = _codec(codec)
    if sample_rate_hz is None:
        sample_rate_hz = known.default_sample_rate_hz
    if bitrate_kbps is None:
        bitrate_kbps = known.default_bitrates_kbps.get(sample_rate_hz)
    return Format(codec, sample_rate_hz, bitrate_kbps)


@lru_cache(_NAMES_KEPT)
def format_named(name: str) -> Format:
    """The format of a `Format.name`. Default rates may be written out: `mp3_24000_64k` is `mp3`.

    Raises `NoSuchFormat` where there is none.
    """
    return format_of(*rates_in(name))


_NAME = re.compile(r"(.+?)(?:_([1-9][0-9]{0,5}))?(?:_([1-9][0-9]{0,3})k)?", re.DOTALL)


@lru_cache(_NAMES_KEPT)
def rates_in(name: str) -> tuple[str, int | None, int | None]:
    """What a name says of codec, sample rate in Hz and bit rate in kbit/s; None where nothing.

    Says nothing of whether there are such.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return name, None, None
    codec, rate_hz, kbps = found.groups()
    return codec, int(rate_hz) if rate_hz else None, int(kbps) if kbps else None


def _codec(name: str) -> Codec:
    if (codec := CODECS.get(name)) is None:
        raise NoSuchFormat("codec", f"there is no codec {name[:40]!r}: there are {_all_codecs()}")
    return codec


def _all_codecs() -> str:
    *most, last = CODECS
    return f"{', '.join(most)} and {last}"


def _either(numbers: Sequence[int]) -> str:
    match numbers:
        case range():
            return f"{numbers[0]} to {numbers[-1]}"
        case [only]:
            return f"{only} alone"
        case [*most, last]:
            return f"{', '.join(map(str, most))} or {last}"
    raise AssertionError(numbers)


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        *(format_of(codec) for codec in CODECS),
        # The second time a format is named, it keeps its place.
        *(format_of(codec.name, hz) for codec in CODECS.values() for hz in codec.sample_rates_hz),
    )
}
"""Those of the default bit rates, by name; the first is the default. See `format_named`."""
