"""Takes: what phrasebooks come to, phrase by phrase, voice by voice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from proxy.cache.key import Key
from proxy.phrasebook.book import Phrase, Phrasebook
from proxy.phrasebook.cost import speech_s
from proxy.speech.plan import Plan, PlannedClip, Planner, Wanted
from proxy.speech.wording import Who, Wording, wording_of
from synth.engine import EngineError, EngineLoading
from synth.text.marks import without_marks
from synth.voices import UnknownLanguage, UnknownVoice


@dataclass(frozen=True, slots=True)
class Take:
    """A phrase as one voice says it at one speed, in every format that it is wanted in."""

    book: Phrasebook
    phrase: Phrase
    voice: str
    """The blend in its canonical spelling."""
    speed: float
    plans: tuple[Plan, ...]
    """One for each format. Empty where it cannot be planned."""
    problem: str | None = None
    """Why it cannot be planned."""

    @property
    def clips(self) -> tuple[PlannedClip, ...]:
        """Those that the engine makes, the same for every format."""
        if not self.plans:
            return ()
        return tuple(clip for clip in self.plans[0].clips if clip.recording is None)

    @property
    def speech_s(self) -> float:
        """How long it is, roughly."""
        return speech_s(without_marks(self.phrase.text), self.speed)

    @property
    def keys(self) -> Iterator[Key]:
        """Of everything that is kept for it."""
        yield from (clip.key for clip in self.clips)
        yield from (plan.key for plan in self.plans)


def takes_of(books: Sequence[Phrasebook], planner: Planner) -> Iterator[Take]:
    """Every phrase in every voice and speed: by priority, then in the order of the books. What two
    phrases have in common comes once.

    Raises:
        EngineLoading: see `Planner.plan`.
    """
    ranked = [(book, phrase) for book in books for phrase in book.phrases]
    ranked.sort(key=lambda each: -each[1].priority)
    seen: set[Key] = set()
    for book, phrase in ranked:
        for voice in phrase.voices:
            for speed in phrase.speeds:
                take = _take(book, phrase, voice, speed, planner)
                new = tuple(plan for plan in take.plans if plan.key not in seen)
                if not new and take.problem is None:
                    continue
                seen.update(plan.key for plan in new)
                yield replace(take, plans=new)


def wordings_of(book: Phrasebook) -> Iterator[tuple[Phrase, Who, Wording]]:
    """The phrases that are said otherwise than their words stand there."""
    for phrase in book.phrases:
        plain = phrase.recording is None and "[" not in phrase.text
        if plain and not book.lexicon.phonemes:
            continue
        for voice in phrase.voices:
            language = phrase.language_of(voice)
            for speed in phrase.speeds:
                who = Who(voice, language.code, round(speed, 2))
                wording = wording_of(phrase.text, language, who, book.lexicon, phrase.recording)
                if wording is not None:
                    yield phrase, who, wording


def _take(book: Phrasebook, phrase: Phrase, voice: str, speed: float, planner: Planner) -> Take:
    # By its words alone, as a request asks for it: the planner has from the book how they are said.
    text = without_marks(phrase.text)
    try:
        plan = planner.plan(Wanted(text, voice, speed, phrase.language, phrasebook=book.name))
    except EngineLoading:
        raise
    except (EngineError, UnknownVoice, UnknownLanguage) as error:
        return Take(book, phrase, voice, speed, (), str(error))
    if plan.private:
        why = "It holds what cache.never_store forbids to keep."
        return Take(book, phrase, voice, speed, (), why)
    plans = tuple(plan.in_format(format) for format in phrase.formats)
    return Take(book, phrase, voice, speed, plans)


def ids_in(takes: Iterable[Take]) -> set[str]:
    """What everything that is kept for them is stored under."""
    return {key.id for take in takes for key in take.keys}
