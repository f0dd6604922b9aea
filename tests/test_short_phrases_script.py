"""The pure parts of `scripts/bench short-phrases`: nothing here needs the model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import short_phrases
from short_phrases import PHRASES, SENTENCES, WAYS

from synth.engine import SAMPLE_RATE_HZ, Clip, EngineError, Word


def tone(seconds: float, amplitude: float) -> npt.NDArray[np.int16]:
    at = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.round(amplitude * 32767 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)


def said(*words: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(*word) for word in words)


GOT_IT_LET_ME = said(
    ("Got", 0.0, 0.2), ("it", 0.2, 0.4), ("!", 0.4, 0.6), ("Let", 0.6, 0.9), ("me", 0.9, 1.2)
)


def test_there_are_short_phrases_and_ordinary_sentences() -> None:
    assert len(PHRASES) >= 40
    assert all(len(phrase.split()) <= 3 for phrase in PHRASES)
    assert len(SENTENCES) >= 10
    assert all(8 <= len(sentence.split()) <= 20 for sentence in SENTENCES)


def test_a_way_writes_the_phrase_with_its_mark_and_its_sentence() -> None:
    texts = {way.name: way.text("Got it!") for way in WAYS}
    assert texts["alone"] == texts['alone, "!"'] == "Got it!"
    assert texts['alone, "..."'] == "Got it..."
    assert texts["after a sentence"] == "I can hear you. Got it!"
    assert texts["between sentences"] == "I can hear you. Got it! Please take your time."
    assert WAYS[-2].text("B.") == "I can hear you. B! Please take your time."


@pytest.mark.parametrize(
    ("before", "phrase", "length_s"), [("", "Got it!", 0.4), ("Got it!", "Let me.", 0.6)]
)
def test_a_phrase_is_cut_out_at_the_pause(before: str, phrase: str, length_s: float) -> None:
    pcm = np.concatenate([tone(0.4, 0.3), np.zeros(4800, np.int16), tone(0.6, 0.3)])
    cut, pause_s = short_phrases.cut_out(Clip(pcm, GOT_IT_LET_ME), before, phrase)
    assert pause_s == pytest.approx(0.2, abs=0.01)
    assert len(cut) / SAMPLE_RATE_HZ == pytest.approx(length_s, abs=0.1)


def test_a_phrase_is_cut_out_on_both_sides() -> None:
    gap = np.zeros(2400, np.int16)
    pcm = np.concatenate([tone(0.25, 0.3), gap, tone(0.3, 0.3), gap, tone(0.3, 0.3)])
    words = said(("I", 0.0, 0.3), ("see", 0.3, 0.7), (".", 0.7, 0.7), ("Well", 0.7, 1.05))
    cut, pause_s = short_phrases.cut_out(Clip(pcm, words), "I", "see.")
    assert pause_s == pytest.approx(0.1, abs=0.01)
    assert len(cut) / SAMPLE_RATE_HZ == pytest.approx(0.3, abs=0.1)


def test_where_there_is_no_pause_the_cut_says_so() -> None:
    cut, pause_s = short_phrases.cut_out(Clip(tone(1.2, 0.3), GOT_IT_LET_ME), "", "Got it!")
    assert pause_s == 0.0
    assert 0.3 < len(cut) / SAMPLE_RATE_HZ < 0.9


def test_a_phrase_that_the_model_did_not_say_is_an_error() -> None:
    with pytest.raises(EngineError, match="Yes"):
        short_phrases.cut_out(Clip(tone(1.2, 0.3), GOT_IT_LET_ME), "", "Yes.")


def test_the_longest_run_is_found() -> None:
    assert short_phrases.longest_run([True, False, True, True, False]) == (2, 4)
    assert short_phrases.longest_run([False]) == (0, 0)


def test_other_spellings_of_what_was_said_are_no_errors() -> None:
    assert not short_phrases.misheard("Nine.", "9")
    assert not short_phrases.misheard("Mm-hmm.", "Mm hmm!")
    assert not short_phrases.misheard("Mm-hmm.", "Mhm.")
    assert short_phrases.misheard("Nine.", "Nighttime")
    assert short_phrases.misheard("Yes.", "")


def test_of_a_reply_only_what_comes_before_its_sentence_counts() -> None:
    assert short_phrases.begins_with("Yes, let me check that for you.") == "Yes, "
    assert short_phrases.begins_with("Let me check that for you.") == ""
    assert short_phrases.begins_with("Yes, that is for you.") == "Yes, that is for you."


def test_a_step_is_between_each_phrase_and_each_sentence() -> None:
    assert short_phrases.steps_db([-30.0, -22.0], [-20.0, -24.0]) == [10.0, 6.0, 2.0, 2.0]
