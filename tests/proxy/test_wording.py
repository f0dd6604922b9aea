"""How what is written is said: sentence by sentence, or as a phrasebook has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.speech.wording import (
    NO_LEXICON,
    Piece,
    UnknownPhrasebook,
    Who,
    Wording,
    Wordings,
    read_pieces,
    wording_of,
)
from synth.engine import CannotSay
from synth.text.marks import Lexicon
from synth.voices import LANGUAGES

AMERICAN, SPANISH = LANGUAGES["a"], LANGUAGES["e"]
BELLA = Who("af_bella", "a", 1.0)


def wording(text: str, who: Who = BELLA, lexicon: Lexicon = NO_LEXICON) -> tuple[Who, Wording]:
    """How a phrase is said; it must be otherwise than it stands there."""
    found = wording_of(text, LANGUAGES[who.language], who, lexicon, recording=None)
    assert found is not None
    return who, found


def said(text: str, wordings: Wordings, who: Who = BELLA) -> list[tuple[str, float | None]]:
    language = LANGUAGES[who.language]
    pieces = read_pieces(text, language, who, wordings, wordings.lexicon(None))
    return [(piece.text, piece.pause_s) for piece in pieces]


def test_without_a_wording_sentences_are_said_as_they_stand() -> None:
    assert said("One. Two, [pause:1s] three.", Wordings()) == [
        ("One.", None),
        ("Two,", 1.0),
        ("three.", None),
    ]


def test_a_phrase_that_is_said_as_it_stands_has_no_wording() -> None:
    assert wording_of("One. Two.", AMERICAN, BELLA, NO_LEXICON, None) is None
    assert wording_of("One. Two.", AMERICAN, BELLA, Lexicon({"Three": "θɹˈi"}), None) is None


def test_the_longest_run_of_sentences_that_a_book_knows_is_said_as_it_has_it() -> None:
    wordings = Wordings.of(
        {}, [wording("One. [pause:1s] Two."), wording("One.[pause:2s]"), wording("Two.[pause:3s]")]
    )
    assert said("One. Two.", wordings) == [("One.", 1.0), ("Two.", None)]
    assert said("One. Three. Two.", wordings) == [("One.", 2.0), ("Three.", None), ("Two.", 3.0)]
    # What the text itself says of pauses goes before what a book says.
    assert said("One.[pause:5s] Two.", wordings) == [("One.", 5.0), ("Two.", 3.0)]


def test_who_says_it_matters() -> None:
    wordings = Wordings.of({}, [wording("Hello, [pause:1s] you.")])
    assert len(said("Hello, you.", wordings)) == 2
    for who in (Who("af_sky", "a", 1.0), Who("af_bella", "a", 1.1), Who("af_bella", "b", 1.0)):
        assert said("Hello, you.", wordings, who) == [("Hello, you.", None)]


def test_what_is_said_otherwise_is_still_found_by_its_words() -> None:
    _, found = wording("Hello, [pause:1s] [Ann](/ˈæn/). Bye.")
    assert found.sentences == ("Hello, Ann.", "Bye.")
    assert {piece.sentences for piece in found.pieces} == {found.sentences}


def test_a_lexicon_is_for_english() -> None:
    lexicon = Lexicon({"Ann": "ˈæn"})
    english = read_pieces("Hello Ann.", AMERICAN, BELLA, Wordings(), lexicon)
    assert english == [Piece("Hello [Ann](/ˈæn/).", None, ("Hello Ann.",))]
    dora = Who("ef_dora", "e", 1.0)
    spanish = read_pieces("Hola Ann.", SPANISH, dora, Wordings(), lexicon)
    assert spanish == [Piece("Hola Ann.", None, ("Hola Ann.",))]


def test_a_book_that_is_not_in_use_is_named_with_what_is_near() -> None:
    with pytest.raises(UnknownPhrasebook, match="Did you mean 'desk'"):
        Wordings(lexicons={"desk": NO_LEXICON}).lexicon("dsek")


@pytest.mark.parametrize("text", ["", "...", "... [pause:1s]", "[pause:1s]", "🙂"])
def test_where_there_is_nothing_to_say_that_is_told(text: str) -> None:
    with pytest.raises(CannotSay):
        read_pieces(text, AMERICAN, BELLA, Wordings(), NO_LEXICON)


@given(st.lists(st.sampled_from(["One.", "Two.", "Three."]), min_size=1, max_size=8), st.data())
def test_every_sentence_is_said_once_and_in_order(text: list[str], data: st.DataObject) -> None:
    runs = st.lists(st.sampled_from(["One.", "Two.", "Three."]), min_size=1, max_size=3)
    known = data.draw(st.lists(runs, max_size=4))
    wordings = Wordings.of({}, [wording(" ".join(run) + "[pause:1s]") for run in known])
    assert [sentence for sentence, _ in said(" ".join(text), wordings)] == text
