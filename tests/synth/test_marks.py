"""Marks in text: pauses, and words with their phonemes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.engine import CannotSay
from synth.text.marks import (
    Lexicon,
    Part,
    cut_pauses,
    has_pronunciations,
    malformed_pronunciation,
    without_marks,
    without_pronunciations,
)

LEXICON = Lexicon({"Kokoro": "kˈOkəɹO", "New York": "nuː jˈɔːɹk", "New": "nˈuː"})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Hello.", [("Hello.", None)]),
        ("", [("", None)]),
        ("One [pause:0.5s] two.", [("One ", 0.5), (" two.", None)]),
        ("One [pause:500ms] two.", [("One ", 0.5), (" two.", None)]),
        ("One [ Pause : 1 S ] two.", [("One ", 1.0), (" two.", None)]),
        ("One.[pause:1s]", [("One.", 1.0)]),
        ("One.[pause:1s] [pause:250ms]Two.", [("One.", 1.25), ("Two.", None)]),
        ("We pause: one second.", [("We pause: one second.", None)]),
    ],
)
def test_a_text_is_cut_at_its_pauses(text: str, parts: list[tuple[str, float | None]]) -> None:
    assert cut_pauses(text) == [Part(said, pause_s) for said, pause_s in parts]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[pause:1s] Hello.", "has nothing before it"),
        ("Hello. [pause:11s]", "10 s is the longest pause"),
        ("Hello. [pause:6s][pause:6s]", "10 s is the longest pause"),
        ("One[pause:9s] two[pause:9s] three[pause:9s] four[pause:9s]", "30 s is the most in all"),
        ("Hello. [pause]", "write a pause as [pause:0.5s] or [pause:500ms]"),
        ("Hello. [pause:1]", "write a pause as"),
        ("Hello. [pause:-1s]", "write a pause as"),
        ("Hello. [pause: one second] Bye.", "write a pause as"),
    ],
)
def test_a_pause_that_is_wrong_is_refused(text: str, says: str) -> None:
    with pytest.raises(CannotSay) as refused:
        cut_pauses(text)
    assert says in str(refused.value)


def test_what_is_left_without_marks_is_what_is_read() -> None:
    assert without_marks("One moment, [pause:1s] [Ann](/ˈan/).") == "One moment, Ann."
    assert without_pronunciations("[New York](/x/) and [this](is no phoneme)") == (
        "New York and [this](is no phoneme)"
    )
    assert has_pronunciations("[Ann](/ˈan/)") and not has_pronunciations("[Ann](+1)")


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Kokoro speaks.", "[Kokoro](/kˈOkəɹO/) speaks."),
        ("kokoro's", "[kokoro](/kˈOkəɹO/)'s"),
        ("Kokoros, Kokoro2", "Kokoros, Kokoro2"),
        ("New York is new.", "[New York](/nuː jˈɔːɹk/) is [new](/nˈuː/)."),
        ("[Kokoro](/other/) and [New](+1)", "[Kokoro](/other/) and [New](+1)"),
    ],
)
def test_words_of_a_lexicon_are_marked_and_what_is_marked_stays(text: str, marked: str) -> None:
    assert LEXICON.mark(text) == marked


@given(st.text(), st.dictionaries(st.text(min_size=1), st.just("ə"), max_size=5))
def test_a_lexicon_marks_any_text_without_fail_and_twice_is_once(
    text: str, words: dict[str, str]
) -> None:
    lexicon = Lexicon(words)
    marked = lexicon.mark(text)
    if "[" not in text and "]" not in text and not any({"[", "]"} & set(word) for word in words):
        assert without_pronunciations(marked) == text
        assert lexicon.mark(marked) == marked


@given(st.text())
def test_any_text_is_cut_or_refused(text: str) -> None:
    try:
        parts = cut_pauses(text)
    except CannotSay:
        return
    assert parts


@pytest.mark.parametrize("text", ["[Bob](bob)", "[Bob](/bob/.", "[a](http://x)", "[](x)"])
def test_what_is_nearly_a_pronunciation_is_told(text: str) -> None:
    assert malformed_pronunciation(f"Call {text} now.") is not None


@pytest.mark.parametrize("text", ["[Bob](/bˈɑb/)", "[Bob](+1)", "[Bob](-0.5)", "(Bob)", "[1] (2)"])
def test_what_is_one_or_nothing_like_it_is_not(text: str) -> None:
    assert malformed_pronunciation(f"Call {text} now.") is None
