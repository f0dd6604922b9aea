"""What was measured, as a table for people and as one JSON document for machines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from latency_audio import AUDIBLE_AMPLITUDE
from latency_measure import Measurement, Plan, Run
from latency_texts import LENGTHS
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the measuring was done; the server may be elsewhere."""

    cpu: str
    cores: int


@dataclass(frozen=True, slots=True)
class Report:
    """A run and what has to be known to read it."""

    url: str
    plan: Plan
    machine: Machine
    started_at: datetime
    run: Run


def document(report: Report) -> dict[str, Any]:
    """Everything, with units in the names; `health` is null for a server that has none."""
    run, ask = report.run, report.plan.ask
    health = run.health
    return {
        "schema": SCHEMA,
        "started_at": report.started_at.isoformat(),
        "url": report.url,
        "model": ask.model,
        "voice": ask.voice,
        "format": ask.audio_format,
        "speed": ask.speed,
        "repeats": report.plan.repeats,
        "seed": report.plan.seed,
        "audible_amplitude": AUDIBLE_AMPLITUDE,
        "audible_is_lower_bound": _is_lower_bound(report),
        "machine": {"cpu": report.machine.cpu, "cores": report.machine.cores},
        "server": {
            "name": run.info.name,
            "version": run.info.version,
            "device": run.info.device,
        },
        "health": health
        and {
            "idle": _health_document(health.idle_s),
            "while_synthesising": _health_document(health.synthesising_s),
        },
        "warm_up": _measurement_document(run.warm_up),
        "rows": [_row_document(group) for group in _groups(run)],
        "measurements": [_measurement_document(m) for m in run.measurements],
    }


def show(report: Report, console: Console) -> None:
    """Print the table and what stands around it."""
    run, ask, machine = report.run, report.plan.ask, report.machine
    named = run.info.name or "a server without a name"
    said = (named, run.info.version, run.info.device and f"on {run.info.device}")
    server = " ".join(part for part in said if part)
    console.print(f"{report.url}: {server}", highlight=False, markup=False)
    console.print(
        f"asked from {machine.cpu}, {machine.cores} cores; voice {ask.voice}, model {ask.model}, "
        f"{ask.audio_format}, seed {report.plan.seed}",
        highlight=False,
        markup=False,
    )
    if run.health is None:
        console.print("no /health", highlight=False)
    else:
        console.print(_health_line("health, idle", run.health.idle_s), highlight=False)
        console.print(
            _health_line("health while synthesising", run.health.synthesising_s), highlight=False
        )
    console.print()
    console.print(_table(run))
    console.print()
    for note in _notes(report):
        console.print(note, highlight=False)


def milliseconds(seconds: float) -> str:
    """Three digits or so: two decimals below 10 ms, none from 100 ms on."""
    ms = seconds * 1000
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _groups(run: Run) -> Iterator[list[Measurement]]:
    """The measurements of each row: every length, cold and then repeated."""
    for length in LENGTHS:
        for repeated in (False, True):
            yield [m for m in run.measurements if m.length is length and m.repeated is repeated]


def _table(run: Run) -> Table:
    # Fits 80 columns with five-digit times.
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        caption="times: median / worst; audio and real-time factor: median",
        caption_justify="left",
    )
    table.add_column("text", no_wrap=True)
    for heading in (
        "words",
        "n",
        "first\nbyte ms",
        "first\naudible ms",
        "total ms",
        "audio\ns",
        "RTF",
    ):
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    for group in _groups(run):
        real_time_factor = statistics.median(m.real_time_factor for m in group)
        table.add_row(
            f"{group[0].length.name} {_kind(group[0])}",
            str(group[0].length.words),
            str(len(group)),
            _median_and_worst(m.first_byte_s for m in group),
            _median_and_worst(m.heard.first_audible_s for m in group),
            _median_and_worst(m.total_s for m in group),
            f"{statistics.median(m.heard.audio_s for m in group):.1f}",
            f"{real_time_factor:.3f}" if real_time_factor >= 0.01 else f"{real_time_factor:.5f}",
        )
    return table


def _notes(report: Report) -> Iterator[str]:
    warm_up = report.run.warm_up
    waited = f" after {warm_up.waited_s:g} s of 503" if warm_up.waited_s else ""
    yield (
        f"Not in the table: the first request of all, {milliseconds(warm_up.total_s)} ms in "
        f"total{waited}."
    )
    if _is_lower_bound(report):
        yield f"First audible is a lower bound for {report.plan.ask.audio_format}: see --help."
    if new := sum(m.new_connection for m in report.run.measurements):
        yield f"{new} requests had to set up a connection first; that is in their times."


def _median_and_worst(values_s: Iterable[float]) -> str:
    values_s = list(values_s)
    return f"{milliseconds(statistics.median(values_s))} / {milliseconds(max(values_s))}"


def _health_line(what: str, taken_s: Sequence[float]) -> str:
    return (
        f"{what}: {milliseconds(statistics.median(taken_s))} ms median, "
        f"{milliseconds(max(taken_s))} ms worst of {len(taken_s)}"
    )


def _is_lower_bound(report: Report) -> bool:
    return report.plan.ask.audio_format not in ("pcm", "wav")


def _kind(measurement: Measurement) -> str:
    return "repeated" if measurement.repeated else "cold"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)


def _health_document(taken_s: Sequence[float]) -> dict[str, Any]:
    return {
        "n": len(taken_s),
        "median_ms": _ms(statistics.median(taken_s)),
        "max_ms": _ms(max(taken_s)),
        "all_ms": [_ms(s) for s in taken_s],
    }


def _row_document(group: Sequence[Measurement]) -> dict[str, Any]:
    first_byte = [m.first_byte_s for m in group]
    audible = [m.heard.first_audible_s for m in group]
    total = [m.total_s for m in group]
    return {
        "length": group[0].length.name,
        "kind": _kind(group[0]),
        "words": group[0].length.words,
        "n": len(group),
        "first_byte_median_ms": _ms(statistics.median(first_byte)),
        "first_byte_max_ms": _ms(max(first_byte)),
        "first_audible_median_ms": _ms(statistics.median(audible)),
        "first_audible_max_ms": _ms(max(audible)),
        "total_median_ms": _ms(statistics.median(total)),
        "total_max_ms": _ms(max(total)),
        "audio_median_s": round(statistics.median(m.heard.audio_s for m in group), 4),
        "real_time_factor_median": round(statistics.median(m.real_time_factor for m in group), 6),
    }


def _measurement_document(measurement: Measurement) -> dict[str, Any]:
    return {
        "length": measurement.length.name,
        "kind": _kind(measurement),
        "words": measurement.length.words,
        "text_index": measurement.text_index,
        "first_byte_ms": _ms(measurement.first_byte_s),
        "first_audible_ms": _ms(measurement.heard.first_audible_s),
        "audible_offset_ms": _ms(measurement.heard.audible_offset_s),
        "total_ms": _ms(measurement.total_s),
        "audio_s": round(measurement.heard.audio_s, 4),
        "real_time_factor": round(measurement.real_time_factor, 6),
        "sample_rate_hz": measurement.heard.sample_rate_hz,
        "received_bytes": measurement.received_bytes,
        "new_connection": measurement.new_connection,
        "waited_s": measurement.waited_s,
        "health_asked": measurement.health_asked,
    }
