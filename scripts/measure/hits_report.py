"""What `scripts/bench hits` measured, as tables, with the aims next to it."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from hits_load import Load
from machine import cpu_model
from rich.console import Console
from rich.table import Table

AIM_SHARE_OF_BARE = 0.75
AIM_P99_RATIO = 2.0
AIM_P99_S = 0.005


@dataclass(frozen=True, slots=True)
class Full:
    """A closed loop: all that a server can do."""

    load: Load
    cpu_s: float
    """What the server's process took."""

    @property
    def cpu_s_per_request(self) -> float:
        return self.cpu_s / self.load.requests

    @property
    def busy(self) -> float:
        return self.cpu_s / self.load.elapsed_s


@dataclass(frozen=True, slots=True)
class Paced:
    """The open loops of one server in one condition."""

    server: str
    condition: str
    loads: list[Load] = field(default_factory=list)

    @property
    def p99_s(self) -> float:
        return statistics.median(load.p99_s for load in self.loads)


@dataclass(slots=True)
class Misses:
    """What became of the texts that kept the engine busy."""

    in_flight: int
    made: int = 0
    refused: int = 0


def show_machine(console: Console, asked_for: str) -> None:
    try:
        loop = f"uvloop {metadata.version('uvloop')}"
    except metadata.PackageNotFoundError:
        loop = "without uvloop"
    load = os.getloadavg()[0]
    console.print(f"{cpu_model()}, {os.cpu_count()} cores, load average {load:.1f}", markup=False)
    console.print(
        f"Python {platform.python_version()}, aiohttp {metadata.version('aiohttp')}, {loop}"
    )
    console.print(f"{asked_for}\n", markup=False)


def show_throughput(
    console: Console, client: str, ours: Sequence[Full], bare: Sequence[Full]
) -> None:
    table = Table(
        *("server", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "busy"),
        title=f"hits on one core, asked by {client}; medians of {len(ours)} rounds",
    )
    for name, rounds in (("kokoro-edge", ours), ("bare", bare)):
        table.add_row(
            name,
            f"{statistics.median(each.load.requests_per_s for each in rounds):.0f}",
            _ms(each.load.p50_s for each in rounds),
            _ms(each.load.p99_s for each in rounds),
            f"{statistics.median(each.cpu_s_per_request for each in rounds) * 1e6:.0f}",
            f"{statistics.median(each.busy for each in rounds):.0%}",
        )
    console.print(table)
    pairs = list(zip(ours, bare, strict=True))
    shares = [a.load.requests_per_s / b.load.requests_per_s for a, b in pairs]
    by_cpu = [b.cpu_s_per_request / a.cpu_s_per_request for a, b in pairs]
    aim = _met(statistics.median(shares) >= AIM_SHARE_OF_BARE)
    console.print(
        f"rate, ours to bare: {_ratios(shares)}; aim: at least {AIM_SHARE_OF_BARE}, {aim}"
    )
    console.print(f"by CPU time:        {_ratios(by_cpu)}\n")


def show_saturation(
    console: Console, rate_per_s: float, paced: Sequence[Paced], misses: Misses
) -> None:
    table = Table(
        *("server", "engine", "requests/s", "p50 ms", "p99 ms", "client late, p99 ms"),
        title=f"hits at {rate_per_s:g} requests/s; medians of {len(paced[0].loads)} rounds",
    )
    for row in paced:
        table.add_row(
            row.server,
            row.condition,
            f"{statistics.median(load.requests_per_s for load in row.loads):.0f}",
            _ms(load.p50_s for load in row.loads),
            _ms(load.p99_s for load in row.loads),
            _ms(load.late_p99_s for load in row.loads),
        )
    console.print(table)
    ours_idle, bare_idle, ours_saturated, bare_saturated = paced
    ratios = _p99_ratios(ours_idle, ours_saturated)
    console.print(
        f"p99, saturated to idle: {_ratios(ratios)}; aim: at most {AIM_P99_RATIO:g}, "
        f"{_met(statistics.median(ratios) <= AIM_P99_RATIO)}"
    )
    console.print(f"the bare handler's:     {_ratios(_p99_ratios(bare_idle, bare_saturated))}")
    console.print(
        f"p99, saturated: {ours_saturated.p99_s * 1000:.2f} ms; aim: under "
        f"{AIM_P99_S * 1000:g} ms, {_met(ours_saturated.p99_s < AIM_P99_S)}"
    )
    console.print(
        f"{misses.in_flight} new texts in flight: {misses.made} made, {misses.refused} refused "
        "with 503"
    )


def _p99_ratios(idle: Paced, saturated: Paced) -> list[float]:
    return [b.p99_s / a.p99_s for a, b in zip(idle.loads, saturated.loads, strict=True)]


def _ms(values_s: Iterable[float]) -> str:
    return f"{statistics.median(values_s) * 1000:.2f}"


def _ratios(values: Sequence[float]) -> str:
    each = " ".join(f"{value:.2f}" for value in values)
    return f"median {statistics.median(values):.2f} ({each})"


def _met(met: bool) -> str:
    return "met" if met else "missed"
