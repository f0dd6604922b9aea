"""How a cache is shown to people: tables, bars, sizes and ages."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from proxy.cache import steps
from proxy.cache.steps import Listed, Share, Stats
from proxy.commands.failure import plain

_WIDTH_WITHOUT_TERMINAL = 200
_VOICES_SHOWN = 20
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


class Bar:
    """Told how far something is. Draws nothing where nobody would see it."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None)

    def show(self, step: steps.Progress) -> None:
        self._progress.update(self._task, completed=step.done, total=step.total)


@contextmanager
def bar(title: str) -> Iterator[Bar]:
    """On standard error, where that is a terminal, for as long as the block lasts."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # Else what is printed would go where the bar goes, be it piped elsewhere or not.
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        yield Bar(progress, title)


def show_stats(where: str, stats: Stats) -> None:
    console = _console()
    console.print(plain(where), highlight=False)
    table = Table("tier", "entries", "size", "limit", "oldest", "newest")
    for store in stats.stores:
        table.add_row(
            store.tier,
            str(store.entries),
            decimal(store.size_bytes),
            decimal(store.max_bytes),
            _age(store.oldest_s),
            _age(store.newest_s),
        )
    if stats.memory is not None:
        memory = stats.memory
        table.add_row("memory", str(memory.entries), decimal(memory.size_bytes), "", "", "")
    console.print(table)
    kinds = [(name, it.tier, share) for it in stats.stores for name, share in it.by_kind.items()]
    voices = [(name, it.tier, share) for it in stats.stores for name, share in it.by_voice.items()]
    for title, shares in (("kind", kinds), ("voice", voices)):
        if shares:
            console.print(_shares(title, shares))
    if stats.counts is not None:
        counts = Table("since the server started", "")
        for name in stats.counts.__slots__:
            counts.add_row(name.replace("_", " "), str(getattr(stats.counts, name)))
        console.print(counts)


def show_entries(entries: Iterable[Listed]) -> None:
    """The text has a column only where there is one."""
    shown = list(entries)
    with_text = any(entry.about and entry.about.text for entry in shown)
    table = Table(
        *("id", "tier", "kind", "format", "voice", "speed", "length", "size", "age"),
        *(("text",) if with_text else ()),
    )
    for column in table.columns[:-1] if with_text else table.columns:
        column.no_wrap = True
    for entry in shown:
        table.add_row(*(Text(plain(cell)) for cell in _cells(entry, with_text)))
    _console().print(table)


def _cells(entry: Listed, with_text: bool) -> list[str]:
    age, size, about = _age(entry.stored_at_s), decimal(entry.size_bytes), entry.about
    if about is None:
        return [entry.id, entry.tier, "unknown", "", "", "", "", size, age, *[""] * with_text]
    length, speed = f"{about.duration_s:.1f} s", f"{about.speed:g}"
    cells = [entry.id, entry.tier, about.kind, about.format, about.voice, speed, length, size, age]
    return [*cells, about.text or ""] if with_text else cells


def _shares(title: str, shares: Iterable[tuple[str, str, Share]]) -> Table:
    table = Table(title, "tier", "entries", "audio")
    shares = sorted(shares, key=lambda each: each[2].size_bytes, reverse=True)
    for name, tier, share in shares[:_VOICES_SHOWN]:
        table.add_row(Text(plain(name)), tier, str(share.entries), decimal(share.size_bytes))
    if len(shares) > _VOICES_SHOWN:
        rest = shares[_VOICES_SHOWN:]
        count, size_bytes = (
            sum(share.entries for *_, share in rest),
            sum(share.size_bytes for *_, share in rest),
        )
        table.add_row(f"{len(rest)} more", "", str(count), decimal(size_bytes))
    return table


def _age(stored_at_s: float | None) -> str:
    """`3h`, in the largest unit of which there is one at least."""
    if stored_at_s is None:
        return ""
    age_s = max(0.0, time.time() - stored_at_s)
    return next((f"{age_s // size:.0f}{unit}" for size, unit in _UNITS if age_s >= size), "0s")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
