"""How a warm-up is shown to people: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from proxy.commands.failure import plain
from proxy.commands.printed import counted
from proxy.phrasebook.steps import BookCost, BookProblem, Failed, Planned, Progress, Step, Warmed

_LINE_EVERY_S = 10.0
_WIDTH_WITHOUT_TERMINAL = 140


class Shown:
    """Told of every step, for as long as the block lasts. The plan and the end go to standard
    output, unless all is to go to standard error; the rest always does."""

    def __init__(self, to_stderr: bool = False) -> None:
        self._to_stderr = to_stderr
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("rendering"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[eta]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._bars.add_task("", total=None, visible=False, rate="", eta="")
        self._told_s = -math.inf

    def __enter__(self) -> Shown:
        self._bars.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.__exit__(kind, error, traceback)

    def show(self, step: Step) -> None:
        match step:
            case BookProblem():
                print(plain(str(step)), file=sys.stderr)
            case Planned():
                show_plan(step, self._to_stderr)
            case Failed():
                where = f"{step.path}:{step.line}"
                what = f"failed: {where}: {step.text!r} by {step.voice}: {step.why}"
                print(plain(what), file=sys.stderr)
            case Progress():
                self._show_progress(step)
            case Warmed():
                print(_ended(step), file=_out(self._to_stderr))

    def _show_progress(self, step: Progress) -> None:
        rate, eta = self._rate(step), _left(step.eta_s)
        self._bars.update(
            self._task, completed=step.done, total=step.total, visible=True, rate=rate, eta=eta
        )
        now_s = time.monotonic()
        if self._console.is_terminal or now_s - self._told_s < _LINE_EVERY_S:
            return
        self._told_s = now_s
        if not step.total:
            print("waiting for the engine, or for what is kept to be checked", file=sys.stderr)
            return
        phrases = f"{step.done} of {counted(step.total, 'phrase')}"
        print(f"{phrases}, {rate}, {eta}", file=sys.stderr, flush=True)

    def _rate(self, step: Progress) -> str:
        took_s = max(0.001, step.took_s)
        return f"{step.done / took_s:.1f} phrases/s, {step.audio_s / took_s:.1f} s of speech/s"


def show_plan(planned: Planned, to_stderr: bool = False) -> None:
    """What there is to do, book by book."""
    table = Table(
        *("book", "phrases", "cached", "stale", "missing", "clips", "files", "speech", "size"),
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for book in planned.books:
        table.add_row(*_row(book))
    if len(planned.books) > 1:
        table.add_section()
        table.add_row(*_row(planned.total()))
    out = _out(to_stderr)
    print(plain(f"phrasebooks in {planned.directory}"), file=out)
    Console(file=out, width=None if out.isatty() else _WIDTH_WITHOUT_TERMINAL).print(table)
    total = planned.total()
    clips, files = counted(total.clips, "clip"), counted(total.files, "file")
    if total.clips:
        how = "as the last time on this machine" if planned.pace_measured else "a guess"
        line = (
            f"to render: {clips}, {files}, about {duration(total.audio_s)} of speech and "
            f"{decimal(total.size_bytes)}, in about {duration(planned.time_s)} "
            f"({planned.pace:.2f} s of work a second, {how})"
        )
    elif total.files:
        line = f"to encode: {files}; nothing has to be synthesised"
    elif total.missing or total.stale:
        line = "nothing can be rendered of what is missing"
    else:
        line = "everything is cached"
    print(line, file=out)
    if planned.unnamed:
        unnamed = counted(planned.unnamed, "entry", "entries")
        print(
            f"named by no phrasebook any more: {unnamed} ({decimal(planned.unnamed_bytes)}); "
            "`kokoro-edge warm --prune` deletes what is not named",
            file=out,
        )
    out.flush()


def _out(to_stderr: bool) -> TextIO:
    """Looked up each time: a bar that is drawn stands in for both of them."""
    return sys.stderr if to_stderr else sys.stdout


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _row(book: BookCost) -> tuple[str, ...]:
    return (
        plain(book.name),
        str(book.takes),
        str(book.cached),
        str(book.stale),
        str(book.missing),
        str(book.clips),
        str(book.files),
        duration(book.audio_s),
        decimal(book.size_bytes),
    )


def _left(eta_s: float | None) -> str:
    return "" if eta_s is None else f"{duration(eta_s)} left"


def _ended(warmed: Warmed) -> str:
    others = [
        f"{count} {what}"
        for count, what in (
            (warmed.failed, "failed"),
            (warmed.not_judged, "not judged by the recogniser"),
            (
                warmed.problems,
                f"{'problem' if warmed.problems == 1 else 'problems'} in phrasebooks",
            ),
        )
        if count
    ]
    pruned = counted(warmed.pruned, "entry", "entries")
    pruned = f"; pruned {pruned} ({decimal(warmed.pruned_bytes)})"
    were = "was" if warmed.cached == 1 else "were"
    return (
        f"rendered {counted(warmed.rendered, 'phrase')} in {duration(warmed.took_s)} "
        f"({duration(warmed.audio_s)} of speech), {warmed.cached} {were} cached already"
        + "".join(f", {each}" for each in others)
        + (pruned if warmed.pruned else "")
        + (f"; nothing was pruned: {warmed.not_pruned}" if warmed.not_pruned else "")
    )
