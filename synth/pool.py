"""Engine processes: started, fed, and replaced when they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from synth import wire
from synth.engine import Clip, EngineDied, EngineLoading, EngineUnavailable, Segment
from synth.process import EngineProcess, ProcessEnded

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_LOAD_GUESS_S = 15.0
_MAX_RESTART_DELAY_S = 30.0
_SHORT_LIFE_S = 10.0
_MIN_PATIENCE_S = 30.0
_PATIENCE_IN_LOADS = 3


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
        self._idle: deque[EngineProcess] = deque()
        self._changed = asyncio.Event()
        self._live: set[EngineProcess] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._jobs: set[asyncio.Task[tuple[wire.Header, bytes]]] = set()
        self._up = asyncio.Event()
        self._was_up = False
        self._closed = False
        self._load_began_s = 0.0
        self._load_took_s = _FIRST_LOAD_GUESS_S
        self.device: str | None = None
        """`cpu` or `cuda`, once known."""
        self.problem: str | None = None
        """Why the last start failed, in one line."""
        self.restarts = 0
        """How often a process was started in place of another."""

    @property
    def state(self) -> PoolState:
        if self._live:
            return PoolState.READY
        return PoolState.FAILED if self.problem else PoolState.LOADING

    @property
    def was_up(self) -> bool:
        """Whether the model has been loaded since the start."""
        return self._was_up

    def pids(self) -> tuple[int, ...]:
        """The process ids of the engines that are up."""
        return tuple(process.pid for process in self._live)

    def start(self) -> None:
        self._load_began_s = time.monotonic()
        self._keepers = [
            asyncio.create_task(self._keep_running()) for _ in range(self._options.processes)
        ]

    async def close(self) -> None:
        """End every process and wait until it has ended. Who waits for a clip gets an error."""
        self._closed = True
        self._wake()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, *self._jobs, return_exceptions=True)

    async def wait_until_ready(self) -> None:
        """Wait until a process has loaded the model, however long that takes."""
        await self._up.wait()

    async def wait_until_loaded(self, patience_s: float = 0.0) -> None:
        """Wait until a process has loaded the model. `patience_s` is how long starting one may fail
        before that is given up.

        Raises:
            EngineLoading: it cannot be started.
            EngineUnavailable: the pool is closed.
        """
        give_up_s: float | None = None
        while not self._live:
            if self._closed:
                raise self._not_up()
            left_s = None
            if self.state is PoolState.FAILED:
                give_up_s = give_up_s or time.monotonic() + patience_s
                left_s = give_up_s - time.monotonic()
                if left_s <= 0:
                    raise self._not_up()
            changed = self._changed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await changed.wait()

    def require_up(self) -> None:
        """Raises EngineUnavailable where no process has the model loaded now."""
        if not self._live:
            raise self._not_up()

    def retry_after_s(self) -> float:
        """When a process should be up, by how long loading took the last time."""
        elapsed_s = time.monotonic() - self._load_began_s
        return max(1.0, self._load_took_s - elapsed_s)

    async def synthesize(self, segment: Segment, ahead: Sequence[Segment] = ()) -> Clip:
        request = wire.pack(
            {
                "segment": wire.segment_to_json(segment),
                "ahead": [wire.segment_to_json(later) for later in ahead],
            }
        )
        deadline_s = self._options.pass_deadline_s / min(segment.speed, 1.0)
        return await self._answered(request, deadline_s, wire.unpack_answer)

    async def check(self, segments: Sequence[Segment]) -> list[str | None]:
        """Why each of the segments cannot be said; None: it can. Nothing is synthesised.

        Raises:
            EngineUnavailable: see `synth.engine`.
        """
        request = wire.pack({"check": [wire.segment_to_json(segment) for segment in segments]})
        return await self._answered(request, self._options.pass_deadline_s, wire.unpack_checked)

    async def _answered(
        self, request: bytes, deadline_s: float, unpack: Callable[[wire.Header, bytes], T]
    ) -> T:
        if not self._was_up:
            raise self._not_up()
        for _ in range(2):
            process = await self._take()
            job = asyncio.create_task(self._run(process, request, deadline_s))
            self._jobs.add(job)
            job.add_done_callback(self._finished)
            try:
                # Shielded: whoever waits may leave, but the process must finish its answer before
                # it can be given other work.
                header, body = await asyncio.shield(job)
            except ProcessEnded as problem:
                logger.warning("engine process %d failed at its work: %s", process.pid, problem)
            else:
                return unpack(header, body)
        raise EngineDied("The engine failed twice on this text.", self.retry_after_s())

    async def _run(
        self, process: EngineProcess, request: bytes, deadline_s: float
    ) -> tuple[wire.Header, bytes]:
        try:
            answer = await process.ask(request, deadline_s)
        except BaseException:
            # Its pipe may hold the rest of this answer, which must not become the next one's.
            await process.end()
            raise
        self._idle.append(process)
        self._wake()
        return answer

    async def _take(self) -> EngineProcess:
        """Wait for a process that has nothing to do.

        Where none is up, one is being started in place of one that ended. That is waited for, a few
        times as long as it took the last time, unless it is known to fail.
        """
        patience_s = max(_MIN_PATIENCE_S, _PATIENCE_IN_LOADS * self._load_took_s)
        give_up_s = time.monotonic() + patience_s
        while True:
            while self._idle:
                process = self._idle.popleft()
                if not process.ended:
                    return process
            left_s = None if self._live else give_up_s - time.monotonic()
            if (
                self._closed
                or self.state is PoolState.FAILED
                or (left_s is not None and left_s < 0)
            ):
                raise self._not_up()
            changed = self._changed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await changed.wait()

    def _wake(self) -> None:
        """Let whoever waits for a process look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _not_up(self) -> EngineUnavailable:
        if self._closed:
            return EngineUnavailable("The server is shutting down.", retry_after_s=1)
        message = "The engine is still loading. What is cached is served meanwhile."
        if self.problem:
            message = f"The engine could not start and is tried again. It said: {self.problem}"
        return EngineLoading(message, self.retry_after_s())

    async def _keep_running(self) -> None:
        """Keep one process running, for as long as the pool is open."""
        in_a_row = 0  # Failed starts, or lives so short that they are as good as failed.
        while True:
            began_s = time.monotonic()
            try:
                await self._run_one()
                in_a_row = in_a_row + 1 if time.monotonic() - began_s < _SHORT_LIFE_S else 0
            except Exception as problem:
                # Whatever it was, a pool without this loop would refuse everything for good.
                self.problem = str(problem) or type(problem).__name__
                logger.error("engine did not start and is tried again: %s", problem)
                in_a_row += 1
                self._wake()
            self.restarts += 1
            # The first one that ends is replaced at once.
            await asyncio.sleep(
                min(_MAX_RESTART_DELAY_S, 2.0 ** (in_a_row - 2) if in_a_row > 1 else 0)
            )

    async def _run_one(self) -> None:
        """Start a process and wait until it ends. Raises what kept it from starting."""
        began_s = time.monotonic()
        if not self._live:
            self._load_began_s = began_s
        process = await EngineProcess.spawn(self._command)
        try:
            self.device = await process.wait_until_ready(self._options.start_deadline_s)
            if self._on_ready is not None:
                await self._on_ready()
            self._load_took_s = time.monotonic() - began_s
            self._admit(process)
            await process.wait()
            logger.error("engine process %d ended; starting another", process.pid)
        finally:
            self._dismiss(process)
            await process.end()

    def _admit(self, process: EngineProcess) -> None:
        self._live.add(process)
        self._idle.append(process)
        self.problem = None
        self._was_up = True
        self._up.set()
        self._wake()
        logger.info("engine ready on %s in %.1f s", self.device, self._load_took_s)

    def _dismiss(self, process: EngineProcess) -> None:
        self._live.discard(process)
        if not self._live:
            self._up.clear()
        self._wake()

    def _finished(self, job: asyncio.Task[tuple[wire.Header, bytes]]) -> None:
        self._jobs.discard(job)
        if not job.cancelled():
            job.exception()  # Whoever waits for the job has it, or has left.
