"""The server in a process of its own, with the scripted engine in place of the model's.

    python tests/faults/scripted_server.py [KEY=VALUE ...]

A KEY is a setting such as `server.port`; the environment counts as it does for `kokoro-edge serve`.
Where the environment says so, it comes to harm:

- FAULT_STEPS names a file that gets a line for each step of a write: each call by which the disk's
  thread reads or changes something outside of Python while it keeps an entry, before it is made.
- FAULT_KILL_AT is such a line: the process kills itself before that step.
- FAULT_ARMED names a file: writes that begin while it is there are watched, and no others.
- FAULT_SIGXFSZ=kill has the kernel kill it in the middle of the write that reaches RLIMIT_FSIZE.
  Python ignores that signal, so that such a write fails.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from proxy.cache.disk import DiskTier
from proxy.layers import load
from proxy.serve import serve

SCRIPTED_ENGINE = Path(__file__).parents[1] / "synth" / "scripted_engine.py"

_OUTSIDE = {"posix", "io", "_io", "sqlite3"}
"""Modules whose functions, and whose classes' methods, touch what outlives the process."""

_KEEPS = DiskTier._put.__code__


class Steps:
    """A profiler that knows which step of which write comes next."""

    def __init__(self, armed: Path, log: Path | None, kill_at: str | None) -> None:
        self._armed = armed
        self._log = log
        self._kill_at = kill_at
        self._entries = 0
        """Of those that were put while it was armed, which one is being put now."""
        self._seen: Counter[str] = Counter()
        self._putting = False

    def __call__(self, frame: FrameType, event: str, called: object) -> None:
        if not threading.current_thread().name.startswith("disk-tier"):
            sys.setprofile(None)
            return
        if frame.f_code is _KEEPS:
            if event == "call" and self._armed.exists():
                self._putting = True
                self._entries += 1
                self._seen.clear()
            elif event == "return":
                self._putting = False
        if self._putting and event == "c_call" and _module_of(called) in _OUTSIDE:
            self._step(frame, called)

    def _step(self, frame: FrameType, called: object) -> None:
        function = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"
        what = f"{function}:{frame.f_lineno} {getattr(called, '__qualname__', called)}"
        self._seen[what] += 1
        line = f"entry {self._entries} {what} #{self._seen[what]}"
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
        if line == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _module_of(called: object) -> object:
    owner = getattr(called, "__self__", None)
    if owner is None or getattr(called, "__module__", None) is not None:
        return getattr(called, "__module__", None)
    return type(owner).__module__


def main() -> None:
    environment = dict(os.environ)
    if armed := environment.pop("FAULT_ARMED", None):
        log = environment.pop("FAULT_STEPS", None)
        steps = Steps(Path(armed), Path(log) if log else None, environment.get("FAULT_KILL_AT"))
        threading.setprofile(steps)
    if environment.get("FAULT_SIGXFSZ") == "kill":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    flags = dict(argument.split("=", 1) for argument in sys.argv[1:])
    settings = load(flags, environment)
    logging.basicConfig(level=settings.log.level, format="%(levelname)s %(name)s: %(message)s")
    serve(settings, engine_command=(sys.executable, str(SCRIPTED_ENGINE)))


if __name__ == "__main__":
    main()
