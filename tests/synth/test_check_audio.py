"""What the model may make: which audio is refused, and how the rest becomes 16-bit samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.audio.check import Samples, check_length, check_signal, to_pcm
from synth.engine import SAMPLE_RATE_HZ, BadAudio

SENTENCE = "həlˈO ðɛɹ, hˌW kæn ˌI hˈɛlp ju?"
SENTENCE_SOUNDS = 19  # Letters but the marks of stress and length.


def tone(peak: float = 0.5, seconds: float = 1.0) -> Samples:
    times_s = np.arange(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
    return (peak * np.sin(2 * np.pi * 220 * times_s)).astype(np.float32)


@pytest.mark.parametrize("peak", [0.03, 0.08, 0.5, 0.89, 0.99])
def test_speech_at_any_everyday_loudness_passes(peak: float) -> None:
    check_signal(tone(peak))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 12_000, -1])
def test_one_value_that_is_no_number_is_refused(value: float, at: int) -> None:
    samples = tone()
    samples[at] = value
    with pytest.raises(BadAudio, match="not numbers"):
        check_signal(samples)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, dtype=np.float32),
        np.zeros(24_000, dtype=np.float32),
        np.full(24_000, 0.0009, dtype=np.float32),
        tone(0.019),
    ],
    ids=["empty", "zeros", "floor", "faint"],
)
def test_silence_is_refused(samples: Samples) -> None:
    with pytest.raises(BadAudio, match="silent"):
        check_signal(samples)


@pytest.mark.parametrize(
    "samples",
    [np.clip(tone(1.3), -1, 1), np.sign(tone(1.0)).astype(np.float32), tone(1.5), tone(40.0)],
    ids=["flat tops", "square", "far over", "wildly over"],
)
def test_clipped_audio_is_refused(samples: Samples) -> None:
    with pytest.raises(BadAudio, match="clipped"):
        check_signal(samples)


def test_one_sample_far_over_full_scale_is_refused() -> None:
    samples = tone()
    samples[1000] = -1.5
    with pytest.raises(BadAudio, match=r"peak is 1\.50"):
        check_signal(samples)


def test_a_few_samples_over_full_scale_pass_and_are_turned_down_not_cut_off() -> None:
    samples = tone(0.8)
    samples[1000:1003] = (1.1, 1.2, 1.1)
    check_signal(samples)
    pcm = to_pcm(samples)
    assert pcm[1001] == pcm.max() < np.iinfo(np.int16).max
    np.testing.assert_allclose(pcm / pcm.max(), samples / 1.2, atol=1e-4)


def test_audio_within_full_scale_keeps_its_loudness() -> None:
    samples = tone(0.5)
    np.testing.assert_array_equal(to_pcm(samples), np.round(samples * 32767).astype(np.int16))


@given(st.lists(st.floats(-1.4, 1.4).map(np.float32), max_size=200))
def test_16_bit_samples_never_wrap(values: list[np.float32]) -> None:
    samples = np.array(values, dtype=np.float32)
    pcm = to_pcm(samples)
    assert pcm.dtype == np.int16 and pcm.shape == samples.shape
    loud = np.abs(samples) > 1e-4
    assert (np.sign(pcm[loud]) == np.sign(samples[loud])).all()
    if loud.any():
        assert np.abs(pcm.astype(np.int32)).max() == np.abs(pcm[np.abs(samples).argmax()])


def test_nothing_is_turned_into_nothing() -> None:
    assert to_pcm(np.zeros(0, dtype=np.float32)).shape == (0,)


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("s_per_sound", [0.06, 0.08, 0.11])
def test_speech_of_an_everyday_pace_passes_at_every_speed(speed: float, s_per_sound: float) -> None:
    check_length(s_per_sound * SENTENCE_SOUNDS / speed, SENTENCE, speed)


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(
    "own_pace_s",
    [0.0, 0.029 * SENTENCE_SOUNDS, 1.1 + 0.3 * len(SENTENCE), 60.0],
    ids=["nothing", "a third left", "gone slow", "endless"],
)
def test_speech_of_another_length_is_refused(speed: float, own_pace_s: float) -> None:
    with pytest.raises(BadAudio, match="implausible length"):
        check_length(own_pace_s / speed, SENTENCE, speed)


@pytest.mark.parametrize("duration_s", [0.08, 0.46, 1.2])
def test_one_sound_alone_may_be_short_or_drawn_out(duration_s: float) -> None:
    check_length(duration_s, "ˈA", 1.0)


def test_marks_take_no_time_by_themselves() -> None:
    check_length(0.1, "ˈA" + "ˈˌː.,!?—… " * 3, 1.0)
