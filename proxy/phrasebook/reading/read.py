"""Read a folder of phrasebooks, and say everything that is wrong with it at once.

Every `*.yaml` and `*.yml` directly in the folder is a book, except those that another one includes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from proxy.phrasebook.book import Books, Phrasebook, Problem
from proxy.phrasebook.reading.compose import compose
from proxy.phrasebook.reading.folder import Folder
from proxy.phrasebook.reading.include import included_by, put_together
from proxy.phrasebook.reading.written import WrittenFile

_PACKAGED = Path(__file__).parents[1] / "shipped"
_IN_A_CHECKOUT = Path(__file__).parents[3] / "phrasebooks"


def shipped_directory() -> Path:
    """Where the phrasebooks are that come with kokoro-edge."""
    return _PACKAGED if _PACKAGED.is_dir() else _IN_A_CHECKOUT


def read_books(folder: Path, in_use: Collection[Path] = ()) -> Books:
    """Every book of the folder, by the name of its file. Never raises: see `problems`. Of two of
    the same name, one that is `in_use` keeps it, else the first."""
    try:
        if not folder.is_dir():
            return Books((), (Problem(folder, None, "is not a folder of phrasebooks"),))
        files = Folder(folder)
        paths = files.top()
    except (OSError, RuntimeError) as error:
        return Books((), (Problem(folder, None, f"cannot be read: {error}"),))
    if not paths:
        return Books((), (Problem(folder, None, "holds no phrasebook (*.yaml or *.yml)"),))
    books = _books_among([files.read(path) for path in paths], files)
    return _read(sorted(books, key=lambda book: book.path not in in_use), files)


def read_book(path: Path, folder: Path | None = None) -> Books:
    """One book alone. What it includes must lie in the folder, by default its own."""
    files = Folder(path.parent if folder is None else folder)
    return _read([files.read(path)], files)


def _books_among(files: Sequence[WrittenFile], folder: Folder) -> list[WrittenFile]:
    """The files that no other one includes. Of those that include each other in a circle, the
    first."""
    # By identity, since a file is read once.
    inner: set[int] = set()
    for file in files:
        inner |= {id(each) for each in _reached_from(file, folder) if each is not file}
    books = [file for file in files if id(file) not in inner]
    reached = {id(each) for book in books for each in _reached_from(book, folder)}
    for file in files:
        if id(file) not in reached:
            books.append(file)
            reached |= {id(each) for each in _reached_from(file, folder)}
    if any(file.broken for file in files):
        # It may be what includes those without a name.
        books = [file for file in books if file.broken or file.name or file.misnamed]
    return sorted(books, key=lambda book: book.path)


def _reached_from(file: WrittenFile, folder: Folder) -> list[WrittenFile]:
    """The file, and all that it includes, however deep."""
    reached = {id(file): file}
    unseen = [file]
    while unseen:
        for each in included_by(unseen.pop(), folder):
            if id(each) not in reached:
                reached[id(each)] = each
                unseen.append(each)
    return list(reached.values())


def _read(files: Iterable[WrittenFile], folder: Folder) -> Books:
    books: list[Phrasebook] = []
    named: dict[str, WrittenFile] = {}
    problems: dict[Problem, None] = {}
    broken: list[Path] = []
    for file in files:
        whole, wrong = put_together(file, folder)
        book, more = compose(whole, folder)
        found = [*(each for part in whole for each in part.file.problems), *wrong, *more]
        if file.name is not None:
            other = named.setdefault(file.name.text, file)
            if other is not file:
                why = f"name: {file.name.text!r} is the name of {folder.shown(other.path)} already"
                found.append(Problem(file.path, file.name.line, f"{why}: choose another"))
        problems.update(dict.fromkeys(found))
        if found:
            broken.append(file.path)
        else:
            books.append(book)
    ordered = sorted(problems, key=lambda each: (str(each.path), each.line or 0))
    books.sort(key=lambda book: book.path)
    return Books(tuple(books), tuple(ordered), tuple(broken))
