"""The cache on disk with a million entries: start-up, look-up, memory; beside one with a thousand.

Entries are written as the server writes them, most into rows of the database and some into files
of their own; then the real server is started on each directory, and random entries are fetched from
it, each for the first time, one after the other, over one connection.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.progress import track
from rich.table import Table

from proxy.cache.entry import About, Entry
from proxy.cache.key import digest, text_digest
from proxy.cache.store import Store
from synth.weights import default_cache_dir

COMMAND = Path(sys.executable).with_name("kokoro-edge")

_DISK_BYTES = 1 << 40
_ROW_BYTES, _FILE_BYTES = 2_000, 40_000
_DEADLINE_S = 60.0


@dataclass(slots=True)
class Measured:
    """What was seen of one directory."""

    entries: int
    written_a_second: float
    start_s: list[float] = field(default_factory=list)
    resident_mib: float = 0.0
    resident_after_mib: float = 0.0
    disk_ms: list[float] = field(default_factory=list)
    memory_ms: list[float] = field(default_factory=list)
    miss_ms: list[float] = field(default_factory=list)


def main() -> int:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="kokoro-edge-scale-") as made:
        measured = [
            asyncio.run(_measure(Path(made) / str(entries), entries, options))
            for entries in (min(1000, options.entries), options.entries)
        ]
    _print(measured)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument(
        "--in-files",
        type=float,
        default=0.02,
        metavar="SHARE",
        help=f"share of entries of {_FILE_BYTES} bytes, in files; the others have {_ROW_BYTES}",
    )
    parser.add_argument("--lookups", type=int, default=5000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument(
        "--directory", type=Path, help="where to put some 5 GB (default: the temporary folder)"
    )
    return parser


async def _measure(directory: Path, entries: int, options: argparse.Namespace) -> Measured:
    measured = Measured(entries, _fill(directory / "audio" / "traffic", entries, options.in_files))
    (directory / "models").symlink_to(default_cache_dir() / "models")
    for _ in range(options.starts):
        with _server(directory) as (url, _, took_s):
            measured.start_s.append(took_s)
    chosen = random.Random(entries).choices(range(entries), k=options.lookups)
    chosen = list(dict.fromkeys(chosen))
    with _server(directory) as (url, pid, _):
        async with aiohttp.ClientSession(url) as http:
            await _settled(http)
            measured.resident_mib = _resident_mib(pid)
            measured.disk_ms = await _fetch(http, [_id(i) for i in chosen], 200)
            measured.memory_ms = await _fetch(http, [_id(i) for i in chosen[-500:]], 200)
            measured.miss_ms = await _fetch(http, [_id(-1 - i) for i in chosen], 404)
            measured.resident_after_mib = _resident_mib(pid)
    return measured


def _fill(directory: Path, entries: int, in_files: float) -> float:
    """Write them. Returns how many were written a second."""
    store = Store("traffic", directory, _DISK_BYTES)
    store.open()
    noise = random.Random(0).randbytes(_FILE_BYTES)
    in_a_file = random.Random(1)
    console = Console(stderr=True)
    began_s = time.perf_counter()
    for i in track(range(entries), f"writing {entries} entries", console=console):
        size_bytes = _FILE_BYTES if in_a_file.random() < in_files else _ROW_BYTES
        payload = i.to_bytes(8, "big") + noise[: size_bytes - 8]
        store.put(Entry(digest("entry", str(i)), payload, _ABOUT))
    took_s = time.perf_counter() - began_s
    store.close()
    return entries / took_s


_ABOUT = About(
    kind="rendition",
    format="pcm",
    voice="af_bella",
    language="a",
    speed=1.0,
    duration_s=1.0,
    says=(text_digest("one"), text_digest("two")),
)


def _id(number: int) -> str:
    return digest("entry", str(number)).id


@contextmanager
def _server(directory: Path) -> Iterator[tuple[str, int, float]]:
    """The real server; its address, its process, and the seconds until it answered."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(COMMAND), "serve", "--port", str(port), "--cache-directory", str(directory)]
    command += ["--cache-disk-bytes", str(_DISK_BYTES), "--warm-at-start", "false"]
    command += ["--cache-memory-bytes", "64MiB"]
    began_s = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory
    )
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() - began_s > _DEADLINE_S:
                raise SystemExit(f"{COMMAND.name} serve did not start")
            time.sleep(0.002)
        yield f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - began_s
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_DEADLINE_S)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return client.recv(16).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


async def _settled(http: aiohttp.ClientSession) -> None:
    """Wait until the engine is up: loading it takes every core."""
    while True:
        async with http.get("/health") as answer:
            if (await answer.json())["status"] != "loading":
                return
        await asyncio.sleep(0.2)


async def _fetch(http: aiohttp.ClientSession, ids: Sequence[str], status: int) -> list[float]:
    """Milliseconds of each."""
    times_ms = []
    for id in ids:
        began_s = time.perf_counter()
        async with http.get(f"/v1/audio/clips/{id}.pcm") as answer:
            await answer.read()
            if answer.status != status:
                raise SystemExit(f"expected {status}, got {answer.status} for {id}")
        times_ms.append((time.perf_counter() - began_s) * 1000)
    return times_ms


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _print(measured: Sequence[Measured]) -> None:
    table = Table("", *(f"{each.entries:,} entries" for each in measured))

    def add(name: str, shown: Callable[[Measured], str]) -> None:
        table.add_row(name, *(shown(each) for each in measured))

    add("start to first answer, s: median / worst", lambda it: _shown(it.start_s, 1.0, 2))
    add("look-up on disk, ms: median / p99", lambda it: _shown(it.disk_ms, 0.99, 2))
    add("look-up in memory, ms: median / p99", lambda it: _shown(it.memory_ms, 0.99, 2))
    add("miss, ms: median / p99", lambda it: _shown(it.miss_ms, 0.99, 2))
    add("resident memory, MiB", lambda it: f"{it.resident_mib:.0f}")
    add("the same after the look-ups, MiB", lambda it: f"{it.resident_after_mib:.0f}")
    add("written a second", lambda it: f"{it.written_a_second:.0f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)


def _shown(values: Sequence[float], quantile: float, digits: int) -> str:
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * quantile))]
    return f"{statistics.median(ordered):.{digits}f} / {high:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
