"""Folders of phrasebooks to be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from proxy.phrasebook.book import Books, Phrasebook
from proxy.phrasebook.reading.read import read_books

HEAD = "name: test\nvoices: [af_bella]\nformats: [pcm]\n"
"""Three lines."""
PHRASES = HEAD + "phrases:\n"
"""Four lines."""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def write_recording(path: Path, tone_hz: float = 220.0) -> Path:
    """Half a second that passes for speech."""
    path.parent.mkdir(parents=True, exist_ok=True)
    at_s = np.arange(12_000) / 24_000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * tone_hz * at_s), 24_000)
    return path


def book_of(folder: Path, content: str) -> Phrasebook:
    """The one book of a folder, with which nothing is wrong."""
    books = read_books(write(folder, {"book.yaml": content}))
    assert told(books, folder) == []
    [book] = books.books
    return book


def told(books: Books, folder: Path) -> list[str]:
    """The problems, with paths as they are called within the folder."""
    return [str(problem).replace(f"{folder}/", "") for problem in books.problems]
