"""`kokoro-edge phrasebook check`: every mistake in phrasebooks, in one run."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from proxy.commands.chosen_books import read_chosen
from proxy.commands.failure import EXIT_FAILED, CommandFailed, plain
from proxy.commands.printed import counted
from proxy.parts import build_pool
from proxy.phrasebook.book import Phrasebook, Problem
from proxy.phrasebook.reading.read import shipped_directory
from proxy.phrasebook.unsayable import unsayable
from proxy.settings import Settings
from synth.engine import EngineError


def run(given: argparse.Namespace, settings: Settings, engine_command: Sequence[str] | None) -> int:
    """Returns the exit code. Raises CommandFailed: it cannot be done."""
    books, problems = read_chosen(given.path, settings)
    if not given.quick and books:
        problems += asyncio.run(_ask_engine(books, settings, engine_command))
    for problem in sorted(problems, key=lambda it: (str(it.path), it.line or 0)):
        print(plain(str(problem)))
    wrong = {problem.path for problem in problems}
    sound = [book for book in books if wrong.isdisjoint(book.files)]
    phrases = sum(len(book.phrases) for book in sound)
    checked = f"{counted(len(sound), 'book')}, {counted(phrases, 'phrase')}"
    if problems:
        count = counted(len(problems), "problem")
        print(f"{count}; nothing is wrong with {checked}" if sound else count, file=sys.stderr)
        return EXIT_FAILED
    where = given.path or settings.phrasebook.directory or shipped_directory()
    print(f"{where}: {checked}, nothing is wrong")
    return 0


async def _ask_engine(
    books: list[Phrasebook], settings: Settings, engine_command: Sequence[str] | None
) -> list[Problem]:
    """What only the engine's own G2P can tell: whether it has a sound for everything."""
    pool = build_pool(settings, engine_command)
    pool.start()
    try:
        await pool.wait_until_loaded()
        return [problem async for problem in unsayable(books, pool)]
    except EngineError as error:
        raise CommandFailed(f"{error} --quick checks without the engine") from None
    finally:
        await pool.close()
