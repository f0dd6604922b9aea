"""One engine process and the pipe to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from synth import wire

_OWN_END_DEADLINE_S = 1.0
_END_DEADLINE_S = 5.0


class ProcessEnded(Exception):
    """The engine process ended, or was ended, before it had answered."""


class EngineProcess:
    """A running program that speaks `synth.wire`. One request at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> EngineProcess:
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def wait_until_ready(self, deadline_s: float) -> str:
        """Returns the device that the model is on."""
        async with self._talk(deadline_s):
            header, _ = await wire.read_async(self._stdout)
        if header.get("event") != "ready":
            raise ProcessEnded(header.get("message", "it answered in an unknown way"))
        return str(header["device"])

    async def ask(self, request: bytes, deadline_s: float) -> tuple[wire.Header, bytes]:
        """Send a request and read its answer. `deadline_s` begins anew at every sign of life."""
        async with self._talk(deadline_s):
            self._stdin.write(request)
            await self._stdin.drain()
        while True:
            async with self._talk(deadline_s):
                header, body = await wire.read_async(self._stdout)
            if header.get("event") != "alive":
                return header, body

    async def wait(self) -> None:
        await self._process.wait()

    async def end(self) -> None:
        """Make sure that the process has ended."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        async with asyncio.timeout(_END_DEADLINE_S):
            await self._process.wait()

    @asynccontextmanager
    async def _talk(self, deadline_s: float) -> AsyncIterator[None]:
        """Turn whatever goes wrong on the pipe into `ProcessEnded`, and make that true."""
        try:
            async with asyncio.timeout(deadline_s):
                yield
        except TimeoutError:
            await self.end()
            raise ProcessEnded(f"it did not answer within {deadline_s:.0f} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            # Its pipe is closed, so it is about to end; its own status is worth waiting for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_OWN_END_DEADLINE_S):
                    await self._process.wait()
            await self.end()
            raise ProcessEnded(f"it ended with status {self._process.returncode}") from None
