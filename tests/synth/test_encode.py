"""Every format, streamed and whole, read back by other people's decoders."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from synth.audio.encode import (
    CODECS,
    FORMATS,
    SAMPLE_RATES_HZ,
    Finished,
    Format,
    format_of,
    open_encoder,
)
from synth.engine import SAMPLE_RATE_HZ, Pcm

every_codec = pytest.mark.parametrize("name", CODECS)
every_format = pytest.mark.parametrize("name", FORMATS)
every_other_rate = pytest.mark.parametrize(
    "rate_hz", [rate_hz for rate_hz in SAMPLE_RATES_HZ if rate_hz != SAMPLE_RATE_HZ]
)

MP3_PADDING_SAMPLES = 3 * 1152
"""What a stream of MP3 may be longer than what went in: the codec's delay and its last frame."""


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
    return round(len(pcm) * FORMATS[name].sample_rate_hz / SAMPLE_RATE_HZ)


def encode(name: str, pcm: Pcm, writes: int = 1) -> tuple[bytes, Finished]:
    """The stream as a client gets it, and the end of the encoding."""
    encoder = open_encoder(FORMATS[name])
    stream = b"".join(encoder.write(part) for part in uneven(pcm, writes))
    finished = encoder.finish()
    return stream + finished.tail, finished


def uneven(pcm: Pcm, writes: int) -> Sequence[Pcm]:
    cuts = (np.linspace(0, 1, writes + 1)[1:-1] ** 2 * len(pcm)).astype(int)
    return np.split(pcm, cuts)


def decode(name: str, data: bytes) -> Pcm:
    """The samples at the rate of the format, which the file tells where it tells one."""
    codec, rate_hz = FORMATS[name].codec, FORMATS[name].sample_rate_hz
    if codec == "pcm":
        return np.frombuffer(data, dtype="<i2").astype(np.int16)
    if codec == "wav":
        with wave.open(io.BytesIO(data)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            assert file.getframerate() == rate_hz
            frames = file.readframes(file.getnframes())
        return np.frombuffer(frames, dtype="<i2").astype(np.int16)
    pcm, told_hz = soundfile.read(io.BytesIO(data), dtype="int16")
    assert told_hz == rate_hz and pcm.ndim == 1
    return np.asarray(pcm, dtype=np.int16)


def loudness(pcm: Pcm) -> float:
    return float(np.sqrt(np.mean(np.square(pcm.astype(np.float64)))))


def test_mp3_is_the_default() -> None:
    assert next(iter(FORMATS)) == CODECS[0] == "mp3"


def test_there_is_every_codec_at_every_rate() -> None:
    assert len(FORMATS) == len(CODECS) * len(SAMPLE_RATES_HZ)
    for codec in CODECS:
        for rate_hz in SAMPLE_RATES_HZ:
            format = format_of(codec, rate_hz)
            assert FORMATS[format.name] == format == Format(codec, rate_hz)
            assert format.extension == codec


@pytest.mark.parametrize(
    ("codec", "rate_hz", "name", "content_type"),
    [
        ("mp3", 24_000, "mp3", "audio/mpeg"),
        ("mp3", 8_000, "mp3_8000", "audio/mpeg"),
        ("wav", 24_000, "wav", "audio/wav"),
        ("wav", 16_000, "wav_16000", "audio/wav"),
        ("pcm", 24_000, "pcm", "audio/pcm;rate=24000"),
        ("pcm", 48_000, "pcm_48000", "audio/pcm;rate=48000"),
    ],
)
def test_a_format_has_the_name_of_its_codec_and_of_a_rate_that_is_not_the_models(
    codec: str, rate_hz: int, name: str, content_type: str
) -> None:
    format = format_of(codec, rate_hz)
    assert (format.name, format.content_type) == (name, content_type)


@pytest.mark.parametrize(
    "format", [Format("ogg"), Format("pcm", 11_025), Format("pcm_8000")], ids=lambda it: it.name
)
def test_a_format_without_an_encoder_is_refused(format: Format) -> None:
    with pytest.raises(ValueError, match=f"'{format.name}'"):
        open_encoder(format)
    with pytest.raises(ValueError, match=f"'{format.codec}' at {format.sample_rate_hz} Hz"):
        format_of(format.codec, format.sample_rate_hz)


@every_format
@pytest.mark.parametrize("writes", [1, 3, 17])
def test_the_whole_lasts_exactly_as_long_as_what_went_in(name: str, writes: int) -> None:
    pcm = speechlike(30_011)
    _, finished = encode(name, pcm, writes)
    assert len(decode(name, finished.whole)) == samples_of(name, pcm)


@every_format
@pytest.mark.parametrize("writes", [1, 3, 17])
def test_the_stream_has_all_samples_that_went_in(name: str, writes: int) -> None:
    pcm = speechlike(30_011)
    stream, _ = encode(name, pcm, writes)
    padding = MP3_PADDING_SAMPLES if FORMATS[name].codec == "mp3" else 0
    assert 0 <= len(decode(name, stream)) - samples_of(name, pcm) <= padding


@pytest.mark.parametrize("name", ["wav", "pcm"])
def test_what_is_not_compressed_is_not_changed(name: str) -> None:
    pcm = np.random.default_rng(0).integers(-(2**15), 2**15, 5_000).astype(np.int16)
    stream, finished = encode(name, pcm, 3)
    np.testing.assert_array_equal(decode(name, stream), pcm)
    np.testing.assert_array_equal(decode(name, finished.whole), pcm)


@pytest.mark.parametrize("rate_hz", SAMPLE_RATES_HZ)
def test_mp3_sounds_like_what_went_in_and_begins_with_it(rate_hz: int) -> None:
    pcm = speechlike(48_000)
    _, finished = encode(format_of("mp3", rate_hz).name, pcm, 5)
    heard = decode(format_of("mp3", rate_hz).name, finished.whole)
    expected = decode("pcm", encode(format_of("pcm", rate_hz).name, pcm)[0])
    assert loudness(heard - expected) < 0.08 * loudness(expected)


@pytest.mark.parametrize("rate_hz", SAMPLE_RATES_HZ)
@pytest.mark.parametrize("writes", [1, 3, 17])
def test_a_stream_of_mp3_keeps_its_end(rate_hz: int, writes: int) -> None:
    pcm = speechlike(30_011)
    stream, _ = encode(format_of("mp3", rate_hz).name, pcm, writes)
    heard = decode(format_of("mp3", rate_hz).name, stream).astype(np.float64)
    expected = decode("pcm", encode(format_of("pcm", rate_hz).name, pcm)[0])
    length = rate_hz // 20
    end = expected[-length:].astype(np.float64)
    begins = range(len(expected) - length, len(heard) - length + 1)
    assert max(np.dot(heard[begin : begin + length], end) for begin in begins) > 0.9 * np.dot(
        end, end
    )


@pytest.mark.parametrize(
    ("rate_hz", "kbit_s"),
    [(8_000, 32), (16_000, 48), (22_050, 64), (24_000, 64), (44_100, 96), (48_000, 96)],
)
def test_mp3_takes_as_many_bits_as_it_says(rate_hz: int, kbit_s: int) -> None:
    stream, _ = encode(format_of("mp3", rate_hz).name, speechlike(10 * SAMPLE_RATE_HZ))
    assert len(stream) * 8 / 10 / 1000 == pytest.approx(kbit_s, rel=0.02)


@pytest.mark.parametrize(("rate_hz", "samples"), [(24_000, 1_000), (8_000, 333), (48_000, 2_000)])
def test_the_header_of_a_whole_wav_is_exact(rate_hz: int, samples: int) -> None:
    whole = encode(format_of("wav", rate_hz).name, speechlike(1_000))[1].whole
    assert len(whole) == 44 + 2 * samples
    assert whole[4:8] == (36 + 2 * samples).to_bytes(4, "little")
    assert whole[28:32] == (2 * rate_hz).to_bytes(4, "little")
    assert whole[40:44] == (2 * samples).to_bytes(4, "little")
    info = soundfile.info(io.BytesIO(whole))
    assert (info.frames, info.samplerate, info.subtype) == (samples, rate_hz, "PCM_16")


@every_format
def test_a_stream_differs_from_the_whole_in_its_header_alone(name: str) -> None:
    stream, finished = encode(name, speechlike(12_345), 3)
    match FORMATS[name].codec:
        case "mp3":  # Its one frame that holds no audio is missing.
            assert finished.whole.endswith(stream)
            assert 0 < len(finished.whole) - len(stream) < 1_000
        case "wav":
            assert stream[44:] == finished.whole[44:]
            assert stream[:4] + stream[8:40] == finished.whole[:4] + finished.whole[8:40]
        case "pcm":
            assert stream == finished.whole


@every_format
@pytest.mark.parametrize("writes", [3, 17, 1_000])
def test_audio_in_pieces_gives_the_samples_of_audio_in_one_piece(name: str, writes: int) -> None:
    pcm = speechlike(30_011)
    assert encode(name, pcm, writes)[1].whole == encode(name, pcm)[1].whole


@given(
    pieces=st.lists(st.integers(0, 2_000), max_size=8),
    rate_hz=st.sampled_from(SAMPLE_RATES_HZ),
    seed=st.integers(0, 9),
)
def test_however_audio_is_cut_the_same_samples_come_out(
    pieces: list[int], rate_hz: int, seed: int
) -> None:
    total = sum(pieces)
    pcm = np.random.default_rng(seed).integers(-(2**15), 2**15, total).astype(np.int16)
    encoder = open_encoder(format_of("pcm", rate_hz))
    stream = b"".join(encoder.write(part) for part in np.split(pcm, np.cumsum(pieces)))
    finished = encoder.finish()
    at_once = open_encoder(format_of("pcm", rate_hz))
    at_once.write(pcm)
    assert stream + finished.tail == finished.whole == at_once.finish().whole
    assert abs(len(finished.whole) / 2 - total * rate_hz / SAMPLE_RATE_HZ) <= 1


@every_format
def test_a_stream_begins_before_the_encoding_ends(name: str) -> None:
    encoder = open_encoder(FORMATS[name])
    sent = [encoder.write(speechlike(SAMPLE_RATE_HZ)) for _ in range(3)]
    assert all(sent)
    encoder.finish()


@every_format
@pytest.mark.parametrize("samples", [1, 2, 100, 1_151, 1_152, 1_153])
def test_very_short_audio_is_kept(name: str, samples: int) -> None:
    pcm = speechlike(samples)
    stream, finished = encode(name, pcm)
    expected = samples_of(name, pcm)
    if expected or FORMATS[name].codec != "mp3":
        assert len(decode(name, finished.whole)) == expected
        assert len(decode(name, stream)) >= expected


@every_format
@pytest.mark.parametrize("writes", [0, 1, 3])
def test_no_audio_at_all_can_be_finished(name: str, writes: int) -> None:
    encoder = open_encoder(FORMATS[name])
    nothing = np.zeros(0, dtype=np.int16)
    stream = b"".join(encoder.write(nothing) for _ in range(writes))
    finished = encoder.finish()
    if FORMATS[name].codec != "mp3":  # An MP3 of no frames is no file that anybody can open.
        assert len(decode(name, stream + finished.tail)) == 0
        assert len(decode(name, finished.whole)) == 0


@every_format
def test_empty_writes_change_nothing(name: str) -> None:
    pcm, nothing = speechlike(5_000), np.zeros(0, dtype=np.int16)
    encoder = open_encoder(FORMATS[name])
    stream = b"".join(encoder.write(part) for part in (nothing, pcm[:2_000], nothing, pcm[2_000:]))
    finished = encoder.finish()
    expected, expected_end = encode(name, pcm)
    assert stream + finished.tail == expected
    assert finished.whole == expected_end.whole


@every_format
def test_the_same_samples_give_the_same_bytes(name: str) -> None:
    pcm = speechlike(20_000)
    assert encode(name, pcm, 3) == encode(name, pcm, 3)


@every_format
def test_two_encodings_at_a_time_do_not_mix(name: str) -> None:
    pcm, other = speechlike(20_000), speechlike(20_000)[::-1].copy()
    first, second = open_encoder(FORMATS[name]), open_encoder(FORMATS[name])
    for begin in range(0, 20_000, 5_000):
        first.write(pcm[begin : begin + 5_000])
        second.write(other[begin : begin + 5_000])
    assert first.finish().whole == encode(name, pcm)[1].whole
    assert second.finish().whole == encode(name, other)[1].whole


# What resampling may not do.


def level_at(pcm: Pcm, rate_hz: int, frequency_hz: float) -> float:
    """The amplitude of that frequency, away from both ends."""
    inside = pcm[len(pcm) // 4 : -len(pcm) // 4].astype(np.float64)
    wave = np.exp(-2j * np.pi * frequency_hz * np.arange(len(inside)) / rate_hz)
    window = np.hanning(len(inside))
    return float(2 * abs(np.dot(inside * window, wave)) / window.sum())


@every_format
def test_a_tone_keeps_its_pitch_and_its_level(name: str) -> None:
    heard = decode(name, encode(name, tone(1_000), 7)[1].whole)
    level = level_at(heard, FORMATS[name].sample_rate_hz, 1_000)
    # LAME turns down by 5 % on its own.
    lowest = 0.93 if FORMATS[name].codec == "mp3" else 0.999
    assert lowest * 8_000 < level < 1.001 * 8_000


@every_other_rate
def test_a_resampled_tone_is_in_its_place_in_time(rate_hz: int) -> None:
    heard = decode("pcm", encode(format_of("pcm", rate_hz).name, tone(1_000), 3)[0])
    expected = 8_000 * np.sin(2 * np.pi * 1_000 * np.arange(len(heard)) / rate_hz)
    inside = slice(len(heard) // 10, -len(heard) // 10)
    assert loudness(heard[inside] - expected[inside]) < 0.001 * 8_000


@pytest.mark.parametrize(("rate_hz", "above_hz"), [(8_000, 6_000), (16_000, 10_000)])
@every_codec
def test_what_a_rate_cannot_hold_is_left_out_and_not_folded_down(
    name: str, rate_hz: int, above_hz: int
) -> None:
    format = format_of(name, rate_hz)
    heard = decode(format.name, encode(format.name, tone(above_hz))[1].whole)
    inside = heard[len(heard) // 10 : -len(heard) // 10]
    assert loudness(inside) < 8_000 * 0.001


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000])
def test_nothing_is_added_above_what_went_in(rate_hz: int) -> None:
    heard = decode("pcm", encode(format_of("pcm", rate_hz).name, tone(5_000))[0])
    inside = heard[len(heard) // 10 : -len(heard) // 10].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(inside * np.hanning(len(inside))))
    frequencies_hz = np.fft.rfftfreq(len(inside), 1 / rate_hz)
    elsewhere = np.abs(frequencies_hz - 5_000) > 100
    assert spectrum[elsewhere].max() < 0.001 * spectrum.max()


@every_other_rate
def test_full_scale_is_held_at_the_limit_and_does_not_wrap_around(rate_hz: int) -> None:
    # Square waves: resampled, they swing over the limit at every edge.
    pcm = np.where(tone(313) >= 0, 2**15 - 1, -(2**15)).astype(np.int16)
    heard = decode("pcm", encode(format_of("pcm", rate_hz).name, pcm)[0])
    times_s = np.arange(len(heard)) / rate_hz
    expected = np.sin(2 * np.pi * 313 * times_s)
    clear = np.abs(expected) > 0.5
    assert (np.sign(heard[clear]) == np.sign(expected[clear])).all()
    assert heard.max() == 2**15 - 1 and heard.min() == -(2**15)


@every_other_rate
def test_a_join_is_not_heard(rate_hz: int) -> None:
    pcm = tone(1_000)
    heard = decode("pcm", encode(format_of("pcm", rate_hz).name, pcm, 50)[0])
    inside = heard[len(heard) // 10 : -len(heard) // 10].astype(np.int64)
    steepest = 8_000 * 2 * np.pi * 1_000 / rate_hz
    assert np.abs(np.diff(inside)).max() <= steepest + 2
