"""Weights in a folder of the user's own, which is only ever read.

Its digests are kept in our cache and trusted while size and modification time stay the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synth.weights.install import sha256_of, write_atomically
from synth.weights.sources import CONFIG_FILE, MODEL_FILE, WeightsError

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file's digest, and what the file looked like when it was hashed."""

    sha256: str
    size_bytes: int
    modified_ns: int

    def still(self, path: Path) -> bool:
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size_bytes, self.modified_ns)


def known_folder_digests(folder: Path, models: Path) -> dict[str, str] | None:
    """Digests by relative name if every file was hashed before and has not changed, else None."""
    try:
        names = _file_names(folder)
        seen = _read(_digest_file(folder, models))
        if all(name in seen and seen[name].still(folder / name) for name in names):
            return {name: seen[name].sha256 for name in names}
    except (WeightsError, OSError):
        pass
    return None


def folder_digests(folder: Path, models: Path) -> dict[str, str]:
    """Digests by relative name, hashing what is new or has changed.

    :param models: our own folder; digests go to `folders/` in it.
    :raises WeightsError: naming what the folder lacks.
    """
    names = _file_names(folder)
    digest_file = _digest_file(folder, models)
    before = _read(digest_file)
    now = {name: _look(folder / name, before.get(name)) for name in names}
    if now != before:
        digest_file.parent.mkdir(parents=True, exist_ok=True)
        _write(digest_file, folder, now)
    return {name: seen.sha256 for name, seen in now.items()}


def _file_names(folder: Path) -> list[str]:
    """Relative names of the model's files in `folder`.

    :raises WeightsError: naming those that are missing.
    """
    if not folder.is_dir():
        raise WeightsError(f"there is no folder of weights at {folder}: create it or name another")
    missing = [name for name in (CONFIG_FILE, MODEL_FILE) if not (folder / name).is_file()]
    voices = sorted(path.name for path in (folder / "voices").glob("*.pt"))
    if not voices:
        missing.append("voices/*.pt")
    if missing:
        raise WeightsError(
            f"the folder {folder} lacks {', '.join(missing)}: copy them there, in the layout of "
            "hexgrad/Kokoro-82M"
        )
    return [CONFIG_FILE, *(f"voices/{name}" for name in voices), MODEL_FILE]


def _look(path: Path, before: _Seen | None) -> _Seen:
    if before is not None and before.still(path):
        return before
    # Looked at before hashing: a change in between shows at the next look.
    stat = path.stat()
    return _Seen(sha256_of(path), stat.st_size, stat.st_mtime_ns)


def _digest_file(folder: Path, models: Path) -> Path:
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]
    return models / "folders" / f"{name}.json"


def _read(path: Path) -> dict[str, _Seen]:
    try:
        kept = json.loads(path.read_text("utf-8"))
        if kept["schema"] != _SCHEMA:
            return {}
        return {
            str(name): _Seen(str(file["sha256"]), int(file["size_bytes"]), int(file["modified_ns"]))
            for name, file in kept["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(path: Path, folder: Path, seen: Mapping[str, _Seen]) -> None:
    files = {
        name: {"sha256": s.sha256, "size_bytes": s.size_bytes, "modified_ns": s.modified_ns}
        for name, s in seen.items()
    }
    kept = {"schema": _SCHEMA, "folder": str(folder), "files": files}
    write_atomically(path, json.dumps(kept, indent=2) + "\n")
