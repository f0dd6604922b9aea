"""How fast cached replies are: against a bare aiohttp handler, and while the engine is busy.

Our server and a bare aiohttp handler, which answers the same bytes to whatever it is sent, run side
by side and are asked in turns.

throughput:
  Closed loop, the servers pinned to one core and the client to the others. With N connections, N
  requests wait for that core: p50 and p99 are those of a server that does all it can. CPU is what
  the server's process took for a request; it is steadier than the rate where a machine has other
  work. `busy` is the share of the time that it ran: well below 100%, the client was the limit, or
  whatever else ran on that core.

hits under saturation:
  Open loop, nothing pinned: requests are sent by schedule, and latency counts from the scheduled
  time. Asked while nothing else is done, and while new texts keep the engine busy. `client late` is
  by how much the client itself missed the schedule, which is in the latencies, too. It runs at a
  higher priority where it may, since in service it would run on another machine.

A missed aim is printed and is no failure. exit status: 0 measured, 1 a server failed, or answered
other than with a hit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from hits_load import (
    HIT,
    LoadError,
    Target,
    closed_loop,
    fast_loop,
    open_loop,
    punctual_loop,
)
from hits_report import Full, Misses, Paced, show_machine, show_saturation, show_throughput
from hits_servers import Server, bare, ours
from hits_wrk import run_wrk
from latency_texts import SHORT, Texts
from rich.console import Console

from synth.weights import default_cache_dir

FAILED = 1
INTERRUPTED = 130

DEFAULT_TEXT = "Thank you for calling. How can I help you today?"
MISSES_IN_FLIGHT = 8

_SETTLE_S = 2.0
_RETRY_S = 0.2
_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Side:
    """A server and what it is asked for."""

    server: Server
    target: Target


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parser().parse_args(argv)
    # Told to stop, it takes its servers along.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="kokoro-edge-hits-") as directory:
            _measure(options, Path(directory), console)
    except LoadError as error:
        _say(f"error: {error}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench hits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--text", default=DEFAULT_TEXT, help="what is asked for (default: %(default)s)")
    add("--format", choices=("mp3", "wav", "pcm"), default="mp3", help="default: %(default)s")
    add("--rounds", type=_positive, default=5, metavar="N", help="of each measurement; default: 5")
    add("--seconds", type=_positive, default=5, metavar="S", help="of each round; default: 5")
    add("--connections", type=_positive, default=16, metavar="N", help="default: %(default)s")
    add("--rate", type=_positive, default=500, metavar="R", help="open loop, in 1/s; default: 500")
    add(
        "--client",
        choices=("wrk", "asyncio"),
        default="wrk" if shutil.which("wrk") else "asyncio",
        help="of the closed loop (default: wrk where it is on the PATH)",
    )
    add(
        "--cache-directory",
        type=Path,
        default=default_cache_dir(),
        help="where the model is; nothing is written there (default: the user's cache directory)",
    )
    return parser


def _positive(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is no number from 1 on")
    return int(given)


def _measure(options: argparse.Namespace, directory: Path, console: Console) -> None:
    fields = {"model": "kokoro", "input": options.text, "response_format": options.format}
    body = json.dumps(fields).encode()
    _say("starting the server")
    with ours(directory, options.cache_directory.expanduser() / "models") as edge_server:
        edge = Side(edge_server, Target(*edge_server.address(), body))
        reply, content_type = asyncio.run(_make(edge.target))
        with bare(directory, reply, content_type) as bare_server:
            plain = Side(bare_server, Target(*bare_server.address(), body, must_be_hit=False))
            show_machine(console, f"{len(reply)} bytes of {options.format} for {options.text!r}")
            gc.freeze()  # What is here already need not be looked through while others are timed.
            _say("throughput")
            full = _throughput(options, directory, edge, plain)
            show_throughput(console, options.client, *full)
            _say("hits under saturation")
            with _preferred(), asyncio.Runner(loop_factory=punctual_loop) as runner:
                paced, misses = runner.run(_saturation(options, edge, plain))
            show_saturation(console, options.rate, paced, misses)


async def _make(target: Target) -> tuple[bytes, str]:
    """Have the reply made. Returns it as it comes when it is asked for again, and its type."""
    headers = {"Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(_DEADLINE_S)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            for _ in range(2):
                async with http.post(target.url, data=target.body) as response:
                    reply = await response.read()
                    if response.status != 200:
                        raise LoadError(f"answered {response.status}: {await response.text()}")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise LoadError(f"the reply could not be had: {error!r}") from None
    if not response.headers.get("Cache-Status", "").startswith(HIT.decode()):
        raise LoadError("the reply was not cached when it was asked for again")
    return reply, response.headers["Content-Type"]


def _throughput(
    options: argparse.Namespace, directory: Path, edge: Side, plain: Side
) -> tuple[list[Full], list[Full]]:
    """Rounds of ours and of the bare handler, one after the other."""
    cores = sorted(os.sched_getaffinity(0))
    for side in (edge, plain):
        side.server.pin(cores[-1:])
    os.sched_setaffinity(0, cores[:-1] or cores)
    ours_, bare_ = [], []
    try:
        for _ in range(options.rounds):
            ours_.append(_full(options, directory, edge))
            bare_.append(_full(options, directory, plain))
    finally:
        os.sched_setaffinity(0, cores)
        for side in (edge, plain):
            side.server.pin(cores)
    return ours_, bare_


def _full(options: argparse.Namespace, directory: Path, side: Side) -> Full:
    before_s = side.server.cpu_s()
    if options.client == "wrk":
        load = run_wrk(side.target, options.connections, options.seconds, directory)
    else:
        with asyncio.Runner(loop_factory=fast_loop) as runner:
            load = runner.run(closed_loop(side.target, options.connections, options.seconds))
    return Full(load, side.server.cpu_s() - before_s)


async def _saturation(
    options: argparse.Namespace, edge: Side, plain: Side
) -> tuple[list[Paced], Misses]:
    texts, misses = Texts(seed=0), Misses(MISSES_IN_FLIGHT)
    paced = [
        Paced(side, kind) for kind in ("idle", "saturated") for side in ("kokoro-edge", "bare")
    ]

    async def ask(rows: Sequence[Paced]) -> None:
        for row, side in zip(rows, (edge, plain), strict=True):
            row.loads.append(
                await open_loop(side.target, options.connections, options.rate, options.seconds)
            )

    for _ in range(options.rounds):
        await ask(paced[:2])
        async with _saturated(edge.target, texts, misses):
            await ask(paced[2:])
    return paced, misses


@contextlib.asynccontextmanager
async def _saturated(target: Target, texts: Texts, misses: Misses) -> AsyncIterator[None]:
    """Keep the engine busy with texts that were never said. It is idle again afterwards."""
    over = asyncio.Event()

    async def keep_asking(http: aiohttp.ClientSession) -> None:
        while not over.is_set():
            body = {"model": "kokoro", "input": texts.make(SHORT)}
            async with http.post(target.url, json=body) as response:
                await response.read()
            if response.status == 503:
                misses.refused += 1
                await asyncio.sleep(_RETRY_S)
            elif response.status == 200:
                misses.made += 1
            else:
                raise LoadError(f"a new text was answered {response.status}")

    try:
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
            for _ in range(misses.in_flight):
                group.create_task(keep_asking(http))
            await asyncio.sleep(_SETTLE_S)
            yield
            over.set()
    except ExceptionGroup as problems:
        raise LoadError(f"while new texts were made: {problems.exceptions[0]!r}") from problems
    await asyncio.sleep(_SETTLE_S)


@contextlib.contextmanager
def _preferred() -> Iterator[None]:
    """Run this thread before others, where that is allowed."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, usual)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
