"""What of the books is there already, and what the rest comes to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from proxy.cache.key import Key
from proxy.cache.steps import Listed
from proxy.phrasebook.book import Phrasebook
from proxy.phrasebook.cost import GUESSED_PACE, LastWarmUp, clip_bytes, file_bytes, speech_s
from proxy.phrasebook.steps import BookCost, Planned
from proxy.phrasebook.takes import Take, ids_in
from proxy.speech.plan import Plan


class Survey:
    """The entries that are pinned, as their rows tell of them."""

    def __init__(self, pinned: Iterable[Listed]) -> None:
        self._pinned = {listed.id: listed for listed in pinned}
        self._described = {
            (about.says, about.voice, about.language, about.speed)
            for listed in self._pinned.values()
            if (about := listed.about) is not None and about.kind == "rendition"
        }

    def has(self, key: Key) -> bool:
        return key.id in self._pinned

    def is_kept(self, take: Take) -> bool:
        return take.problem is None and all(self.has(key) for key in take.keys)

    def kept_among(self, takes: Iterable[Take]) -> set[int]:
        """The `id` of those that are kept."""
        return {id(take) for take in takes if self.is_kept(take)}

    def is_stale(self, take: Take) -> bool:
        """Whether, of a take that is not kept, there is what an earlier model, version or wording
        made of it."""
        return any(_description(plan) in self._described for plan in take.plans)

    def unnamed(self, takes: Iterable[Take]) -> list[Listed]:
        """What no book names any more."""
        named = ids_in(takes)
        return [listed for id, listed in self._pinned.items() if id not in named]


def plan_of(
    directory: Path,
    books: Sequence[Phrasebook],
    takes: Sequence[Take],
    missing: Sequence[Take],
    survey: Survey,
    last: LastWarmUp | None,
) -> Planned:
    """What there is to do, where of all `takes` these are `missing`."""
    costs = {book.name: BookCost(book.name) for book in books}
    for take in takes:
        costs[take.book.name].takes += 1
        costs[take.book.name].cached += 1
    made: set[Key] = set()
    for take in missing:
        cost = costs[take.book.name]
        cost.cached -= 1
        if survey.is_stale(take):
            cost.stale += 1
        else:
            cost.missing += 1
        _add(cost, take, survey, made)
    unnamed = survey.unnamed(takes)
    pace = last.pace if last is not None and last.pace else GUESSED_PACE
    return Planned(
        str(directory),
        list(costs.values()),
        time_s=sum(cost.audio_s for cost in costs.values()) * pace,
        pace=pace,
        pace_measured=last is not None and bool(last.pace),
        unnamed=len(unnamed),
        unnamed_bytes=sum(listed.size_bytes for listed in unnamed),
    )


def _add(cost: BookCost, take: Take, survey: Survey, made: set[Key]) -> None:
    for clip in take.clips:
        if clip.key not in made and not survey.has(clip.key):
            made.add(clip.key)
            audio_s = speech_s(clip.segment.text, take.speed)
            cost.clips += 1
            cost.audio_s += audio_s
            cost.size_bytes += clip_bytes(audio_s)
    for plan in take.plans:
        if not survey.has(plan.key):
            cost.files += 1
            cost.size_bytes += file_bytes(take.speech_s, plan.format.name)


def _description(plan: Plan) -> tuple[tuple[str, ...], str, str, float]:
    segment = plan.clips[0].segment
    return plan.says, plan.voice, segment.language, segment.speed
