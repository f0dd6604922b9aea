"""How text is cut into segments: where people pause, and without losing any of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.text.normalise import has_speech, normalise
from synth.text.sentences import MAX_SEGMENT_CHARS, split
from synth.voices import LANGUAGES, Language

ENGLISH = LANGUAGES["a"]
LANGUAGE = st.sampled_from([LANGUAGES[code] for code in "abefhijpz"])
TEXT = st.one_of(
    st.text(),
    st.lists(
        st.one_of(
            st.sampled_from(["Dr. ", "e.g. ", "3.5 ", "a@b.co ", "Oh? ", "No! ", ", ", "— ", "…"]),
            st.sampled_from(["\n", "。", "।", '." ', "J. ", "x", "word ", "x" * 299, "и" * 301]),
            st.text(max_size=8),
        ),
        max_size=120,
    ).map("".join),
)


def test_a_reply_of_three_sentences_is_three_segments() -> None:
    assert split("Got it! Thanks. Your total is $29.99.", ENGLISH) == [
        "Got it!",
        "Thanks.",
        "Your total is $29.99.",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "Dr. Smith will see you.",
        "Mr. and Mrs. Jones are here.",
        "J. R. R. Tolkien wrote it.",
        "We close at 5 p.m. on weekdays.",
        "The meeting is at 10.30 a.m. sharp.",
        "It weighs 3.5 kilograms.",
        "Version 2.5.1 is out.",
        "Write to help.desk@example.com for more.",
        "See https://www.example.com/a.html?b=c.d for details.",
        "Bring a pen, paper, etc. to the exam.",
        "Some fruit, e.g. apples, is fine.",
        "She lives in the U.S. with her son.",
        "It is No. 5 on the list.",
        "Wait… what?",
    ],
)
def test_a_full_stop_inside_a_sentence_does_not_cut_it(sentence: str) -> None:
    assert split(f"Hello. {sentence} Goodbye.", ENGLISH) == ["Hello.", sentence, "Goodbye."]


@pytest.mark.parametrize(
    ("code", "text", "sentences"),
    [
        ("b", "Right. Off we go!", ["Right.", "Off we go!"]),
        ("e", "¡Hola! ¿Qué tal?", ["¡Hola!", "¿Qué tal?"]),
        ("f", "Oui. Non.", ["Oui.", "Non."]),
        ("h", "हाँ। नहीं।", ["हाँ।", "नहीं।"]),
        ("i", "Sì. No.", ["Sì.", "No."]),
        ("j", "はい。いいえ。", ["はい。", "いいえ。"]),
        ("p", "Sim. Não.", ["Sim.", "Não."]),
        ("z", "好。不好！", ["好。", "不好！"]),
    ],
)
def test_every_language_ends_sentences_its_own_way(
    code: str, text: str, sentences: list[str]
) -> None:
    assert split(text, LANGUAGES[code]) == sentences


def test_a_line_break_ends_a_segment() -> None:
    assert split("First item\nSecond item\nDone.", ENGLISH) == [
        "First item",
        "Second item",
        "Done.",
    ]


@pytest.mark.parametrize("text", ["", "...", '"..."', "...\n—\n?!"])
def test_a_text_with_nothing_to_say_has_no_segments(text: str) -> None:
    assert split(text, ENGLISH) == []


def test_pieces_with_nothing_to_say_are_left_out() -> None:
    assert split("...\nHello.\n—\nBye.\n!!!", ENGLISH) == ["Hello.", "Bye."]


def test_a_sentence_of_the_greatest_length_is_not_cut() -> None:
    sentence = ("word, " * 100)[: MAX_SEGMENT_CHARS - 1] + "."
    assert split(sentence, ENGLISH) == [sentence]


def test_a_long_sentence_is_cut_at_clauses() -> None:
    clause = "this clause has some sixty characters, give or take a few of"
    pieces = split(", ".join([clause + " them"] * 12) + ".", ENGLISH)
    assert len(pieces) > 1
    assert all(piece.endswith((",", ".")) for piece in pieces)
    assert all(len(piece) > MAX_SEGMENT_CHARS / 2 for piece in pieces[:-1])


def test_a_long_clause_is_cut_between_words() -> None:
    words = [f"word{number}" for number in range(100)]
    pieces = split(" ".join(words), ENGLISH)
    assert len(pieces) > 1
    assert " ".join(pieces).split() == words


def test_a_long_word_is_cut_anywhere() -> None:
    word = "abcdefghij" * 70
    pieces = split(word, ENGLISH)
    assert [len(piece) for piece in pieces] == [MAX_SEGMENT_CHARS, MAX_SEGMENT_CHARS, 100]
    assert "".join(pieces) == word


@pytest.mark.parametrize("code", ["j", "z"])
def test_a_long_sentence_without_blanks_is_cut_at_its_own_commas(code: str) -> None:
    clause = "漢" * 99 + ("、" if code == "j" else "，")
    pieces = split(clause * 5 + "終。", LANGUAGES[code])
    assert pieces == [clause * 3, clause * 2 + "終。"]


@given(TEXT, LANGUAGE)
def test_no_letter_and_no_digit_is_lost_or_moved(text: str, language: Language) -> None:
    said = normalise(text, language)
    pieces = split(said, language)
    assert [c for piece in pieces for c in piece if has_speech(c)] == [
        c for c in said if has_speech(c)
    ]


@given(TEXT, LANGUAGE)
def test_every_piece_fits_and_has_something_to_say(text: str, language: Language) -> None:
    for piece in split(normalise(text, language), language):
        assert 0 < len(piece) <= MAX_SEGMENT_CHARS
        assert has_speech(piece)
        assert piece == piece.strip()
