"""How what is written is said: sentence by sentence, or as a phrasebook has it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from synth.audio.recording import Recording
from synth.engine import CannotSay
from synth.text.marks import (
    LANGUAGES_WITH_PRONUNCIATIONS,
    Lexicon,
    cut_pauses,
    without_marks,
    without_pronunciations,
)
from synth.text.normalise import check_script, normalise
from synth.text.sentences import split
from synth.voices import Language, near

NO_LEXICON = Lexicon()


class UnknownPhrasebook(ValueError):
    """A phrasebook is named that is not in use."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is made in one go, and the pause after it."""

    text: str
    """A sentence, as a rule: what the engine gets, with phonemes where they are given."""
    pause_s: float | None = None
    """As it is written; None: as the punctuation has it."""
    sentences: tuple[str, ...] = ()
    """The sentences that this is, or is a part of, without any marks: what it is looked for by."""
    recording: Recording | None = None
    """Heard in place of the engine's voice."""


class Who(NamedTuple):
    """Whose speech it is."""

    voice: str
    """The blend in its canonical spelling."""
    language: str
    """A code."""
    speed: float


@dataclass(frozen=True, slots=True)
class Wording:
    """How a run of sentences is said, where it is not as they stand."""

    sentences: tuple[str, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Wordings:
    """What the phrasebooks in use say of how things are said."""

    lexicons: Mapping[str, Lexicon] = field(default_factory=dict)
    """By the name of the book."""
    by_first: Mapping[tuple[Who, str], tuple[Wording, ...]] = field(default_factory=dict)
    """By who says it and the first sentence; those of most sentences come first."""

    @classmethod
    def of(
        cls, lexicons: Mapping[str, Lexicon], wordings: Iterable[tuple[Who, Wording]]
    ) -> Wordings:
        """Of two for the same sentences and voice the first one counts."""
        found: dict[tuple[Who, str], dict[tuple[str, ...], Wording]] = {}
        for who, wording in wordings:
            same = found.setdefault((who, wording.sentences[0]), {})
            same.setdefault(wording.sentences, wording)
        return cls(
            dict(lexicons),
            {
                first: tuple(sorted(same.values(), key=lambda it: -len(it.sentences)))
                for first, same in found.items()
            },
        )

    def lexicon(self, phrasebook: str | None) -> Lexicon:
        """Raises UnknownPhrasebook: no book of this name is in use."""
        if phrasebook is None:
            return NO_LEXICON
        if phrasebook not in self.lexicons:
            raise UnknownPhrasebook(
                f"There is no phrasebook {phrasebook[:80]!r} in use."
                f"{near(phrasebook[:80], self.lexicons)}"
            )
        return self.lexicons[phrasebook]

    def say(self, sentences: Sequence[str], who: Who, lexicon: Lexicon) -> Iterator[Piece]:
        """The longest runs that a book has a wording for, and between them what stands there."""
        place = 0
        while place < len(sentences):
            wording = self._wording(sentences, place, who)
            if wording is not None:
                place += len(wording.sentences)
                yield from wording.pieces
            else:
                yield plain_piece(sentences[place], who.language, lexicon)
                place += 1

    def _wording(self, sentences: Sequence[str], place: int, who: Who) -> Wording | None:
        if not self.by_first:
            return None
        for wording in self.by_first.get((who, sentences[place]), ()):
            end = place + len(wording.sentences)
            if tuple(sentences[place:end]) == wording.sentences:
                return wording
        return None


def plain_piece(sentence: str, language: str, lexicon: Lexicon) -> Piece:
    """A sentence by itself, with the phonemes that the lexicon has for its words."""
    marked = lexicon.mark(sentence) if language in LANGUAGES_WITH_PRONUNCIATIONS else sentence
    return Piece(marked, sentences=(without_pronunciations(sentence),))


def read_pieces(
    text: str, language: Language, who: Who, wordings: Wordings, lexicon: Lexicon
) -> list[Piece]:
    """What a text is said in, in order.

    Raises:
        CannotSay: nothing in the text can be said, it is in another script, or a pause is wrong.
    """
    pieces: list[Piece] = []
    for part in cut_pauses(text):
        said = list(wordings.say(sentences_of(part.text, language), who, lexicon))
        if not said and not pieces and part.pause_s is not None:
            raise CannotSay("There is nothing to say before the first pause.")
        pieces += said
        if part.pause_s is not None:
            # Where nothing was said since the last pause, the two add up.
            so_far_s = 0.0 if said else pieces[-1].pause_s or 0.0
            pieces[-1] = replace(pieces[-1], pause_s=so_far_s + part.pause_s)
    if not pieces:
        raise CannotSay("There is nothing to say in this text: it has no letters or digits.")
    return pieces


def sentences_of(text: str, language: Language) -> list[str]:
    """Raises CannotSay: it is in another script."""
    text = normalise(text, language)
    check_script(text, language)
    return split(text, language)


def wording_of(
    text: str, language: Language, who: Who, lexicon: Lexicon, recording: Recording | None
) -> Wording | None:
    """How a phrase of a book is said where its words are asked for; None: as they stand.

    Raises:
        CannotSay: see `read_pieces`.
    """
    sentences = tuple(sentences_of(without_marks(text), language))
    if not sentences:
        raise CannotSay("There is nothing to say in this text: it has no letters or digits.")
    if recording is not None:
        whole = Piece(" ".join(sentences), sentences=sentences, recording=recording)
        return Wording(sentences, (whole,))
    nothing_known = Wordings()
    pieces = read_pieces(text, language, who, nothing_known, lexicon)
    if pieces == read_pieces(without_marks(text), language, who, nothing_known, NO_LEXICON):
        return None
    return Wording(sentences, tuple(replace(piece, sentences=sentences) for piece in pieces))
