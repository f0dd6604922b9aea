"""What mining tells: the book that is proposed, as a file and in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from proxy.phrasebook.book import Phrasebook
from proxy.phrasebook.mining.heard import Heard, Sentence, Totals
from proxy.phrasebook.mining.proposal import Proposal, to_yaml
from proxy.phrasebook.mining.propose import propose
from proxy.speech.wording import Who, Wordings, read_pieces


@dataclass(frozen=True, slots=True)
class Mined:
    """A proposal, and what it is drawn from."""

    book: str
    """The file, in YAML."""
    proposal: Proposal
    totals: Totals
    max_error: int
    """By how much the counts can be too low."""


_MINED = TypeAdapter(Mined)


def mine(
    heard: Heard,
    books: Sequence[Phrasebook],
    min_requests: int,
    max_phrases: int | None = None,
    name: str = "mined",
) -> Mined:
    """What `books` do not hold and was heard in `min_requests` requests or more. Takes a second
    for ten thousand sentences."""
    known = frozenset(_sentences_in(books))
    proposal = propose(heard, min_requests, known.__contains__, max_phrases)
    return Mined(to_yaml(proposal, name), proposal, heard.totals, heard.max_error)


def mined_to_json(mined: Mined) -> Any:
    """Numbers, texts, lists and objects."""
    return _MINED.dump_python(mined, mode="json")


def mined_from_json(data: bytes) -> Mined:
    """Raises ValueError: it is not what `mined_to_json` wrote."""
    return _MINED.validate_json(data)


def _sentences_in(books: Sequence[Phrasebook]) -> Iterator[Sentence]:
    for book in books:
        for phrase in book.phrases:
            for voice in phrase.voices:
                language = phrase.language_of(voice)
                who = Who(voice, language.code, 1.0)
                pieces = read_pieces(phrase.text, language, who, Wordings(), book.lexicon)
                for speed in phrase.speeds:
                    for piece in pieces:
                        yield Sentence(piece.text, voice, language.code, speed)
