"""The engine process: `python -m synth.worker`, started and fed by `synth.pool`.

It answers one request at a time over `synth.wire`. Its parent's end is its own end.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from synth import wire
from synth.engine import EngineError
from synth.weights import WeightsError, fetch

if TYPE_CHECKING:
    from synth.kokoro import Kokoro

NICENESS = 5
"""So that answering HTTP, microseconds of work, goes before synthesis on a busy machine."""


def main() -> None:
    options = _parse_options()
    # Ctrl-C and service managers signal the whole group. The parent decides: it may have replies to
    # finish, and when it ends, so does this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Libraries print to stdout; frames must not be mixed with that.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = _read_requests(sys.stdin.buffer)
    os.nice(NICENESS)

    engine = _load(options, answers)

    def alive() -> None:
        _send(answers, wire.pack({"event": "alive"}))

    while True:
        header, _ = requests.get()
        try:
            if "check" in header:
                segments = [wire.segment_from_json(fields) for fields in header["check"]]
                answer = wire.pack_checked([engine.why_not(segment) for segment in segments])
            else:
                segment = wire.segment_from_json(header["segment"])
                ahead = [wire.segment_from_json(fields) for fields in header["ahead"]]
                answer = wire.pack_clip(engine.synthesize(segment, ahead, alive))
        except EngineError as error:
            answer = wire.pack_error(error)
        except Exception as error:
            # What we did not foresee must not take the process down with it: the model is fine,
            # and the next request must not wait for it to load again.
            traceback.print_exc()
            answer = wire.pack_error(EngineError(f"The engine failed ({type(error).__name__})."))
        _send(answers, answer)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="synth.worker", description=__doc__)
    parser.add_argument("--weights", required=True, help="where the weights come from")
    parser.add_argument("--cache-dir", required=True, type=Path, help="where weights are kept")
    parser.add_argument("--device", required=True, choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", required=True, type=int, help="CPU threads; 0 for torch's own")
    return parser.parse_args()


def _load(options: argparse.Namespace, answers: BinaryIO) -> Kokoro:
    """Fetch what is missing and load the model; tell the parent how it went."""
    # torch deprecates what kokoro is built with; no operator can do anything about it.
    warnings.filterwarnings("ignore", module=r"torch\.nn\.")
    try:
        from synth.kokoro import Kokoro  # torch: seconds, and none of the parent's business

        weights = fetch(options.weights, options.cache_dir)
        engine = Kokoro(weights, device=options.device, threads=options.threads)
    except (EngineError, WeightsError) as error:
        _send(answers, wire.pack({"event": "failed", "message": str(error)}))
        _end()
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        _send(answers, wire.pack({"event": "failed", "message": message}))
        _end()
    _send(answers, wire.pack({"event": "ready", "device": engine.device}))
    return engine


def _end() -> NoReturn:
    """At once: the thread that reads holds a lock which Python would wait for, and complain of."""
    sys.stderr.flush()
    os._exit(1)


def _send(answers: BinaryIO, frame: bytes) -> None:
    answers.write(frame)
    answers.flush()


def _read_requests(stream: BinaryIO) -> queue.Queue[tuple[wire.Header, bytes]]:
    """Read frames in a thread of their own, so that the parent's end is noticed at once."""
    requests: queue.Queue[tuple[wire.Header, bytes]] = queue.Queue()

    def read_all() -> None:
        while (frame := wire.read(stream)) is not None:
            requests.put(frame)
        os._exit(0)

    threading.Thread(target=read_all, name="requests", daemon=True).start()
    return requests


if __name__ == "__main__":
    main()
