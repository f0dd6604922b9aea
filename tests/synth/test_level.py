"""Clips are brought to one loudness, as far as that is wise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.audio.check import Samples
from synth.audio.level import MAX_GAIN_DB, TARGET_DBFS, active_level_dbfs, check_level, level
from synth.engine import SAMPLE_RATE_HZ, BadAudio


def tone(level_dbfs: float, seconds: float = 0.5) -> Samples:
    times_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    amplitude = np.sqrt(2) * 10 ** (level_dbfs / 20)
    samples: Samples = (amplitude * np.sin(2 * np.pi * 200 * times_s)).astype(np.float32)
    return samples


@given(st.floats(-35.0, -6.0))
def test_a_level_is_that_of_the_tone(level_dbfs: float) -> None:
    assert active_level_dbfs(tone(level_dbfs)) == pytest.approx(level_dbfs, abs=0.1)


def test_pauses_do_not_count() -> None:
    pause = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    with_pause = np.concatenate([tone(-20.0), pause, tone(-20.0)])
    assert active_level_dbfs(with_pause) == pytest.approx(-20.0, abs=0.1)


@given(st.floats(TARGET_DBFS - MAX_GAIN_DB, TARGET_DBFS + MAX_GAIN_DB))
def test_what_is_near_the_target_is_brought_to_it(level_dbfs: float) -> None:
    assert active_level_dbfs(level(tone(level_dbfs))) == pytest.approx(TARGET_DBFS, abs=0.2)


@pytest.mark.parametrize("away_db", [-10.0, 10.0])
def test_what_is_far_away_is_moved_no_further_than_the_limit(away_db: float) -> None:
    moved_db = active_level_dbfs(level(tone(TARGET_DBFS + away_db))) - TARGET_DBFS - away_db
    assert moved_db == pytest.approx(-np.sign(away_db) * MAX_GAIN_DB, abs=0.1)


def test_a_sharp_peak_is_not_clipped_by_it() -> None:
    samples = tone(TARGET_DBFS - MAX_GAIN_DB)
    samples[1000] = 0.9
    levelled = level(samples)
    assert np.abs(levelled).max() <= 0.98
    assert active_level_dbfs(levelled) > active_level_dbfs(samples)


def test_what_is_over_full_scale_is_left_to_others() -> None:
    samples = tone(TARGET_DBFS)
    samples[1000] = 1.3
    assert np.abs(level(samples)).max() == pytest.approx(1.3, abs=0.05)


@given(st.floats(-30.0, -16.0))
def test_nothing_but_the_loudness_changes(level_dbfs: float) -> None:
    samples = tone(level_dbfs)
    levelled = level(samples)
    assert levelled.dtype == np.float32 and levelled.shape == samples.shape
    gain = levelled[30] / samples[30]
    assert np.allclose(levelled, samples * gain, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 1.0])
def test_silence_stays_silence(seconds: float) -> None:
    samples = np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)
    assert not level(samples).any()


@pytest.mark.parametrize("level_dbfs", [-39.0, -36.0, -11.0])
def test_speech_that_cannot_be_brought_near_the_others_is_refused(level_dbfs: float) -> None:
    with pytest.raises(BadAudio, match="implausible level"):
        check_level(tone(level_dbfs))


@pytest.mark.parametrize("level_dbfs", [-34.0, -23.0, -13.0])
def test_speech_near_the_others_is_not(level_dbfs: float) -> None:
    check_level(tone(level_dbfs))
