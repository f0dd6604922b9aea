"""Caches on disk with something in them, as `kokoro-edge cache` finds them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from proxy.cache.entry import Entry
from proxy.cache.key import text_digest
from proxy.cache.owner import Ownership
from proxy.cache.steps import Step
from proxy.cache.store import Store
from synth.engine import SAMPLE_RATE_HZ
from tests.proxy.entries import entry_of
from tests.proxy.storage import MIB, StoreFolder

Stores = tuple[Store, Store]
"""Pinned, and traffic."""


def clip(says: str, age_s: float = 0.0, seconds: float = 0.1, **about: Any) -> Entry:
    """One sentence, as it is kept: FLAC."""
    file = io.BytesIO()
    noise = np.random.default_rng(1).integers(-9000, 9000, int(seconds * SAMPLE_RATE_HZ), np.int16)
    soundfile.write(file, noise, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return _aged(entry_of(f"clip {says}", file.getvalue(), **_says([says], about)), age_s)


def rendition(*sentences: str, age_s: float = 0.0, **about: Any) -> Entry:
    about = {"kind": "rendition", "format": "mp3", **about}
    name = f"rendition {' '.join(sentences)}"
    return _aged(entry_of(name, b"encoded audio", **_says(sentences, about)), age_s)


def _says(sentences: Iterable[str], about: dict[str, Any]) -> dict[str, Any]:
    return {"says": tuple(text_digest(sentence) for sentence in sentences), **about}


def _aged(entry: Entry, age_s: float) -> Entry:
    return replace(entry, stored_at_s=entry.stored_at_s - age_s)


@contextmanager
def opened(directory: Path, max_bytes: int = 64 * MIB) -> Iterator[Stores]:
    """The stores of a cache's directory, which is made where it is not there."""
    owner = Ownership(directory / "audio")
    owner.take()
    stores = (
        Store("pinned", directory / "audio" / "pinned", max_bytes),
        Store("traffic", directory / "audio" / "traffic", max_bytes),
    )
    for store in stores:
        store.open()
    try:
        yield stores
    finally:
        for store in stores:
            store.close()
        owner.release()


def stock(directory: Path, *traffic: Entry, pinned: Iterable[Entry] = ()) -> None:
    """Have these entries in the cache."""
    with opened(directory) as stores:
        for store, entries in zip(stores, (pinned, traffic), strict=True):
            for entry in entries:
                store.put(entry)


def ids_in(directory: Path) -> set[str]:
    with opened(directory) as stores:
        return ids_of(stores)


def ids_of(stores: Stores) -> set[str]:
    return {row.id for store in stores for rows in store.rows() for row in rows}


def ids(*entries: Entry) -> set[str]:
    return {entry.key.id for entry in entries}


def folder_of(store: Store) -> StoreFolder:
    return StoreFolder(store.directory)


def damage(folder: StoreFolder, entry: Entry) -> None:
    """Flip a bit of the payload."""
    [(value,)] = folder.execute("SELECT value FROM Cache WHERE key = ?", entry.key.id)
    if isinstance(value, bytes):
        folder.execute("UPDATE Cache SET value = ? WHERE key = ?", flipped(value), entry.key.id)
        return
    [(name,)] = folder.execute("SELECT filename FROM Cache WHERE key = ?", entry.key.id)
    path = folder.path / str(name)
    path.write_bytes(flipped(path.read_bytes()))


def flipped(data: bytes, place: int = -1) -> bytes:
    """With one bit changed."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def told_by(steps: Iterable[list[Step]]) -> list[Step]:
    return [step for told in steps for step in told]
