"""Propose a phrasebook from what was heard. Pure.

Whatever differs from one caller to the next goes into slots, and into a slot go only numbers and
names that were themselves heard in enough requests: what was said to few people is theirs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import prod
from typing import NamedTuple

from proxy.cache.private import PATTERNS, NeverStored
from proxy.phrasebook.cost import speech_s
from proxy.phrasebook.mining.heard import Counted, Heard, Sentence
from proxy.phrasebook.mining.particulars import Template, in_figures, take_out
from proxy.phrasebook.mining.proposal import REASONS, LeftOut, Phrase, Proposal, Rates, Reason

MAX_WORDINGS_PER_HEARD = 4
"""A phrase with several slots has every combination made of what is in them. So many may be made
for each that was heard."""

_PRIVATE = NeverStored(PATTERNS)


class _Instance(NamedTuple):
    """A sentence, as a template and what it was filled with."""

    values: tuple[str, ...]
    counted: Counted


class _Line(NamedTuple):
    """A phrase, before it is known who else says it."""

    text: str
    slots: tuple[tuple[str, tuple[str, ...]], ...]
    language: str


@dataclass(slots=True)
class _LeftOut:
    """Tallied while the proposal is made."""

    sentences: Counter[Reason] = field(default_factory=Counter)
    requests: Counter[Reason] = field(default_factory=Counter)

    def add(self, reason: Reason, counted: Iterable[Counted]) -> None:
        for each in counted:
            self.sentences[reason] += 1
            self.requests[reason] += each.at_least

    def keep(
        self, reason: Reason, instances: Iterable[_Instance], wanted: Callable[[_Instance], bool]
    ) -> list[_Instance]:
        """Those that are wanted; the others are left out."""
        kept = []
        for each in instances:
            if wanted(each):
                kept.append(each)
            else:
                self.add(reason, [each.counted])
        return kept

    def told(self) -> tuple[LeftOut, ...]:
        return tuple(
            LeftOut(reason, self.sentences[reason], self.requests[reason])
            for reason in REASONS
            if self.sentences[reason]
        )


def propose(
    heard: Heard,
    at_least_requests: int,
    known: Callable[[Sentence], bool] = lambda sentence: False,
    max_phrases: int | None = None,
) -> Proposal:
    """What a phrasebook should hold, best first.

    Counted is only what is certain: see `Counted.at_least`. `known` says of a sentence whether a
    phrasebook has it by now.
    """
    left_out = _LeftOut()
    groups: dict[tuple[Template, str, str, float], list[_Instance]] = defaultdict(list)
    for counted in heard.counted():
        sentence = counted.sentence
        reason = _reason_against(sentence, known)
        if reason is not None:
            left_out.add(reason, [counted])
            continue
        template, values = take_out(sentence.text, sentence.language)
        who = (sentence.voice, sentence.language, sentence.speed)
        groups[(template, *who)].append(_Instance(values, counted))

    lines: dict[_Line, list[Counted]] = defaultdict(list)
    for (template, _, language, _), instances in groups.items():
        chosen = _choose(template, instances, at_least_requests, left_out)
        if chosen:
            lines[_line(template, chosen, language)] += [each.counted for each in chosen]

    found = [
        (phrase, said) for line, every in lines.items() for phrase, said in _merged(line, every)
    ]
    found.sort(key=lambda pair: (-pair[0].saved_s, pair[0].text, pair[0].voices))
    kept = found[:max_phrases]
    for _, said in found[len(kept) :]:
        left_out.add("limit", said)
    phrases = tuple(phrase for phrase, _ in kept)
    return Proposal(phrases, left_out.told(), *_rates(heard, phrases))


def _reason_against(sentence: Sentence, known: Callable[[Sentence], bool]) -> Reason | None:
    """Why it is not to be considered at all."""
    if known(sentence):
        return "known"
    if _is_private(sentence.text):
        return "private"
    if "{" in sentence.text or "}" in sentence.text:
        return "braces"
    return None


def _is_private(text: str) -> bool:
    """Whether it holds what must not be stored, in figures or spelled out."""
    return _PRIVATE.matches(text, in_figures(text))


def _choose(
    template: Template, instances: list[_Instance], at_least_requests: int, left_out: _LeftOut
) -> list[_Instance]:
    """Those of a template's sentences that the phrase will have; empty: there is no phrase."""
    often = [
        {value for value, requests in heard.items() if requests >= at_least_requests}
        for heard in _by_slot(template, instances)
    ]

    def is_heard_often(each: _Instance) -> bool:
        return all(value in values for value, values in zip(each.values, often, strict=True))

    instances = left_out.keep("rare_value", instances, is_heard_often)
    instances = _thin_out(template, instances, left_out)
    if sum(each.counted.at_least for each in instances) < at_least_requests:
        return left_out.keep("rare", instances, lambda each: False)
    # What was heard one by one may be a number that must not be stored where it is put together.
    wordings = product(*_by_slot(template, instances))
    if any(_is_private(template.filled(values)) for values in wordings):
        return left_out.keep("private", instances, lambda each: False)
    return instances


def _thin_out(
    template: Template, instances: list[_Instance], left_out: _LeftOut
) -> list[_Instance]:
    """Without the rarest numbers and names, until enough combinations of the others were heard."""
    while True:
        slots = _by_slot(template, instances)
        if prod(map(len, slots)) <= MAX_WORDINGS_PER_HEARD * len(instances):
            return instances
        _, place, rarest = min(
            (requests, place, value)
            for place, heard in enumerate(slots)
            for value, requests in heard.items()
            if len(heard) > 1
        )
        others = partial(_has_another, place, rarest)
        instances = left_out.keep("combinations", instances, others)


def _has_another(place: int, value: str, instance: _Instance) -> bool:
    return instance.values[place] != value


def _by_slot(template: Template, instances: Iterable[_Instance]) -> list[Counter[str]]:
    """For each slot, in how many requests each value was heard."""
    slots: list[Counter[str]] = [Counter() for _ in template.kinds]
    for values, counted in instances:
        for slot, value in zip(slots, values, strict=True):
            slot[value] += counted.at_least
    return slots


def _line(template: Template, chosen: Sequence[_Instance], language: str) -> _Line:
    """A slot with one value only is none."""
    used: Counter[str] = Counter()
    filling = []
    slots = []
    for kind, heard in zip(template.kinds, _by_slot(template, chosen), strict=True):
        values = sorted(heard, key=lambda value: (-heard[value], value))
        if len(values) == 1:
            filling += values
            continue
        used[kind] += 1
        slot = kind if used[kind] == 1 else f"{kind}_{used[kind]}"
        slots.append((slot, tuple(values)))
        filling.append(f"{{{slot}}}")
    return _Line(template.filled(filling), tuple(slots), language)


def _merged(line: _Line, every: Iterable[Counted]) -> Iterator[tuple[Phrase, list[Counted]]]:
    """One phrase for all the voices that say it at the same speeds, with what was heard of it."""
    speeds: dict[str, set[float]] = defaultdict(set)
    said: dict[str, list[Counted]] = defaultdict(list)
    for counted in every:
        speeds[counted.sentence.voice].add(counted.sentence.speed)
        said[counted.sentence.voice].append(counted)
    voices: dict[tuple[float, ...], list[str]] = defaultdict(list)
    for voice in sorted(speeds):
        voices[tuple(sorted(speeds[voice]))].append(voice)
    for same_speeds, together in voices.items():
        heard = [counted for voice in together for counted in said[voice]]
        phrase = Phrase(
            line.text,
            dict(line.slots),
            tuple(together),
            same_speeds,
            line.language,
            requests=sum(counted.at_least for counted in heard),
            characters=sum(counted.at_least * len(counted.sentence.text) for counted in heard),
            saved_s=sum(
                counted.at_least * speech_s(counted.sentence.text, counted.sentence.speed)
                for counted in heard
            ),
        )
        yield phrase, heard


def _rates(heard: Heard, phrases: Sequence[Phrase]) -> tuple[Rates, Rates]:
    """Of the sentences, and of their characters."""
    totals = heard.totals
    sentences = _shares(
        totals.sentences,
        totals.sentences_in_phrasebooks,
        totals.sentences_missed,
        sum(phrase.requests for phrase in phrases),
    )
    characters = _shares(
        totals.characters,
        totals.characters_in_phrasebooks,
        totals.characters_missed,
        sum(phrase.characters for phrase in phrases),
    )
    return sentences, characters


def _shares(every: int, *parts: int) -> Rates:
    return Rates(*(part / every if every else 0.0 for part in parts))
