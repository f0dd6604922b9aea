"""Where an utterance is cut: on made-up signals whose first and last sound is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from synth.audio.check import Samples
from synth.audio.trim import AUDIBLE, trim
from synth.engine import SAMPLE_RATE_HZ

FLOOR = 0.0009
"""The model's own silence."""


def samples_in(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)


def noise(peak: float, seconds: float) -> Samples:
    drawn = np.random.default_rng(0).uniform(-peak, peak, samples_in(seconds))
    return drawn.astype(np.float32)


def silence(seconds: float) -> Samples:
    return noise(FLOOR, seconds)


def tone(peak: float, seconds: float) -> Samples:
    times_s = np.arange(samples_in(seconds)) / SAMPLE_RATE_HZ
    return (peak * np.sin(2 * np.pi * 440 * times_s)).astype(np.float32)


def utterance(*parts: Samples) -> Samples:
    """Parts between as much silence as the model makes."""
    return np.concatenate([silence(0.4), *parts, silence(0.6)])


def audible_from_s(samples: Samples) -> float:
    return float(np.argmax(np.abs(samples) > AUDIBLE)) / SAMPLE_RATE_HZ


def seconds_of(samples: Samples) -> float:
    return len(samples) / SAMPLE_RATE_HZ


def test_the_silence_at_both_ends_is_cut() -> None:
    trimmed = trim(utterance(tone(0.5, 1.0)))
    assert 1.0 < seconds_of(trimmed.samples) <= 1.07
    assert audible_from_s(trimmed.samples) <= 0.012
    assert trimmed.start_s == pytest.approx(0.39, abs=0.002)


def test_silence_within_the_utterance_stays() -> None:
    trimmed = trim(utterance(tone(0.5, 0.3), silence(0.5), tone(0.5, 0.3)))
    assert 1.1 < seconds_of(trimmed.samples) <= 1.17


def test_start_s_is_where_in_the_original_the_trimmed_audio_begins() -> None:
    raw = utterance(noise(0.004, 0.03), tone(0.5, 0.5))
    trimmed = trim(raw)
    begin = samples_in(trimmed.start_s)
    inside = slice(samples_in(0.005), -samples_in(0.005))  # Away from the fades.
    original = raw[begin : begin + len(trimmed.samples)]
    np.testing.assert_array_equal(trimmed.samples[inside], original[inside])


def test_a_faint_consonant_before_the_vowel_is_kept_whole() -> None:
    raw = utterance(noise(0.004, 0.03), tone(0.5, 0.5))
    assert trim(raw).start_s <= 0.4
    assert audible_from_s(trim(raw).samples) >= 0.03


@pytest.mark.parametrize("faint_s", [0.0, 0.01, 0.03, 0.06, 0.2, 1.0])
def test_the_first_audible_sample_comes_within_60_ms(faint_s: float) -> None:
    trimmed = trim(utterance(noise(0.004, faint_s), tone(0.5, 0.5)))
    assert audible_from_s(trimmed.samples) <= 0.060


@pytest.mark.parametrize(("speed", "lead_s"), [(2.0, 0.05), (1.0, 0.05), (0.5, 0.1), (0.25, 0.2)])
def test_slow_speech_keeps_a_longer_faint_beginning(speed: float, lead_s: float) -> None:
    trimmed = trim(utterance(noise(0.004, 0.35), tone(0.5, 0.5)), speed)
    assert audible_from_s(trimmed.samples) == pytest.approx(lead_s, abs=0.001)


@pytest.mark.parametrize(("speed", "tail_s"), [(1.0, 0.12), (0.5, 0.24)])
def test_a_long_breath_at_the_end_is_cut(speed: float, tail_s: float) -> None:
    trimmed = trim(utterance(tone(0.5, 0.5), noise(0.004, 0.4)), speed).samples
    after_speech_s = float(np.argmax(np.abs(trimmed[::-1]) > AUDIBLE)) / SAMPLE_RATE_HZ
    assert after_speech_s == pytest.approx(tail_s, abs=0.001)


def test_ticks_far_from_speech_are_cut_at_either_end() -> None:
    tick = tone(0.018, 0.02)
    clean = trim(utterance(tone(0.5, 0.5)))
    raw = utterance(tick, silence(0.2), tone(0.5, 0.5), silence(0.19), tick, silence(0.15), tick)
    trimmed = trim(raw)
    assert seconds_of(trimmed.samples) == pytest.approx(seconds_of(clean.samples), abs=0.015)
    assert trimmed.start_s == pytest.approx(clean.start_s + 0.22, abs=0.002)


@pytest.mark.parametrize(
    ("gap_s", "peak", "length_s"),
    [(0.04, 0.03, 0.02), (0.19, 0.2, 0.02), (0.19, 0.03, 0.09)],
    ids=["near", "loud", "long"],
)
def test_a_final_consonant_is_no_tick(gap_s: float, peak: float, length_s: float) -> None:
    raw = utterance(tone(0.5, 0.5), silence(gap_s), noise(peak, length_s))
    trimmed = trim(raw).samples
    plosive = trimmed[samples_in(0.5 + gap_s) :]
    assert float(np.abs(plosive).max()) > 0.9 * peak
    assert 0.5 + gap_s + length_s < seconds_of(trimmed)


@pytest.mark.parametrize("silence_s", [0.0, 0.5])
def test_both_ends_are_at_zero_and_rise_slowly(silence_s: float) -> None:
    around = silence(silence_s)
    trimmed = trim(np.concatenate([around, noise(0.9, 0.5), around])).samples
    assert trimmed[0] == trimmed[-1] == 0.0
    for end in (trimmed, trimmed[::-1]):
        assert float(np.abs(end[: samples_in(0.001)]).max()) < 0.3


def test_what_goes_in_is_not_changed() -> None:
    raw = utterance(tone(0.5, 0.5))
    before = raw.copy()
    trim(raw)
    np.testing.assert_array_equal(raw, before)


# Utterances of a few sounds and pauses, at every loudness from under the floor to full scale.
SOUND = st.tuples(st.sampled_from([0.0, FLOOR, 0.004, 0.015, 0.3, 1.0]), st.integers(0, 4_000))
SOUNDS = st.lists(SOUND, min_size=1, max_size=6)


def made_of(sounds: list[tuple[float, int]]) -> Samples:
    return np.concatenate([noise(peak, length / SAMPLE_RATE_HZ) for peak, length in sounds])


@given(SOUNDS, st.sampled_from([0.25, 1.0, 4.0]))
def test_something_is_left_and_never_more_than_there_was(
    sounds: list[tuple[float, int]], speed: float
) -> None:
    raw = made_of(sounds)
    assume(np.abs(raw).max(initial=0.0) > 0.02)
    trimmed = trim(raw, speed)
    assert 0 < len(trimmed.samples) <= len(raw)
    assert 0 <= samples_in(trimmed.start_s) <= len(raw) - len(trimmed.samples)
    assert trimmed.samples.dtype == np.float32


@given(SOUNDS)
@example([(0.004, 3), (0.0, 1197), (1.0, 1)])
def test_the_loudest_sound_is_never_cut(sounds: list[tuple[float, int]]) -> None:
    raw = made_of(sounds)
    assume(np.abs(raw).max(initial=0.0) > 0.2)
    trimmed = trim(raw)
    at = int(np.abs(raw).argmax()) - samples_in(trimmed.start_s)
    assert 0 <= at < len(trimmed.samples)


def test_trimming_twice_changes_next_to_nothing() -> None:
    once = trim(utterance(noise(0.004, 0.03), tone(0.5, 0.5), silence(0.05), noise(0.02, 0.02)))
    twice = trim(once.samples)
    assert len(once.samples) - len(twice.samples) <= samples_in(0.010)
    inside = slice(samples_in(0.01), samples_in(0.5))
    begin = samples_in(twice.start_s)
    np.testing.assert_array_equal(twice.samples[inside], once.samples[begin:][inside])


@given(SOUNDS)
def test_trimming_twice_takes_no_more_than_a_faint_beginning(
    sounds: list[tuple[float, int]],
) -> None:
    once = trim(made_of([(FLOOR, 9_600), *sounds, (0.3, 2_400), (FLOOR, 14_400)]))
    twice = trim(once.samples)
    assert len(once.samples) - len(twice.samples) <= samples_in(0.060)


@pytest.mark.parametrize("length", [*range(1, 12), 95, 96, 97, 191, 192, 193, 239, 240, 241, 500])
def test_even_the_shortest_sound_leaves_something(length: int) -> None:
    raw = np.full(length, 0.5, dtype=np.float32)
    trimmed = trim(raw).samples
    assert len(trimmed) == length
    assert length < 4 or float(np.abs(trimmed).max()) > 0.0
