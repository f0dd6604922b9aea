"""How long a voice pauses between two segments."""

from __future__ import annotations

import numpy as np
import pytest

from synth.audio.join import pause_s, silence


@pytest.mark.parametrize("text", ["Yes.", "Yes!", "Yes?", "Yes…", "はい。", "हाँ।", "好！", "好？"])
def test_the_longest_pause_is_after_a_sentence(text: str) -> None:
    assert pause_s(text, 1.0) == 0.30


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("first:", 0.20),
        ("first;", 0.20),
        ("first,", 0.10),
        ("first —", 0.10),
        ("first、", 0.10),
        ("A heading", 0.15),
        ("Room 12", 0.15),
        ("50%", 0.15),
        ("", 0.15),
    ],
)
def test_the_pause_goes_by_the_last_mark(text: str, pause: float) -> None:
    assert pause_s(text, 1.0) == pause


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ('"Yes."', 0.30),
        ("“Yes?” ", 0.30),
        ("(He said ‘yes.’)", 0.30),
        ("[first],", 0.10),
        ("«first:»", 0.20),
        ('"yes"', 0.15),
        ('"', 0.15),
    ],
)
def test_closing_quotes_and_brackets_do_not_hide_the_mark(text: str, pause: float) -> None:
    assert pause_s(text, 1.0) == pause


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_who_speaks_faster_pauses_less(speed: float) -> None:
    assert pause_s("Yes.", speed) == pytest.approx(0.30 / speed)


@pytest.mark.parametrize(("seconds", "samples"), [(0.0, 0), (0.30, 7200), (0.1 / 3, 800)])
def test_silence_is_as_long_as_asked_for_and_silent(seconds: float, samples: int) -> None:
    pcm = silence(seconds)
    assert pcm.dtype == np.int16 and pcm.shape == (samples,)
    assert not pcm.any()
