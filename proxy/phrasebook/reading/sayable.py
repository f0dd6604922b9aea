"""Whether a phrase can be said, as far as can be told without the engine. Pure."""

from __future__ import annotations

import regex

from synth.engine import CannotSay
from synth.text.marks import (
    LANGUAGES_WITH_PRONUNCIATIONS,
    Lexicon,
    cut_pauses,
    has_pronunciations,
    malformed_pronunciation,
    without_pronunciations,
)
from synth.text.normalise import check_script, has_speech, normalise
from synth.voices import Language

_NO_PHONEMES = regex.compile(r"\[[^\[\]]+\]\(/\s*/\)")


def check_marks(text: str) -> None:
    """Raises CannotSay: there is no text, or a mark in it is wrong whatever the language."""
    if not text.strip():
        raise CannotSay("this text is empty: write what is said, or take it out")
    cut_pauses(text)
    if (like := malformed_pronunciation(text)) is not None:
        raise CannotSay(f"cannot read {like!r}: write a word with its phonemes as [word](/wˈɜɹd/)")
    if match := _NO_PHONEMES.search(text):
        raise CannotSay(f"{match[0]} has no phonemes between its slashes: write some")


def plain_words(text: str, language: Language) -> str:
    """What is said, without marks: by this it is known that two phrases are of the same words.

    Raises:
        CannotSay: as `check_marks`; or the language has no pronunciations or is of another script,
            or there is nothing to say.
    """
    check_marks(text)
    if has_pronunciations(text) and language.code not in LANGUAGES_WITH_PRONUNCIATIONS:
        raise CannotSay(
            f"phonemes are read in English alone, and {language.name} would say them letter by "
            "letter: take them out"
        )
    said = [normalise(without_pronunciations(part.text), language) for part in cut_pauses(text)]
    for words in said:
        check_script(words, language)
    if not any(has_speech(words) for words in said):
        raise CannotSay("there is nothing to say here: the text has no letters or digits")
    if not has_speech(said[0]):
        raise CannotSay("there is nothing to say before the first pause: take the pause out")
    return " ".join(said)


def as_said(
    text: str, language: Language, lexicon: Lexicon
) -> tuple[tuple[str, float | None], ...]:
    """What is said, with phonemes, and the pauses in it. The text is one that can be said."""
    english = language.code in LANGUAGES_WITH_PRONUNCIATIONS
    return tuple(
        (lexicon.mark(words) if english else words, part.pause_s)
        for part in cut_pauses(text)
        if (words := normalise(part.text, language))
    )
