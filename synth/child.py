"""A process that answers its parent over `synth.wire`: its side of the pipe.

For `synth.worker` and `synth.listener`. The parent's end is the child's own end.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import BinaryIO, NoReturn

from synth import wire


class Parent:
    """Whoever asks."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._answers = answers
        self._requests: queue.Queue[tuple[wire.Header, bytes]] = queue.Queue()
        # In a thread of its own, so that the parent's end is noticed at once.
        threading.Thread(
            target=self._read_all, args=(requests,), name="requests", daemon=True
        ).start()

    @classmethod
    def on_standard_streams(cls, niceness: int) -> Parent:
        """Make this process a child that leaves the processor to others."""
        # Ctrl-C and service managers signal the whole group. The parent decides: it may have
        # replies to finish, and when it ends, so does this.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Libraries print to stdout; frames must not be mixed with that.
        answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        parent = cls(sys.stdin.buffer, answers)
        os.nice(niceness)
        return parent

    def next_request(self) -> tuple[wire.Header, bytes]:
        """Wait for it."""
        return self._requests.get()

    def send(self, frame: bytes) -> None:
        self._answers.write(frame)
        self._answers.flush()

    def fail(self, message: str) -> NoReturn:
        """Say why it cannot be started, and end."""
        self.send(wire.pack({"event": "failed", "message": message}))
        sys.stderr.flush()
        # At once: the reading thread holds a lock that the interpreter would complain of.
        os._exit(1)

    def _read_all(self, requests: BinaryIO) -> None:
        while (frame := wire.read(requests)) is not None:
            self._requests.put(frame)
        os._exit(0)
