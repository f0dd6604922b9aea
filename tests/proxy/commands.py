"""The command `kokoro-edge`, called within the test's process."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from proxy.app import DISK
from proxy.cli import main
from tests.proxy.conftest import SCRIPTED_ENGINE, Edge

SCRIPTED_COMMAND = Path(__file__).with_name("scripted_command.py")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Command:
    """`await command(*arguments)`: what comes of `kokoro-edge` with them, in an empty folder."""

    folder: Path
    directory: Path
    """Of the cache."""
    monkeypatch: pytest.MonkeyPatch
    capsysbinary: pytest.CaptureFixture[bytes]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside the directory of the cache."""

    async def __call__(
        self,
        *arguments: str,
        stdin: bytes = b"",
        engine: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """`engine` are options of the scripted engine."""
        given = environment_with(self.directory, **{**self.environment, **(environment or {})})
        with self.monkeypatch.context() as patched:
            patched.chdir(self.folder)
            for name in os.environ:
                patched.delenv(name)
            for name, value in given.items():
                patched.setenv(name, value)
            patched.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            self.capsysbinary.readouterr()
            # A server of the test's own runs in this thread.
            code = await asyncio.to_thread(_call, arguments, engine)
            out, err = self.capsysbinary.readouterr()
        return Done(code, out.decode(), err.decode())


def _call(arguments: tuple[str, ...], engine: tuple[str, ...]) -> int:
    try:
        return main(arguments, (sys.executable, str(SCRIPTED_ENGINE), *engine))
    except SystemExit as called_wrongly:
        assert isinstance(called_wrongly.code, int)
        return called_wrongly.code


def environment_with(directory: Path, **environment: str) -> dict[str, str]:
    """Ours, with the cache in this directory and no other setting."""
    kept = {name: value for name, value in os.environ.items() if "KOKORO" not in name}
    return {**kept, "KOKORO_EDGE_CACHE_DIRECTORY": str(directory), **environment}


def assert_one_line(done: Done, code: int, *says: str) -> None:
    assert done.code == code, done
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    for part in ("kokoro-edge: ", *says):
        assert part in done.err


async def announce(edge: Edge) -> str:
    """As `proxy.serve` does. Returns the address."""
    server = edge.client.server
    assert isinstance(server, TestServer)
    disk, url = server.app[DISK], f"http://127.0.0.1:{edge.client.port}"
    await disk.run(lambda: disk.owner.announce(url))
    return url
