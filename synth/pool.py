"""Engine processes: started, fed, and replaced when they end."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from synth import wire
from synth.engine import Clip, EngineDied, EngineLoading, Segment

logger = logging.getLogger(__name__)

_FIRST_LOAD_GUESS_S = 15.0
_MAX_RESTART_DELAY_S = 30.0
_KILL_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How engine processes are started."""

    weights: str
    """`auto`, `hub`, `registries` or a folder: see `synth.weights`."""
    cache_dir: Path
    """Where weights are kept."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    threads: int = 0
    """CPU threads of one engine process; 0 for torch's own choice."""
    processes: int = 1
    pass_deadline_s: float = 60.0
    """A process that takes longer than this for one pass through the model is ended and replaced.
    Slow speech, which is long, has as much more time."""
    start_deadline_s: float = 1800.0
    """How long starting may take, which includes fetching the weights the first time."""

    def command(self) -> tuple[str, ...]:
        options = {
            "--weights": self.weights,
            "--cache-dir": str(self.cache_dir),
            "--device": self.device,
            "--threads": str(self.threads),
        }
        pairs = (part for pair in options.items() for part in pair)
        return (sys.executable, "-m", "synth.worker", *pairs)


class PoolState(Enum):
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    """The last start failed. The pool goes on trying."""


class _ProcessEnded(Exception):
    """The engine process ended, or was ended, before it had answered."""


class EnginePool:
    """An `Engine` over processes of their own: what happens in one never stalls the event loop.

    `start` returns at once; until a process has loaded the model, `synthesize` raises
    `EngineLoading`. A process that ends is replaced, and what it was working on is tried once more.
    """

    def __init__(
        self,
        options: EngineOptions,
        command: Sequence[str] | None = None,
        on_ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`command` stands in for `options.command()`: any program that speaks `synth.wire`.
        `on_ready` is awaited whenever a process has loaded the model, before it gets work."""
        self._options = options
        self._on_ready = on_ready
        self._command = tuple(command or options.command())
        self._idle: asyncio.Queue[_EngineProcess] = asyncio.Queue()
        self._live: set[_EngineProcess] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self._started = asyncio.Event()
        self._load_began_s = 0.0
        self._load_took_s = _FIRST_LOAD_GUESS_S
        self.state = PoolState.LOADING
        self.device: str | None = None
        """`cpu` or `cuda`, once known."""
        self.problem: str | None = None
        """Why the last start failed, in one line."""
        self.restarts = 0
        """How often a process was started in place of another."""

    @property
    def processes(self) -> int:
        """How many segments can be made at a time."""
        return self._options.processes

    def pids(self) -> tuple[int, ...]:
        """The process ids of the engines that are up."""
        return tuple(process.pid for process in self._live)

    def start(self) -> None:
        self._load_began_s = time.monotonic()
        for _ in range(self._options.processes):
            self._own(asyncio.create_task(self._keep_running()))

    async def close(self) -> None:
        """End every process and wait until it has ended."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_until_ready(self) -> None:
        """Wait until a process has loaded the model, however long that takes."""
        await self._started.wait()

    def retry_after_s(self) -> float:
        """When a process should be up, by how long loading took the last time."""
        elapsed_s = time.monotonic() - self._load_began_s
        return max(1.0, self._load_took_s - elapsed_s)

    async def synthesize(self, segment: Segment, ahead: Sequence[Segment] = ()) -> Clip:
        if not self._live:
            raise EngineLoading(self._why_not(), self.retry_after_s())
        deadline_s = self._options.pass_deadline_s / min(segment.speed, 1.0)
        request = wire.pack(
            {
                "segment": wire.segment_to_json(segment),
                "ahead": [wire.segment_to_json(later) for later in ahead],
            }
        )
        for _ in range(2):
            process = await self._take()
            job = asyncio.create_task(self._run(process, request, deadline_s))
            self._own(job)
            try:
                # Shielded: whoever waits may leave, but the process must finish its answer before
                # it can be given other work.
                return await asyncio.shield(job)
            except _ProcessEnded:
                logger.warning("engine process %d ended while it worked", process.pid)
        raise EngineDied("The engine failed twice on this text.", self.retry_after_s())

    async def _run(self, process: _EngineProcess, request: bytes, deadline_s: float) -> Clip:
        try:
            header, body = await process.ask(request, deadline_s)
        finally:
            if not process.ended:
                self._idle.put_nowait(process)
        return wire.unpack_answer(header, body)

    async def _take(self) -> _EngineProcess:
        """Wait for a process that has nothing to do."""
        try:
            async with asyncio.timeout(self._options.start_deadline_s):
                while (process := await self._idle.get()).ended:
                    pass
                return process
        except TimeoutError:
            raise EngineLoading(self._why_not(), self.retry_after_s()) from None

    def _why_not(self) -> str:
        if self.problem:
            return f"The engine could not start: {self.problem} It is being tried again."
        return "The engine is still loading. What is cached is served meanwhile."

    async def _keep_running(self) -> None:
        """Keep one process running, for as long as the pool is open."""
        delay_s = 0.0
        while True:
            began_s = time.monotonic()
            if not self._live:
                self._load_began_s = began_s
            process = await _EngineProcess.spawn(self._command)
            try:
                self.device = await process.wait_until_ready(self._options.start_deadline_s)
                self._load_took_s = time.monotonic() - began_s
                if self._on_ready is not None:
                    await self._on_ready()
                self._admit(process)
                delay_s = 0.0
                await process.wait()
                logger.error("engine process %d ended; starting another", process.pid)
            except _ProcessEnded as problem:
                self.state, self.problem = PoolState.FAILED, str(problem)
                delay_s = min(_MAX_RESTART_DELAY_S, max(1.0, delay_s * 2))
                logger.error("engine did not start, trying again in %.0f s: %s", delay_s, problem)
            finally:
                self._dismiss(process)
                await process.end()
            self.restarts += 1
            await asyncio.sleep(delay_s)

    def _admit(self, process: _EngineProcess) -> None:
        self._live.add(process)
        self._idle.put_nowait(process)
        self.state, self.problem = PoolState.READY, None
        self._started.set()
        logger.info("engine ready on %s in %.1f s", self.device, self._load_took_s)

    def _dismiss(self, process: _EngineProcess) -> None:
        if process in self._live:
            self._live.discard(process)
            if not self._live:
                self.state = PoolState.LOADING
                self._started.clear()

    def _own(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._disown)

    def _disown(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever awaits the task has it, or has left: either way it is seen.


class _EngineProcess:
    """One engine process and the pipe to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> _EngineProcess:
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
        header, _ = await self._read(deadline_s)
        if header.get("event") != "ready":
            raise _ProcessEnded(header.get("message", "it answered in an unknown way."))
        return str(header["device"])

    async def ask(self, request: bytes, deadline_s: float) -> tuple[wire.Header, bytes]:
        """Send a request and read its answer. `deadline_s` begins anew at every sign of life."""
        try:
            self._stdin.write(request)
            await self._stdin.drain()
        except ConnectionError:
            raise _ProcessEnded("its pipe is closed.") from None
        while True:
            header, body = await self._read(deadline_s)
            if header.get("event") != "alive":
                return header, body

    async def _read(self, deadline_s: float) -> tuple[wire.Header, bytes]:
        try:
            async with asyncio.timeout(deadline_s):
                return await wire.read_async(self._stdout)
        except TimeoutError:
            await self.end()
            raise _ProcessEnded(f"it did not answer within {deadline_s:.0f} s.") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.end()
            raise _ProcessEnded(f"it ended with status {self._process.returncode}.") from None

    async def wait(self) -> None:
        await self._process.wait()

    async def end(self) -> None:
        """Make sure that the process has ended."""
        if not self.ended:
            try:
                self._process.kill()
            except ProcessLookupError:
                pass
        async with asyncio.timeout(_KILL_DEADLINE_S):
            await self._process.wait()
