"""The phrasebooks that a command is about."""

from __future__ import annotations

from pathlib import Path

from proxy.commands.failure import EXIT_USAGE, CommandFailed
from proxy.phrasebook.book import Phrasebook, Problem
from proxy.phrasebook.reading.read import read_book
from proxy.phrasebook.shelf import EVERY_BOOK, Shelf
from proxy.settings import Settings
from proxy.speech.plan import Planner


def read_chosen(path: Path | None, settings: Settings) -> tuple[list[Phrasebook], list[Problem]]:
    """Those of a file, of a folder, or those that are set; and what is wrong with others.

    Raises:
        CommandFailed: there is no such file or folder.
    """
    if path is not None and not path.exists():
        raise CommandFailed(f"there is no {path}", EXIT_USAGE)
    if path is not None and path.is_file():
        found = read_book(path, path.parent)
        return list(found.books), list(found.problems)
    if path is not None:
        shelf = Shelf(path, (EVERY_BOOK,), Planner())
    else:
        shelf = Shelf(settings.phrasebook.directory, settings.phrasebook.books, Planner())
    read = shelf.take_over()
    return list(shelf.books), list(read.problems)
