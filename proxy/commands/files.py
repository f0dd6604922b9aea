"""Files that a command is given by name, `-` being standard input or output."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from proxy.commands.failure import EXIT_USAGE, CommandFailed

STANDARD = "-"


@contextmanager
def written(name: str, force: bool) -> Iterator[BinaryIO]:
    """A file that is there, and whole, after the block; where that fails nothing has changed. For
    its owner's eyes only.

    Raises:
        CommandFailed: it exists already and `force` is not given, or it cannot be written.
    """
    if name == STANDARD:
        if sys.stdout.isatty():
            raise CommandFailed("this is a terminal: name a file instead of -", EXIT_USAGE)
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    try:
        _check_target(path, force)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _move(Path(temporary), path, force)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def opened(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """A file, and its size in bytes where it has one.

    Raises:
        CommandFailed: it cannot be read.
    """
    if name == STANDARD:
        yield sys.stdin.buffer, None
        return
    try:
        file = Path(name).open("rb")
    except OSError as error:
        raise CommandFailed(f"cannot read {name}: {error.strerror or error}") from None
    with file:
        found = os.fstat(file.fileno())
        yield file, found.st_size if stat.S_ISREG(found.st_mode) else None


def _check_target(path: Path, force: bool) -> None:
    if path.exists() and not path.is_file():
        raise CommandFailed(f"{path} is no file that could be written")
    if path.exists() and not force:
        raise _exists(path)


def _move(temporary: Path, path: Path, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # Unlike renaming, it fails where there is one by now.
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # Not every file system has links.
        if path.exists():
            raise _exists(path) from None
        temporary.rename(path)


def _exists(path: Path) -> CommandFailed:
    return CommandFailed(f"{path} exists already: name another file, or say --force")
