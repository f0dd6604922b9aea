"""The same words twice in one book: they must be said the same way, since they are asked for by
their words alone."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.phrasebook.book import Phrase, Problem
from proxy.phrasebook.reading.folder import Folder
from proxy.phrasebook.reading.sayable import as_said
from synth.text.marks import Lexicon
from synth.voices import LANGUAGES


class SaidTwice:
    """Notes the phrases of one book."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._phrases: dict[tuple[str, str], list[Phrase]] = {}
        """By language and plain words."""
        self.words: dict[tuple[str, str], str] = {}
        """Plain words by text and code of the language: see `plain_words`."""

    def add(self, phrase: Phrase) -> None:
        for code in {phrase.language_of(voice).code for voice in phrase.voices}:
            words = self.words.get((phrase.text, code))
            if words is not None:
                self._phrases.setdefault((code, words), []).append(phrase)

    def problems(self, lexicon: Lexicon) -> Iterator[Problem]:
        """One for each phrase whose words come earlier, by the same voice, and said otherwise."""
        for (code, _), phrases in self._phrases.items():
            if len(phrases) > 1:
                yield from self._conflicts(code, phrases, lexicon)

    def _conflicts(self, code: str, phrases: list[Phrase], lexicon: Lexicon) -> Iterator[Problem]:
        first: dict[tuple[str, float], tuple[object, Phrase]] = {}
        for phrase in phrases:
            how = _how(phrase, code, lexicon)
            for who in _who_says(phrase, code):
                known, earlier = first.setdefault(who, (how, phrase))
                if known != how:
                    where = self._folder.line_of(earlier.path, earlier.line, phrase.path)
                    yield Problem(
                        phrase.path,
                        phrase.line,
                        f"these words stand {where} already, and {who[0]} says them otherwise "
                        "there: give both the same phonemes, pauses and recording, or take one out",
                    )
                    break


def _how(phrase: Phrase, code: str, lexicon: Lexicon) -> object:
    if phrase.recording is not None:
        return phrase.recording.digest
    return as_said(phrase.text, LANGUAGES[code], lexicon)


def _who_says(phrase: Phrase, code: str) -> Iterator[tuple[str, float]]:
    for voice in phrase.voices:
        if phrase.language_of(voice).code == code:
            for speed in phrase.speeds:
                yield voice, speed
