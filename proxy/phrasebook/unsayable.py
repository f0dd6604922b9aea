"""Asking the engine whether it has a sound for everything in the books."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from proxy.phrasebook.book import Phrase, Phrasebook, Problem
from proxy.speech.wording import Who, Wordings, read_pieces
from synth.engine import Segment
from synth.text.normalise import is_plain
from synth.voices import DEFAULT_VOICE, parse_voice

_AT_A_TIME = 16


class G2p(Protocol):
    """What knows the sounds of a language."""

    async def check(self, segments: Sequence[Segment]) -> list[str | None]:
        """Why each of them cannot be said; None: it can."""
        ...


async def unsayable(books: Sequence[Phrasebook], engine: G2p) -> AsyncIterator[Problem]:
    """What cannot be said. Text of which it is certain that it can is not asked about."""
    asked: list[tuple[Path, int | None, Segment]] = [
        (phrase.path, phrase.line, segment)
        for book in books
        for phrase in book.phrases
        for segment in _segments(book, phrase)
    ]
    # Also words that no phrase has: requests that name the book may.
    asked += [(book.path, None, segment) for book in books for segment in _words(book)]
    told: set[Problem] = set()
    for begin in range(0, len(asked), _AT_A_TIME):
        some = asked[begin : begin + _AT_A_TIME]
        reasons = await engine.check([segment for *_, segment in some])
        for (path, line, _), why in zip(some, reasons, strict=True):
            if why is None:
                continue
            problem = Problem(path, line, why)
            if problem not in told:
                told.add(problem)
                yield problem


def _words(book: Phrasebook) -> list[Segment]:
    """Those of the lexicon, one by one."""
    chosen = parse_voice(DEFAULT_VOICE)
    return [
        Segment(f"[{word}](/{phonemes}/)", chosen.blend, chosen.language.code, 1.0, seed=0)
        for word, phonemes in book.lexicon.phonemes.items()
    ]


def _segments(book: Phrasebook, phrase: Phrase) -> list[Segment]:
    """Once for each language that the phrase's voices speak."""
    if phrase.recording is not None:
        return []
    found: dict[str, list[Segment]] = {}
    for voice in phrase.voices:
        language = phrase.language_of(voice)
        if language.code not in found:
            who = Who(voice, language.code, 1.0)
            pieces = read_pieces(phrase.text, language, who, Wordings(), book.lexicon)
            found[language.code] = [
                Segment(piece.text, parse_voice(voice).blend, language.code, 1.0, seed=0)
                for piece in pieces
                if not is_plain(piece.text)
            ]
    return [segment for segments in found.values() for segment in segments]
