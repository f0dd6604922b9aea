"""The formats that audio can be had in: a codec at its rates, and how that is called. Pure.

A format's name is what stands in keys, in the cache and in phrasebooks: the codec's at its default
rates, else with them behind it, `pcm_8000`, `mp3_8000_24k`. It never changes its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from synth.audio.codecs import CODECS, Codec

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
