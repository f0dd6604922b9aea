"""The phrasebooks in use: read at the start, and taken over anew when they are edited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import watchfiles

from proxy.phrasebook.book import Books, Phrasebook, PhrasebookError, Problem
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


@dataclass(frozen=True, slots=True)
class _Look:
    """The shelf as it should be by the files as they are now."""

    books: tuple[Phrasebook, ...]
    wordings: Wordings
    came: Reloaded


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
        self.changed = asyncio.Event()
        """Set whenever other books are in use than before. For one task, which clears it."""

    def open(self) -> None:
        """Read the books for the first time. Blocking. One that is broken is not used, which is
        logged: a server that was stopped at night must come up again.

        Raises:
            PhrasebookError: the folder is none, holds none, or not the book that is set.
        """
        came = self.take_over()
        if wrongly_set := [each for each in came.problems if each.path == self.directory]:
            raise PhrasebookError(wrongly_set)
        self.changed.clear()  # Nobody needs to be told of the first ones.
        _log_problems(came, ())

    async def reload(self) -> Reloaded:
        """Read them again. A book that is broken is used as it was.

        It is done even where whoever asked has left: what an older reading found must not be put in
        place of what a newer one did.
        """
        return await asyncio.shield(asyncio.ensure_future(self._reload()))

    def take_over(self) -> Reloaded:
        """Read the folder and use what is right of it. Blocking."""
        return self._use(self._look())

    async def watch(self) -> None:
        """Reload whenever something in the folder was written. Does not end."""
        while True:
            try:
                watched = await asyncio.to_thread(_identity, self.directory)
                async for touched in watchfiles.awatch(
                    self.directory,
                    watch_filter=None,
                    debounce=_SETTLE_MS,
                    rust_timeout=_LOOK_EVERY_MS,
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                ):
                    if touched:
                        await self.reload()
                    elif await asyncio.to_thread(_identity, self.directory) != watched:
                        break
            except (OSError, RuntimeError) as error:
                logger.error("cannot watch %s: %s", self.directory, error)
                await asyncio.sleep(_WATCH_AGAIN_S)
            # Another folder is in its place, such as a volume that was mounted anew.
            await self.reload()

    async def _reload(self) -> Reloaded:
        async with self._reading:
            before = self.problems
            came = self._use(await asyncio.to_thread(self._look))
        _log_problems(came, before)
        if came.changed:
            logger.info(
                "phrasebooks: taken over: %s; dropped: %s",
                *(", ".join(came.taken_over) or "none", ", ".join(came.dropped) or "none"),
            )
        return came

    def _use(self, look: _Look) -> Reloaded:
        """All in one step: nobody plans by the books of one reading and the words of another."""
        self.books, self.problems = look.books, look.came.problems
        if look.came.changed:
            self._planner.wordings = look.wordings
            self.changed.set()
        return look.came

    def _look(self) -> _Look:
        found = read_books(self.directory, in_use={book.path for book in self.books})
        problems = [*found.problems, *self._unknown_names(found)]
        chosen = [book for book in found.books if not self._names or book.name in self._names]
        broken = set(found.broken)
        # A folder that is gone or empty for a moment, such as a volume, takes no book along.
        folder_is_gone = any(problem.path == self.directory for problem in found.problems)
        now: dict[Path, Phrasebook] = {}
        wordings: dict[tuple[Who, tuple[str, ...]], tuple[Phrasebook, Wording]] = {}
        for book in sorted(chosen, key=lambda book: book.path):
            conflicts = list(_add(book, wordings))
            problems += conflicts
            if conflicts:
                broken.add(book.path)
            else:
                now[book.path] = book
        before = {book.path: book for book in self.books}
        taken_over = [
            book.name
            for path, book in now.items()
            if path not in before or before[path].digest != book.digest
        ]
        kept = {
            path: book
            for path, book in before.items()
            if path not in now and (path in broken or folder_is_gone)
        }
        now |= kept
        came = Reloaded(
            tuple(taken_over),
            tuple(book.name for path, book in before.items() if path not in now),
            tuple(book.name for book in kept.values()),
            tuple(problems),
        )
        books = tuple(now[path] for path in sorted(now))
        return _Look(books, wordings_in(books), came)

    def _unknown_names(self, found: Books) -> Iterable[Problem]:
        """Names that no book has. Where one is broken, it may be that one's."""
        known = [book.name for book in found.books]
        for name in self._names:
            if name not in known and not found.problems:
                hint = near(name, known)
                yield Problem(
                    self.directory,
                    None,
                    f"holds no book named {name!r}, which phrasebook.books names.{hint}",
                )


def _log_problems(came: Reloaded, before: tuple[Problem, ...]) -> None:
    """Loudly where something is wrong, once."""
    if came.problems and came.problems != before:
        for problem in came.problems:
            logger.error("phrasebook: %s", problem)
        logger.error(
            "phrasebooks: %d mistakes; books with one are not taken over; used as they were: %s",
            *(len(came.problems), ", ".join(came.kept) or "none"),
        )
    elif before and not came.problems:
        logger.info("phrasebooks: nothing is wrong with them any more")


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
