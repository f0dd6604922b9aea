"""What each command of `kokoro-edge cache` does and says. All return the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import BinaryIO, TypeVar, cast

from rich.filesize import decimal

from proxy.cache.steps import (
    Exported,
    Imported,
    Listed,
    Problem,
    Progress,
    Purged,
    Stats,
    Step,
    Verified,
    to_json,
)
from proxy.commands.failure import EXIT_FAILED, CommandFailed, plain
from proxy.commands.files import STANDARD, opened, written
from proxy.commands.printed import counted
from proxy.commands.shown import Bar, bar, show_entries, show_stats
from proxy.commands.source import Filters, Source, Steps

S = TypeVar("S", bound=Step)


async def stats(source: Source, as_json: bool) -> int:
    found = await _follow(source, source.stats(), "counting", Stats)
    if as_json:
        _print_json(found)
    else:
        show_stats(source.where, found)
    return 0


async def ls(source: Source, filters: Filters, as_json: bool) -> int:
    found: list[Listed] = []
    async for told in source.entries(filters):
        for step in told:
            if not isinstance(step, Listed):
                continue
            if as_json:
                _print_json(step)
            else:
                found.append(step)
    if not as_json and source.is_there:
        show_entries(found)
    return 0


async def verify(source: Source, repair: bool) -> int:
    found = await _follow(source, source.verify(repair), "checking", Verified)
    checked = f"checked {counted(found.checked, 'entry', 'entries')}: "
    if not found.problems:
        print(checked + "nothing is wrong")
        return 0
    remain = found.problems - found.repaired
    print(
        f"{checked}{counted(found.problems, 'problem')}, {found.repaired} repaired"
        + ("" if repair or not remain else ". `kokoro-edge cache verify --repair` repairs them")
    )
    return EXIT_FAILED if remain else 0


async def purge(source: Source, filters: Filters) -> int:
    found = await _follow(source, source.purge(filters), "deleting", Purged)
    pinned = f", {found.pinned} of them pinned by a phrasebook" if found.pinned else ""
    entries = counted(found.entries, "entry", "entries")
    print(f"deleted {entries} ({decimal(found.size_bytes)}){pinned}")
    if not found.entries and filters.get("text") is not None:
        print("nothing in the cache says that text; capitals and punctuation count")
    return 0


async def export_archive(source: Source, filters: Filters, name: str, force: bool) -> int:
    size_bytes = 0
    exported: Exported | None = None
    # What is told goes where the archive does not.
    out = sys.stderr if name == STANDARD else sys.stdout
    with written(name, force) as file, bar("exporting") as drawn:
        async for piece, told in source.export_archive(filters):
            file.write(piece)
            size_bytes += len(piece)
            for step in told:
                _tell(step, drawn, to_stderr=name == STANDARD)
                exported = step if isinstance(step, Exported) else exported
    what = "the cache" if exported is None else counted(exported.entries, "entry", "entries")
    where = "standard output" if name == STANDARD else name
    print(plain(f"wrote {what} to {where}, {decimal(size_bytes)}"), file=out)
    if exported is not None and exported.left_out:
        left_out = counted(exported.left_out, "damaged entry", "damaged entries")
        print(f"left out {left_out}: see `kokoro-edge cache verify`", file=out)
    return 0


async def import_archive(source: Source, name: str) -> int:
    with opened(name) as (file, size_bytes), bar("importing") as drawn:
        watched = cast(
            BinaryIO, _Watched(file, lambda done: drawn.show(Progress(done, size_bytes, "bytes")))
        )
        found = await _follow(
            source, source.import_archive(watched, size_bytes), "importing", Imported, drawn
        )
    others = [
        f"{count} {what}"
        for count, what in (
            (found.here_already, "here already"),
            (found.expired, "expired"),
            (found.problems, "damaged or not taken"),
        )
        if count
    ]
    print(f"took {counted(found.stored, 'entry', 'entries')}" + "".join(f", {it}" for it in others))
    return EXIT_FAILED if found.problems else 0


class _Watched:
    """A file, and somebody who is told how much of it was read."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file = file
        self._tell = tell
        self._done_bytes = 0

    def read(self, size_bytes: int = -1) -> bytes:
        data = self._file.read(size_bytes)
        self._done_bytes += len(data)
        self._tell(self._done_bytes)
        return data


async def _follow(
    source: Source, steps: Steps, title: str, kind: type[S], drawn: Bar | None = None
) -> S:
    """Tell what there is to tell, up to the last step, which is of this kind."""
    if drawn is None:
        with bar(title) as drawn:
            return await _follow(source, steps, title, kind, drawn)
    last: Step | None = None
    async for told in steps:
        for last in told:
            _tell(last, drawn)
    if not isinstance(last, kind):
        raise CommandFailed(f"{source.where} ended its answer before it was done")
    return last


def _tell(step: Step, drawn: Bar, to_stderr: bool = False) -> None:
    match step:
        case Progress():
            drawn.show(step)
        case Problem():
            where = ": ".join(part for part in (step.tier, step.id) if part)
            what = f"{where}: {step.what}" if where else step.what
            what += " (repaired)" if step.repaired else ""
            # Looked up here: a bar that is drawn stands in for both of them.
            print(plain(what), file=sys.stderr if to_stderr else sys.stdout)


def _print_json(step: Step) -> None:
    sys.stdout.write(to_json(step).decode() + "\n")
