"""Which formats there are, and what they are called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.audio.codecs import CODECS, SAMPLE_RATES_HZ
from synth.audio.formats import FORMATS, Format, NoSuchFormat, format_named, format_of

every_possible = st.sampled_from(
    [
        (codec.name, rate_hz, kbps)
        for codec in CODECS.values()
        for rate_hz in codec.sample_rates_hz
        for kbps in (*codec.bitrates_kbps.get(rate_hz, ()), None)
    ]
)


def test_mp3_is_the_default() -> None:
    assert next(iter(FORMATS)) == next(iter(CODECS)) == "mp3"


def test_codecs_are_those_of_openai_and_those_of_the_telephone() -> None:
    openai, telephone = "mp3 opus aac flac wav pcm", "l16 ulaw alaw wav_ulaw wav_alaw"
    assert " ".join(CODECS) == f"{openai} {telephone}"


def test_there_is_every_codec_at_every_rate_that_it_can_have() -> None:
    rates_hz = {name: codec.sample_rates_hz for name, codec in CODECS.items()}
    for codec in ("mp3", "flac", "wav", "pcm", "l16"):
        assert rates_hz[codec] == SAMPLE_RATES_HZ
    assert rates_hz["opus"] == (8_000, 16_000, 24_000, 48_000)
    assert rates_hz["aac"] == (44_100, 48_000)
    assert rates_hz["ulaw"] == rates_hz["alaw"] == (8_000,)
    assert rates_hz["wav_ulaw"] == rates_hz["wav_alaw"] == (8_000, 16_000)
    assert len(FORMATS) == sum(map(len, rates_hz.values())) == 42


@pytest.mark.parametrize(
    ("codec", "rate_hz", "kbps", "name", "content_type", "extensions"),
    [
        ("mp3", None, None, "mp3", "audio/mpeg", "mp3"),
        ("mp3", 8_000, None, "mp3_8000", "audio/mpeg", "mp3"),
        ("mp3", 8_000, 24, "mp3_8000_24k", "audio/mpeg", "mp3"),
        ("mp3", None, 96, "mp3_96k", "audio/mpeg", "mp3"),
        ("mp3", 24_000, 64, "mp3", "audio/mpeg", "mp3"),
        ("opus", None, None, "opus", "audio/ogg", "opus ogg"),
        ("opus", 48_000, 6, "opus_48000_6k", "audio/ogg", "opus ogg"),
        ("aac", None, None, "aac", "audio/aac", "aac"),
        ("aac", 44_100, None, "aac_44100", "audio/aac", "aac"),
        ("flac", 16_000, None, "flac_16000", "audio/flac", "flac"),
        ("wav", None, None, "wav", "audio/wav", "wav"),
        ("wav", 16_000, None, "wav_16000", "audio/wav", "wav"),
        ("wav_ulaw", None, None, "wav_ulaw", "audio/wav", "wav"),
        ("wav_alaw", 16_000, None, "wav_alaw_16000", "audio/wav", "wav"),
        ("pcm", None, None, "pcm", "audio/pcm;rate=24000", "pcm sln24"),
        ("pcm", 22_050, None, "pcm_22050", "audio/pcm;rate=22050", "pcm"),
        ("pcm", 48_000, None, "pcm_48000", "audio/pcm;rate=48000", "pcm sln48"),
        ("l16", 8_000, None, "l16_8000", "audio/l16;rate=8000", "sln pcm"),
        ("l16", 16_000, None, "l16_16000", "audio/l16;rate=16000", "sln16 pcm"),
        ("l16", 22_050, None, "l16_22050", "audio/l16;rate=22050", "pcm"),
        ("ulaw", None, None, "ulaw", "audio/basic", "ulaw"),
        ("alaw", 8_000, None, "alaw", "audio/x-alaw-basic", "alaw"),
    ],
)
def test_a_format_is_named_by_its_codec_and_what_is_not_the_default(
    codec: str,
    rate_hz: int | None,
    kbps: int | None,
    name: str,
    content_type: str,
    extensions: str,
) -> None:
    format = format_of(codec, rate_hz, kbps)
    assert (format.name, format.content_type) == (name, content_type)
    assert " ".join(format.extensions) == extensions
    assert format.extension == extensions.split()[0]


@given(every_possible)
def test_a_name_is_read_back_and_stands_for_no_other_format(
    wanted: tuple[str, int, int | None],
) -> None:
    format = format_of(*wanted)
    assert format_named(format.name) == format
    codec, rate_hz, kbps = wanted
    assert (format.codec, format.sample_rate_hz) == (codec, rate_hz)
    assert kbps in (format.bitrate_kbps, None)
    assert (format.bitrate_kbps is None) == (not CODECS[codec].bitrates_kbps)


@pytest.mark.parametrize(
    ("written", "name"),
    [("mp3_24000", "mp3"), ("mp3_24000_64k", "mp3"), ("aac_48000", "aac"), ("ulaw_8000", "ulaw")],
)
def test_a_default_may_be_written_out(written: str, name: str) -> None:
    assert format_named(written).name == name


@pytest.mark.parametrize(
    ("wanted", "field", "says"),
    [
        (("ogg",), "codec", "no codec 'ogg': there are mp3, opus, aac, flac, wav, pcm, l16, ulaw"),
        (("mp3", 11_025), "sample_rate", "it has 8000, 16000, 22050, 24000, 44100 or 48000"),
        (("aac", 24_000), "sample_rate", "aac has no sample rate of 24000 Hz: it has 44100 or "),
        (("opus", 44_100), "sample_rate", "it has 8000, 16000, 24000 or 48000"),
        (("ulaw", 16_000), "sample_rate", "it has 8000 alone"),
        (("mp3", 24_000, 65), "bitrate_kbps", "mp3 at 24000 Hz has no bit rate of 65 kbit/s: it "),
        (("mp3", 24_000, 56), "bitrate_kbps", "it has 64, 80, 96, 112, 128, 144 or 160"),
        (("mp3", 8_000, 0), "bitrate_kbps", "it has 24, 32, 40, 48, 56 or 64"),
        (("opus", None, 257), "bitrate_kbps", "it has 6 to 256"),
        (("aac", None, -64), "bitrate_kbps", "it has 24 to 160"),
        (("wav", None, 64), "bitrate_kbps", "it means nothing to wav: leave it out"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(
    wanted: tuple[Any, ...], field: str, says: str
) -> None:
    with pytest.raises(NoSuchFormat) as refused:
        format_of(*wanted)
    assert refused.value.field == field
    assert says in str(refused.value)


@given(st.text(max_size=300))
def test_any_other_name_is_refused(name: str) -> None:
    if name not in CODECS:
        with pytest.raises(NoSuchFormat):
            format_named(name)


@pytest.mark.parametrize(
    "name", ["", "pcm_", "pcm_08000", "pcm_8000_", "mp3_64K", "mp3_064k", "mp3k", "8000", "MP3"]
)
def test_a_name_is_spelt_in_one_way(name: str) -> None:
    with pytest.raises(NoSuchFormat) as refused:
        format_named(name)
    assert refused.value.field == "codec"


def test_no_format_can_be_made_that_could_not_be_encoded() -> None:
    with pytest.raises(NoSuchFormat):
        Format("mp3", 24_000)
    with pytest.raises(NoSuchFormat):
        Format("pcm", 24_000, 64)
