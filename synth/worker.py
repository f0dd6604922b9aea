"""The engine process: `python -m synth.worker`, started and fed by `synth.pool`.

It answers one request at a time over `synth.wire`. Its parent's end is its own end.
"""

from __future__ import annotations

import argparse
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from synth import wire
from synth.child import Parent
from synth.engine import EngineError
from synth.weights import WeightsError, fetch

if TYPE_CHECKING:
    from synth.kokoro import Kokoro

NICENESS = 5
"""So that answering HTTP, microseconds of work, goes before synthesis on a busy machine."""


def main() -> None:
    options = _parse_options()
    parent = Parent.on_standard_streams(NICENESS)
    engine = _load(options, parent)

    def alive() -> None:
        parent.send(wire.pack({"event": "alive"}))

    while True:
        header, _ = parent.next_request()
        try:
            parent.send(_answer(engine, header, alive))
        except EngineError as error:
            parent.send(wire.pack_error(error))
        except Exception as error:
            # What we did not foresee must not take the process down with it: the model is fine,
            # and the next request must not wait for it to load again.
            traceback.print_exc()
            unforeseen = EngineError(f"The engine failed ({type(error).__name__}).")
            parent.send(wire.pack_error(unforeseen))


def _answer(engine: Kokoro, header: wire.Header, alive: Callable[[], None]) -> bytes:
    if "check" in header:
        segments = [wire.segment_from_json(fields) for fields in header["check"]]
        return wire.pack_checked([engine.why_not(segment) for segment in segments])
    segment = wire.segment_from_json(header["segment"])
    ahead = [wire.segment_from_json(fields) for fields in header["ahead"]]
    return wire.pack_clip(engine.synthesize(segment, ahead, alive))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="synth.worker", description=__doc__)
    parser.add_argument("--weights", required=True, help="where the weights come from")
    parser.add_argument("--cache-dir", required=True, type=Path, help="where weights are kept")
    parser.add_argument("--device", required=True, choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", required=True, type=int, help="CPU threads; 0 for torch's own")
    return parser.parse_args()


def _load(options: argparse.Namespace, parent: Parent) -> Kokoro:
    """Fetch what is missing and load the model; tell the parent how it went."""
    # torch deprecates what kokoro is built with; no operator can do anything about it.
    warnings.filterwarnings("ignore", module=r"torch\.nn\.")
    try:
        from synth.kokoro import Kokoro  # torch: seconds, and none of the parent's business

        weights = fetch(options.weights, options.cache_dir)
        engine = Kokoro(weights, device=options.device, threads=options.threads)
    except (EngineError, WeightsError) as error:
        parent.fail(str(error))
    except Exception as error:
        traceback.print_exc()
        parent.fail(f"{type(error).__name__}: {error}")
    parent.send(wire.pack({"event": "ready", "device": engine.device}))
    return engine


if __name__ == "__main__":
    main()
