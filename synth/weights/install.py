"""Putting model files into a folder so that a crash at any moment does no harm.

Every file is written elsewhere on the same file system, synced, and renamed into place. The
manifest is written after each file it lists, so it never claims more than there is; an install is
complete when the manifest lists every file of its source.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from synth.weights.sources import Progress, Report, Source, WeightsError

MANIFEST_FILE = "manifest.json"
MANIFEST_SCHEMA = 1
_TEMPORARY_PREFIX = ".fetch-"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file was when it was installed."""

    sha256: str
    size_bytes: int


Records = Mapping[str, FileRecord]
"""Relative posix file name to its record."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` (UTF-8), entirely or not at all."""
    handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        _move_into_place(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def complete_records(folder: Path, source: Source) -> Records | None:
    """The manifest's records if every file of `source` is there with the recorded size.

    Reads the manifest and file sizes only: milliseconds, whatever the size of the model.
    """
    records = _read_manifest(folder, source)
    if any(name not in records for name in source.files):
        return None
    if not all(_has_size(folder / name, records[name].size_bytes) for name in source.files):
        return None
    return {name: records[name] for name in source.files}


def install(folder: Path, source: Source, report: Report) -> Records:
    """Make `folder` hold every file of `source`, keeping those whose digest is right.

    Two processes may call it at once: the second waits and finds the work done.

    :raises WeightsError: when a file's digest is wrong or the source fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _only_fetcher(folder, report):
        _remove_leftovers(folder)
        report(Progress("checking"))
        listed = _read_manifest(folder, source)
        records = {n: listed[n] for n in source.files if n in listed and _intact(folder, n, listed)}
        wanted = [name for name in source.files if name not in records]
        if wanted:
            _install_files(folder, source, wanted, records, report)
        return records


def _install_files(
    folder: Path,
    source: Source,
    wanted: list[str],
    records: dict[str, FileRecord],
    report: Report,
) -> None:
    """Obtain `wanted` and add each to `records` once it is in place."""
    workspace = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=folder))
    try:
        for obtained in source.obtain(wanted, workspace, report):
            record = FileRecord(sha256_of(obtained.path), obtained.path.stat().st_size)
            expected = obtained.expected_sha256
            if expected is not None and record.sha256 != expected:
                raise WeightsError(
                    f"{obtained.name} from the {source.origin} has sha256 {record.sha256} and "
                    f"should have {expected}: it was not installed; fetch again or use another "
                    "source"
                )
            _move_into_place(obtained.path, folder / obtained.name)
            records[obtained.name] = record
            _write_manifest(folder, source, records)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    if missing := [name for name in wanted if name not in records]:
        raise WeightsError(f"the {source.origin} did not deliver {', '.join(missing)}")


def _intact(folder: Path, name: str, records: Records) -> bool:
    path, record = folder / name, records[name]
    return _has_size(path, record.size_bytes) and sha256_of(path) == record.sha256


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except OSError:
        return False


def _read_manifest(folder: Path, source: Source) -> dict[str, FileRecord]:
    """The manifest's records; none when it is missing, damaged, or of another recipe."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
        if (manifest["schema"], manifest["origin"], manifest["recipe"]) != (
            MANIFEST_SCHEMA,
            source.origin,
            source.recipe,
        ):
            return {}
        return {
            str(name): FileRecord(str(record["sha256"]), int(record["size_bytes"]))
            for name, record in manifest["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_manifest(folder: Path, source: Source, records: Records) -> None:
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "origin": source.origin,
        "recipe": source.recipe,
        "files": {name: asdict(record) for name, record in sorted(records.items())},
    }
    write_atomically(folder / MANIFEST_FILE, json.dumps(manifest, indent=2) + "\n")


def _move_into_place(path: Path, destination: Path) -> None:
    """Sync `path` to disk and rename it to `destination`, on the same file system."""
    _sync(path)
    destination.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, destination)
    _sync(destination.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    """Delete what a fetch that was killed has left. Only the holder of the lock may."""
    for leftover in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _only_fetcher(folder: Path, report: Report) -> Iterator[None]:
    # Here and not above: the HTTP process reads manifests and needs no lock.
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(Progress("waiting for another process that is fetching"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
