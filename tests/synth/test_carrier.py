"""Very short phrases: which they are, and where they are cut out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.audio.check import Samples
from synth.carrier import find_cut, is_very_short
from synth.engine import SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("phonemes", "short"),
    [
        ("nˈO.", True),
        ("jˈɛs.", True),
        ("nˈIn.", True),
        ("həlˈO?", True),
        ("ɡˈɑt ɪt!", False),
        ("θˈæŋk ju.", False),
        ("ˌʌvəˈun.", False),
    ],
)
def test_up_to_four_sounds_are_very_short(phonemes: str, short: bool) -> None:
    assert is_very_short(phonemes) is short


def speech(*parts_s: tuple[float, bool]) -> Samples:
    """Stretches of so many seconds, loud or silent."""
    pieces = [np.full(round(s * SAMPLE_RATE_HZ), 0.3 if loud else 0.0) for s, loud in parts_s]
    return np.concatenate(pieces).astype(np.float32)


def test_it_is_cut_in_the_middle_of_the_pause() -> None:
    samples = speech((1.0, True), (0.2, False), (0.5, True))
    assert find_cut(samples, 1.0, 1.2, 1.0) == pytest.approx(1.1 * SAMPLE_RATE_HZ, abs=240)


def test_it_is_cut_in_the_longest_of_several_pauses() -> None:
    samples = speech((1.0, True), (0.02, False), (0.02, True), (0.1, False), (0.5, True))
    assert find_cut(samples, 1.0, 1.14, 1.0) == pytest.approx(1.09 * SAMPLE_RATE_HZ, abs=240)


def test_the_pause_may_begin_before_the_word_is_said_to_end() -> None:
    samples = speech((0.96, True), (0.03, False), (0.5, True))
    assert find_cut(samples, 1.0, 1.0, 1.0) == pytest.approx(0.975 * SAMPLE_RATE_HZ, abs=240)


def test_a_pause_elsewhere_does_not_count() -> None:
    samples = speech((0.5, True), (0.2, False), (1.0, True))
    assert find_cut(samples, 1.2, 1.2, 1.0) is None


@given(st.floats(0.0, 2.0), st.floats(0.0, 0.5), st.floats(0.25, 4.0), st.floats(0.0, 2.0))
def test_a_cut_is_within_what_was_made(
    before_s: float, gap_s: float, speed: float, lasts_s: float
) -> None:
    samples = speech((lasts_s, False))
    cut = find_cut(samples, before_s, before_s + gap_s, speed)
    assert cut is None or 0 <= cut <= len(samples)
