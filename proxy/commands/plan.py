"""`kokoro-edge phrasebook plan`: what rendering phrasebooks comes to."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from proxy.cache.private import NeverStored
from proxy.cache.steps import Listed
from proxy.commands.cache import open_source
from proxy.commands.chosen_books import read_chosen
from proxy.commands.failure import EXIT_FAILED, CommandFailed, plain
from proxy.commands.warm_shown import show_plan
from proxy.parts import LAST_WARM_UP
from proxy.phrasebook.book import Phrasebook
from proxy.phrasebook.cost import LastWarmUp
from proxy.phrasebook.reading.read import shipped_directory
from proxy.phrasebook.shelf import wordings_in
from proxy.phrasebook.steps import to_json
from proxy.phrasebook.survey import Survey, plan_of
from proxy.phrasebook.takes import Take, takes_of
from proxy.settings import Settings
from proxy.speech.plan import Planner
from synth.weights import WeightsError, installed


async def run(given: argparse.Namespace, settings: Settings) -> int:
    """Returns the exit code. Raises CommandFailed: it cannot be done."""
    books, problems = read_chosen(given.path, settings)
    for problem in problems:
        print(plain(str(problem)), file=sys.stderr)
    if not books:
        return EXIT_FAILED
    takes = _takes_of(books, settings)
    async with open_source(given.url, settings, make=False) as source:
        pinned = [
            step
            async for told in source.entries({"tier": "pinned"})
            for step in told
            if isinstance(step, Listed)
        ]
    survey = Survey(pinned)
    missing = [take for take in takes if not survey.is_kept(take)]
    last = LastWarmUp.load(settings.cache.directory.expanduser() / "audio" / LAST_WARM_UP)
    directory = given.path or settings.phrasebook.directory or shipped_directory()
    planned = plan_of(directory, books, takes, missing, survey, last)
    if given.path is not None:  # Other books may name what this one does not.
        planned = replace(planned, unnamed=0, unnamed_bytes=0)
    if given.json:
        print(to_json(planned).decode())
    else:
        show_plan(planned)
    for take in takes:
        if take.problem is not None:
            where = f"{take.phrase.path}:{take.phrase.line}"
            print(plain(f"{where}: {take.voice}: {take.problem}"), file=sys.stderr)
    return EXIT_FAILED if problems or any(take.problem for take in takes) else 0


def _takes_of(books: list[Phrasebook], settings: Settings) -> list[Take]:
    """Planned for the weights that are installed."""
    planner = Planner(NeverStored(settings.cache.never_store, settings.cache.never_store_patterns))
    try:
        planner.weights = installed(settings.engine.weights, settings.cache.directory.expanduser())
    except WeightsError as error:
        raise CommandFailed(str(error)) from None
    if planner.weights is None:
        raise CommandFailed("the model is not here yet: run `kokoro-edge fetch`")
    planner.wordings = wordings_in(books)
    return list(takes_of(books, planner))
