"""The real server as its users run it: the command, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import aiohttp

COMMAND = Path(sys.executable).with_name("kokoro-edge")

_DEADLINE_S = 120.0
_LISTENING = re.compile(r"listening on (http://\S+)")
_ENGINE_READY = re.compile(r"engine ready on (\w+)")
_WARM = re.compile(r"phrasebooks: (\d+) rendered")


@dataclass
class Server:
    """A running `kokoro-edge serve`."""

    process: subprocess.Popen[str]
    url: str
    log: Queue[str]

    def wait_until_ready(self) -> None:
        """Wait until the engine has loaded the model."""
        self.wait_for(_ENGINE_READY)

    def wait_until_warm(self) -> None:
        """Wait until the phrasebooks are rendered."""
        self.wait_for(_WARM)

    def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Read the log up to a line that matches."""
        while True:
            line = self.log.get(timeout=_DEADLINE_S)
            assert line, "the server ended; its log is above"
            if match := pattern.search(line):
                return match

    def engine_pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=_DEADLINE_S)


@contextmanager
def serve(directory: Path, models: Path, *flags: str) -> Iterator[Server]:
    """Run a server whose cache is in `directory`, with the weights that are in `models`."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "models").exists():
        (directory / "models").symlink_to(models / "models")
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", "--cache-directory", directory, *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=directory,
    )
    log: Queue[str] = Queue()
    reader = threading.Thread(target=_read, args=(process, log), daemon=True)
    reader.start()
    server = Server(process, "", log)
    try:
        server.url = server.wait_for(_LISTENING)[1]
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


async def speak(
    http: aiohttp.ClientSession,
    server: Server,
    text: str,
    voice: str = "af_bella",
    format: str = "pcm",
) -> bytes:
    """The whole reply to a request, which must be a 200."""
    body = {"model": "kokoro", "input": text, "voice": voice, "response_format": format}
    async with http.post(f"{server.url}/v1/audio/speech", json=body) as response:
        assert response.status == 200, await response.text()
        return await response.read()


def _read(process: subprocess.Popen[str], log: Queue[str]) -> None:
    """Pass every line on, and print it: pytest shows it where a test fails."""
    assert process.stderr is not None
    for line in process.stderr:
        print(line, end="", file=sys.stderr)
        log.put(line)
    log.put("")
