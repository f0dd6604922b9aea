"""The two servers that `scripts/bench hits` compares, each a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hits_load import LoadError

COMMAND = Path(sys.executable).with_name("kokoro-edge")
BARE = Path(__file__).with_name("hits_bare.py")

_DEADLINE_S = 300.0
_STOP_S = 15.0
_POLL_S = 0.05
_LISTENING = r"listening on http://([\d.]+):(\d+)"
_SHOWN_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    """Standard error goes to a file: written as in service, and read by nobody who is measured."""

    def address(self) -> tuple[str, int]:
        found = self.wait_for(_LISTENING)
        return found[1], int(found[2])

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the log has this in it."""
        give_up_s = time.monotonic() + _DEADLINE_S
        while time.monotonic() < give_up_s:
            text = self.log.read_text("utf-8", "replace")
            if found := re.search(pattern, text):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(_POLL_S)
        log = self.log.read_text("utf-8", "replace")[-_SHOWN_CHARS:]
        raise LoadError(f"the {self.name} server did not start; it said:\n{log}")

    def cpu_s(self) -> float:
        """CPU time that it took so far, in all threads, without its children."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def pin(self, cores: Collection[int]) -> None:
        """Have it run on these cores alone; its children stay where they are."""
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            with suppress(ProcessLookupError):  # It ended meanwhile.
                os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def ours(directory: Path, models: Path) -> Iterator[Server]:
    """`kokoro-edge serve` with an empty cache in `directory` and the weights in `models`.

    It is ready: the engine has loaded the model, and renders nothing by itself.
    """
    if not models.is_dir():
        raise LoadError(f"no model in {models}: fetch it with `kokoro-edge fetch`")
    (directory / "models").symlink_to(models)
    flags = ("--port", "0", "--cache-directory", str(directory))
    command = (str(COMMAND), "serve", *flags, "--warm-at-start", "false")
    with _running("kokoro-edge", command, directory) as server:
        server.wait_for("engine ready on")
        yield server


@contextmanager
def bare(directory: Path, reply: bytes, content_type: str) -> Iterator[Server]:
    """A bare aiohttp handler that answers with `reply`."""
    file = directory / "reply"
    file.write_bytes(reply)
    command = (sys.executable, str(BARE), str(file), content_type)
    with _running("bare", command, directory) as server:
        yield server


@contextmanager
def _running(name: str, command: tuple[str, ...], directory: Path) -> Iterator[Server]:
    log = directory / f"{name}.log"
    # The settings of whoever measures are not measured.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KOKORO_EDGE_")}
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=written, cwd=directory, env=environment
        )
    try:
        yield Server(name, process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
