"""What bringing 24 kHz to another rate may not do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.audio.codecs import SAMPLE_RATES_HZ
from synth.audio.encode import open_encoder
from synth.audio.formats import FORMATS, format_of
from synth.engine import SAMPLE_RATE_HZ, Pcm
from tests.synth.decoding import decode, encode, tone

every_format = pytest.mark.parametrize("name", FORMATS)
every_other_rate = pytest.mark.parametrize(
    "rate_hz", [rate_hz for rate_hz in SAMPLE_RATES_HZ if rate_hz != SAMPLE_RATE_HZ]
)


def loudness(pcm: Pcm) -> float:
    return float(np.sqrt(np.mean(np.square(pcm.astype(np.float64)))))


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


def level_at(pcm: Pcm, rate_hz: int, frequency_hz: float) -> float:
    """The amplitude of that frequency, away from both ends."""
    inside = pcm[len(pcm) // 4 : -len(pcm) // 4].astype(np.float64)
    wave = np.exp(-2j * np.pi * frequency_hz * np.arange(len(inside)) / rate_hz)
    window = np.hanning(len(inside))
    return float(2 * abs(np.dot(inside * window, wave)) / window.sum())


@every_format
def test_a_tone_keeps_its_pitch_and_its_level(name: str) -> None:
    heard = decode(name, encode(name, tone(1_000), 7)[1].whole)
    format = FORMATS[name]
    level = level_at(heard, format.sample_rate_hz, 1_000)
    # LAME turns down by 5 % on its own; the steps of G.711 are wide.
    off = {"mp3": 0.07, "opus": 0.03, "aac": 0.03, "ulaw": 0.015, "alaw": 0.015}
    assert level / 8_000 == pytest.approx(1, abs=off.get(format.codec.removeprefix("wav_"), 0.001))


@every_other_rate
def test_a_resampled_tone_is_in_its_place_in_time(rate_hz: int) -> None:
    heard = decode("pcm", encode(format_of("pcm", rate_hz).name, tone(1_000), 3)[0])
    expected = 8_000 * np.sin(2 * np.pi * 1_000 * np.arange(len(heard)) / rate_hz)
    inside = slice(len(heard) // 10, -len(heard) // 10)
    assert loudness(heard[inside] - expected[inside]) < 0.001 * 8_000


@pytest.mark.parametrize(
    "name", [name for name, format in FORMATS.items() if format.sample_rate_hz <= 16_000]
)
def test_what_a_rate_cannot_hold_is_left_out_and_not_folded_down(name: str) -> None:
    above_hz = FORMATS[name].sample_rate_hz // 2 + 2_000
    heard = decode(name, encode(name, tone(above_hz))[1].whole)
    inside = heard[len(heard) // 10 : -len(heard) // 10]
    # A-law has no zero: silence is a sample of 8.
    assert loudness(inside) <= 8_000 * 0.001


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
