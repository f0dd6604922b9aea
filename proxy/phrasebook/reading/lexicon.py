"""The lexicon of a book: that of its file, and those of the files that it includes."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.phrasebook.book import Problem
from proxy.phrasebook.reading.folder import Folder
from proxy.phrasebook.reading.include import Part
from proxy.phrasebook.reading.written import Pronunciation
from synth.text.marks import Lexicon

MAX_WORDS = 1_000
"""Each is looked for in every text that is said by the lexicon."""


def join_lexicons(book: Part, folder: Folder) -> tuple[Lexicon, list[Problem]]:
    """All of them as one, and a problem for each word that has other phonemes elsewhere. Letter
    case does not count."""
    known: dict[str, Pronunciation] = {}
    problems = []
    for part in book:
        for new in part.file.lexicon:
            old = known.setdefault(new.word.casefold(), new)
            if old.phonemes != new.phonemes:
                where = folder.line_of(old.place.path, old.place.line, new.place.path)
                why = (
                    f"lexicon: {new.word!r} has other phonemes {where}, and a book has one lexicon"
                )
                problem = Problem(new.place.path, new.place.line, f"{why}: keep one of them")
                problems.append(problem)
    if len(known) > MAX_WORDS:
        why = f"lexicon: {len(known)} words are more than the {MAX_WORDS} that a book may have"
        problems.append(Problem(book.file.path, None, f"{why}: leave some out"))
    return Lexicon({each.word: each.phonemes for each in known.values()}), problems


def unused_lexicons(book: Part) -> Iterator[Problem]:
    """What is wrong with the lexicons of a book that says nothing in English."""
    for part in book:
        for first in part.file.lexicon[:1]:
            yield Problem(
                first.place.path,
                first.place.line,
                "lexicon: phonemes are read in English alone, and nothing in this book is English: "
                "take it out",
            )
