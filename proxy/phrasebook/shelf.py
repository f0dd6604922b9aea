"""The phrasebooks in use: read at the start, and taken over anew when they are edited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import watchfiles

from proxy.phrasebook.book import Phrasebook, PhrasebookError, Problem
from proxy.phrasebook.reading.read import read_books, shipped_directory
from proxy.phrasebook.takes import wordings_of
from proxy.speech.plan import Planner
from proxy.speech.wording import Who, Wording, Wordings
from synth.voices import near

logger = logging.getLogger(__name__)

EVERY_BOOK = "all"
_SHIPPED_BY_DEFAULT = ("telephone-en-us",)
_WATCH_AGAIN_S = 10.0
_LOOK_EVERY_MS = 5_000
"""Whether the folder is still the one that is watched."""
_SETTLE_MS = 400
"""An editor writes a file in several steps."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of the folder's books."""

    taken_over: tuple[str, ...]
    """New, or other than before."""
    dropped: tuple[str, ...]
    kept: tuple[str, ...]
    """Broken now, and used as they were before."""
    problems: tuple[Problem, ...]

    @property
    def changed(self) -> bool:
        return bool(self.taken_over or self.dropped)


class Shelf:
    """The books of one folder, and what the planner knows of them."""

    def __init__(self, directory: Path | None, names: Sequence[str], planner: Planner) -> None:
        """`directory` None is that of the books which come with kokoro-edge; `names` are those to
        use: none named are all of them or, of those that come with kokoro-edge, the default."""
        self.directory = (directory or shipped_directory()).expanduser()
        self._names = tuple(names) or (() if directory else _SHIPPED_BY_DEFAULT)
        if EVERY_BOOK in self._names:
            self._names = ()
        self._planner = planner
        self._reading = asyncio.Lock()
        self.books: tuple[Phrasebook, ...] = ()
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the files as they are now."""

    def open(self) -> None:
        """Read the books for the first time. Blocking.

        Raises:
            PhrasebookError: something is wrong with one of them, or there is none.
        """
        reloaded = self.take_over()
        if reloaded.problems:
            raise PhrasebookError(reloaded.problems)

    async def reload(self) -> Reloaded:
        """Read them again. A book that is broken is used as it was."""
        async with self._reading:
            before = self.problems
            reloaded = await asyncio.to_thread(self.take_over)
        if reloaded.problems and reloaded.problems != before:
            for problem in reloaded.problems:
                logger.error("phrasebook: %s", problem)
            logger.error(
                "phrasebooks: %d problems; as they were before, these are used: %s",
                *(len(reloaded.problems), ", ".join(reloaded.kept) or "none"),
            )
        elif before and not reloaded.problems:
            logger.info("phrasebooks: nothing is wrong with them any more")
        if reloaded.changed:
            logger.info(
                "phrasebooks: taken over: %s; dropped: %s",
                *(", ".join(reloaded.taken_over) or "none", ", ".join(reloaded.dropped) or "none"),
            )
        return reloaded

    async def changes(self) -> AsyncGenerator[Reloaded, None]:
        """Watch the folder for as long as this is iterated, and reload when something in it was
        written: what has come of it, wherever that is another book."""
        while True:
            try:
                watched = await asyncio.to_thread(_identity, self.directory)
                async for touched in watchfiles.awatch(
                    self.directory,
                    debounce=_SETTLE_MS,
                    rust_timeout=_LOOK_EVERY_MS,
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                ):
                    if touched:
                        reloaded = await self.reload()
                        if reloaded.changed:
                            yield reloaded
                    elif await asyncio.to_thread(_identity, self.directory) != watched:
                        break
            except (OSError, RuntimeError) as error:
                logger.error("cannot watch %s: %s", self.directory, error)
                await asyncio.sleep(_WATCH_AGAIN_S)
            # Another folder is in its place, such as a volume that was mounted anew.
            reloaded = await self.reload()
            if reloaded.changed:
                yield reloaded

    def take_over(self) -> Reloaded:
        """Read the folder and use what is right of it. Blocking."""
        found = read_books(self.directory)
        problems = [*found.problems, *self._unknown_names(found.books, bool(found.problems))]
        chosen = [book for book in found.books if not self._names or book.name in self._names]
        before = {book.path: book for book in self.books}
        now: dict[Path, Phrasebook] = {}
        wordings: dict[tuple[Who, tuple[str, ...]], tuple[Phrasebook, Wording]] = {}
        for book in sorted(chosen, key=lambda book: book.path):
            conflicts = list(_add(book, wordings))
            problems += conflicts
            if not conflicts:
                now[book.path] = book
        usable = set(now)
        not_used = {book.path for book in found.books if book not in chosen}
        # A folder that is gone for a moment, such as a volume, takes no book along.
        folder_is_gone = not self.directory.is_dir()
        kept = {
            path: book
            for path, book in before.items()
            if path not in usable | not_used and (path.exists() or folder_is_gone)
        }
        now |= kept
        taken_over = [
            book.name
            for path, book in now.items()
            if path in usable and (path not in before or before[path].digest != book.digest)
        ]
        dropped = [book.name for path, book in before.items() if path not in now]
        self.problems = tuple(problems)
        self.books = tuple(now[path] for path in sorted(now))
        if taken_over or dropped:
            self._planner.wordings = wordings_in(self.books)
        return Reloaded(
            tuple(taken_over),
            tuple(dropped),
            tuple(book.name for book in kept.values()),
            self.problems,
        )

    def _unknown_names(self, books: Sequence[Phrasebook], broken: bool) -> Iterable[Problem]:
        """Names that no book has. Where one is broken, it may be that one's."""
        known = [book.name for book in books]
        for name in self._names:
            if name not in known and not broken:
                hint = near(name, known)
                yield Problem(
                    self.directory,
                    None,
                    f"holds no book named {name!r}, which phrasebook.books names.{hint}",
                )


def _identity(directory: Path) -> tuple[int, int]:
    found = directory.stat()
    return found.st_dev, found.st_ino


def _add(
    book: Phrasebook, wordings: dict[tuple[Who, tuple[str, ...]], tuple[Phrasebook, Wording]]
) -> Iterable[Problem]:
    """Note how the book says things. Yields where another says the same thing another way."""
    for phrase, who, wording in wordings_of(book):
        other, known = wordings.setdefault((who, wording.sentences), (book, wording))
        if known != wording:
            yield Problem(
                phrase.path,
                phrase.line,
                f"the book {other.name} has {who.voice} say this otherwise: give it the same "
                "pronunciation, pauses and recording, or take it out of one of them",
            )


def wordings_in(books: Iterable[Phrasebook]) -> Wordings:
    """What these books say of how things are said."""
    books = tuple(books)
    return Wordings.of(
        {book.name: book.lexicon for book in books},
        ((who, wording) for book in books for _, who, wording in wordings_of(book)),
    )
