"""The files of a folder of phrasebooks. Nothing outside of it is read, whatever a link says."""

from __future__ import annotations

from pathlib import Path

from proxy.phrasebook.book import Problem
from proxy.phrasebook.reading.parse import parse_file
from proxy.phrasebook.reading.written import WrittenFile, unreadable

MAX_FILE_BYTES = 2 * 1024**2

SUFFIXES = (".yaml", ".yml")


class Folder:
    """Reads each file once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path.resolve()
        self._read: dict[Path, WrittenFile] = {}

    def top(self) -> list[Path]:
        """The files directly in it that may be books, by name. Raises OSError."""
        return sorted(path for path in self.path.iterdir() if path.suffix in SUFFIXES)

    def find(self, written: str, beside: Path) -> Path:
        """The file that another one names, by its path from there.

        Raises:
            ValueError: there is no such file, or it lies outside the folder.
        """
        if not written.isprintable():
            raise ValueError(f"{written[:60]!r} is no path")
        try:
            target = beside.parent / written
            resolved = target.resolve()
            if not resolved.is_relative_to(self._root):
                raise ValueError(f"{written!r} lies outside the folder of this book: copy it there")
            if resolved.is_dir():
                raise ValueError(f"{written!r} is a folder: name a file in it")
            if not resolved.is_file():
                raise ValueError(
                    f"there is no file {written!r}: paths begin at the folder of this file"
                )
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{written[:60]!r} cannot be found: {error}") from None
        if ".." in target.parts:
            return self.path / resolved.relative_to(self._root)
        return target

    def read(self, path: Path) -> WrittenFile:
        """What the file says. Never raises: see `problems` of what is returned."""
        try:
            key = path.resolve()
        except (OSError, RuntimeError) as error:
            return unreadable(path, Problem(path, None, f"cannot be read: {error}"))
        if key not in self._read:
            self._read[key] = self._parsed(path, key)
        return self._read[key]

    def _parsed(self, path: Path, resolved: Path) -> WrittenFile:
        try:
            if not resolved.is_relative_to(self._root):
                why = "is a link to outside the folder: copy the file in its place"
            elif resolved.is_dir():
                why = "cannot be read: it is a folder"
            elif resolved.exists() and not resolved.is_file():
                why = "cannot be read: it is no file"
            elif resolved.stat().st_size > MAX_FILE_BYTES:
                why = f"is larger than {MAX_FILE_BYTES // 1024**2} MiB: make several files of it"
            else:
                return parse_file(path, resolved.read_bytes())
        except OSError as error:
            why = f"cannot be read: {error.strerror or error}"
        return unreadable(path, Problem(path, None, why))

    def shown(self, path: Path) -> str:
        """A path for people, as it is called within the folder."""
        return str(path.relative_to(self.path) if path.is_relative_to(self.path) else path)

    def line_of(self, path: Path, line: int, seen_from: Path) -> str:
        """A place for people: `on line 3`, and of which file where it is another one."""
        return f"on line {line}" + ("" if path == seen_from else f" of {self.shown(path)}")
