"""Marks in text that say how it is spoken: pauses, and words with their phonemes.

A pause is `[pause:0.5s]` or `[pause:500ms]`. A word with its phonemes is misaki's own syntax,
`[Kokoro](/kˈOkəɹO/)`, which its English G2P alone understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import regex

from synth.engine import CannotSay

MAX_PAUSE_S = 10.0
MAX_PAUSES_S = 30.0
"""Of all pauses in a text: silence costs nothing to write down, and memory to send."""

LANGUAGES_WITH_PRONUNCIATIONS = ("a", "b")
"""By code. The G2P of the others would read the marks out."""

_PAUSE = regex.compile(
    r"\[\s*pause\s*:\s*(?P<length>\d{1,6}(?:\.\d{1,6})?)\s*(?P<unit>ms|s)\s*\]", regex.I
)
_LIKE_A_PAUSE = regex.compile(r"\[\s*pause\b[^\]]*\]", regex.I)
_PRONUNCIATION = regex.compile(r"\[(?P<word>[^\[\]]+)\]\(/(?P<phonemes>[^()]*)/\)")
_LIKE_A_PRONUNCIATION = regex.compile(r"\[[^\[\]]*\]\((?!/[^()]*/\)|[+-]?[\d.]+\))")
_MARKED = r"\[[^\[\]]+\]\([^()]*\)"


@dataclass(frozen=True, slots=True)
class Part:
    """What is said between two pauses."""

    text: str
    pause_s: float | None
    """The pause that is written after it; None: there is none written."""


def cut_pauses(text: str) -> list[Part]:
    """The text in front of each pause, and behind the last. Pauses that follow each other add up.

    Raises:
        CannotSay: a pause cannot be read, is longer than `MAX_PAUSE_S`, or has nothing before it;
            or all of them are longer than `MAX_PAUSES_S`.
    """
    parts: list[Part] = []
    begin = 0
    in_all_s = 0.0
    for match in _PAUSE.finditer(text):
        said = text[begin : match.start()]
        _refuse_what_is_like_a_pause(said)
        begin = match.end()
        pause_s = float(match["length"]) / (1000 if match["unit"].lower() == "ms" else 1)
        in_all_s += pause_s
        if in_all_s > MAX_PAUSES_S:
            raise CannotSay(f"Its pauses are too long: {MAX_PAUSES_S:g} s is the most in all.")
        if said.strip():
            parts.append(Part(said, pause_s))
        elif parts:
            pause_s += parts[-1].pause_s or 0.0
            parts[-1] = Part(parts[-1].text, pause_s)
        else:
            raise CannotSay(f"{match[0]} has nothing before it: a pause follows what is said.")
        if pause_s > MAX_PAUSE_S:
            raise CannotSay(f"{match[0]} is too long: {MAX_PAUSE_S:g} s is the longest pause.")
    rest = text[begin:]
    _refuse_what_is_like_a_pause(rest)
    if rest.strip() or not parts:
        parts.append(Part(rest, None))
    return parts


def without_marks(text: str) -> str:
    """What is left to be read: no pauses, and words instead of their phonemes.

    Raises:
        CannotSay: as `cut_pauses`.
    """
    return without_pronunciations(" ".join(part.text.strip() for part in cut_pauses(text)))


def without_pronunciations(text: str) -> str:
    return _PRONUNCIATION.sub(r"\g<word>", text)


def pronunciations_in(text: str) -> list[tuple[str, str]]:
    """The words that have phonemes in the text, with these, without slashes."""
    return [(match["word"], match["phonemes"]) for match in _PRONUNCIATION.finditer(text)]


def malformed_pronunciation(text: str) -> str | None:
    """What looks like a word with its phonemes, and is not one; a link in Markdown, too."""
    match = _LIKE_A_PRONUNCIATION.search(text)
    return None if match is None else text[match.start() : match.start() + 40]


def has_pronunciations(text: str) -> bool:
    return _PRONUNCIATION.search(text) is not None


@dataclass(frozen=True)
class Lexicon:
    """Words, and how they are pronounced. Letter case does not count."""

    phonemes: Mapping[str, str] = field(default_factory=dict)
    """By word, without slashes: `{"Kokoro": "kˈOkəɹO"}`."""

    def mark(self, text: str) -> str:
        """The text with the phonemes of every word that is in the lexicon. What is marked already
        stays as it is."""
        if not self.phonemes:
            return text
        return self._pattern.sub(self._marked, text)

    def _marked(self, match: regex.Match[str]) -> str:
        word = match["word"]
        phonemes = None if word is None else self._folded.get(word.casefold())
        return match[0] if phonemes is None else f"[{word}](/{phonemes}/)"

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {word.casefold(): phonemes for word, phonemes in self.phonemes.items()}

    @cached_property
    def _pattern(self) -> regex.Pattern[str]:
        # Longer words first: "New York" is not "New".
        longest_first = sorted(self.phonemes, key=len, reverse=True)
        words = "|".join(regex.escape(word) for word in longest_first)
        return regex.compile(
            rf"{_MARKED}|(?<![\p{{L}}\p{{N}}])(?P<word>{words})(?![\p{{L}}\p{{N}}])", regex.I
        )


def _refuse_what_is_like_a_pause(text: str) -> None:
    if match := _LIKE_A_PAUSE.search(text):
        raise CannotSay(
            f"Cannot read {match[0][:40]!r}: write a pause as [pause:0.5s] or [pause:500ms]."
        )
