"""What happens to a cache in the world, done to a real server: a process of its own, real sockets,
real disks. Only the model is missing: `tests/synth/scripted_engine.py` stands in for it.

| fault | here | and, within one process, in `tests/proxy` |
|---|---|---|
| 1. many ask for the same new reply | test_stampede | test_speech_api, test_flight |
| 2. the first of them leaves | test_stampede | test_speech_api, test_speaker |
| 3. all of them leave | test_stampede | test_speaker |
| 4. synthesis fails before the first byte | test_engine | test_speech_api |
| 5. synthesis fails in the middle | test_engine | test_speech_api |
| 6. kill -9 in the middle of a write | test_kill | |
| 7. a file is cut short, or a bit flips | test_damage | test_disk, test_entry |
| 8. garbage in the database or its log | test_damage | test_disk |
| 9. the disk is full | test_full_disk | test_disk |
| 10. a planted pickle, a path that leads out | test_tampering | test_disk |
| 11. two texts with one hash | test_tampering | test_speaker |
| 12. spellings of one request, and delimiters | test_keys | test_key, test_plan |
| 13. a flood of new texts | test_flood | test_schedule, test_memory |
| 14. readers of a byte a second | test_slow_readers | |
| 16. SIGTERM while replies are made | test_shutdown | test_speech_api |
| 17. the engine's process is killed | test_engine | test_speech_api |
| 18. a warm-up is killed and run again | test_warm_up | test_warm_up |

15, a tier that machines share, does not exist yet.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from synth import weights
from tests.faults.server import SCRIPTED_SERVER, Log, Server
from tests.proxy.conftest import barrier, weights_folder

__all__ = ["barrier", "weights_folder"]

StartServer = Callable[..., Server]
"""`start_server(directory=None, settings={}, environment={}, wrapper=(), ready=True)`"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("faults")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache's directory, unless a test names another."""
    return tmp_path / "cache"


@pytest.fixture
def start_server(cache: Path, weights_folder: Path, tmp_path: Path) -> Iterator[StartServer]:
    """Start a server, which the end of the test ends. It has no phrasebook unless it is given one;
    its memory tier is off unless it is given a size, so that hits come from disk."""
    started: list[Server] = []

    def start(
        directory: Path = cache,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str | Path] = (),
        ready: bool = True,
    ) -> Server:
        given = {
            "server.port": 0,
            "server.shutdown_s": 5,
            "engine.weights": weights_folder,
            "cache.directory": directory,
            "cache.memory_bytes": 0,
            "warm.at_start": "false",
            **(settings or {}),
        }
        weights.fetch(str(given["engine.weights"]), directory)
        log = tmp_path / f"{directory.name}.syntheses.log"
        process = subprocess.Popen(
            [
                *wrapper,
                sys.executable,
                SCRIPTED_SERVER,
                *(f"{key}={value}" for key, value in given.items()),
            ],
            stdin=subprocess.DEVNULL,
            # A pipe, for a file would fall under RLIMIT_FSIZE.
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SCRIPTED_ENGINE_LOG": str(log), **(environment or {})},
            cwd=tmp_path,
        )
        assert process.stderr is not None
        server = Server(process, Log(process.stderr), log)
        started.append(server)
        if ready:
            server.wait_until_ready()
        return server

    yield start
    for server in started:
        server.stop(signal.SIGKILL)
        assert server.process.stderr is not None
        server.process.stderr.close()
