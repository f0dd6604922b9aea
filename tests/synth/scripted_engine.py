"""An engine process that does what the text says: for tests of what goes wrong.

    python tests/synth/scripted_engine.py [--fail-to-start [PATH]] [--slow-start FIFO]

It speaks `synth.wire` as `synth.worker` does, ends when its parent does, and needs no torch. A
segment becomes a quiet tone: longer for a longer text and for slower speech, at a pitch of its own
for each text, voice, language and speed, and with the times of its words in English.

A segment is a command where all of its text is one, in either case, with or without `.` `!` or `?`
at its end. A request is split into sentences first, so end other sentences with a full stop, and
write a path last in its sentence, without blanks, `*` or "`" and with letters or digits on both
sides of every `_`: "Hello there. Wait /tmp/test_a0/barrier. Goodbye."

- `crash` ends the process before it answers, every time.
- `crash-once PATH` ends the process if PATH does not exist yet, and makes PATH.
- `wait FIFO` opens the FIFO for reading and answers once it has been read to its end. Opening it
  for writing therefore waits until the engine has come to this segment, and closing it lets the
  engine go on.
- `hang` never answers.
- `bad audio` is answered with `BadAudio`.
- `cannot say` is answered with `CannotSay`, also where it stands in a segment that lies ahead.

Where the environment variable SCRIPTED_ENGINE_LOG names a file, each segment that is begun is
appended to it as a line: one for every try, none for a segment that only lay ahead.

`--fail-to-start` answers that the start failed, and exits; with a PATH, only while PATH does not
exist. `--slow-start FIFO` waits on the FIFO, as `wait` does, before it is ready.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synth import wire
from synth.child import Parent
from synth.engine import SAMPLE_RATE_HZ, BadAudio, CannotSay, Clip, EngineError, Segment, Word

_LOG_VARIABLE = "SCRIPTED_ENGINE_LOG"
_S_PER_CHARACTER = 0.02
_AMPLITUDE = 8_000

_COMMAND = re.compile(
    r"(?P<name>crash-once|crash|wait|hang|bad audio|cannot say)(?:\s+(?P<path>\S+?))?[.!?]*",
    re.IGNORECASE,
)


def main() -> None:
    options = _parse_options()
    parent = Parent(sys.stdin.buffer, sys.stdout.buffer)
    if options.slow_start:
        options.slow_start.read_bytes()
    if options.fail_to_start and not options.fail_to_start.is_file():
        parent.fail("It was told to fail.")
    parent.send(wire.pack({"event": "ready", "device": "cpu"}))
    while True:
        header, _ = parent.next_request()
        if "check" in header:
            segments = [wire.segment_from_json(fields) for fields in header["check"]]
            parent.send(wire.pack_checked([_why_not(segment) for segment in segments]))
            continue
        segment = wire.segment_from_json(header["segment"])
        ahead = [wire.segment_from_json(fields) for fields in header["ahead"]]
        try:
            answer = wire.pack_clip(_synthesize(segment, ahead))
        except EngineError as error:
            answer = wire.pack_error(error)
        parent.send(wire.pack({"event": "alive"}) + answer)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fail-to-start", nargs="?", type=Path, const=Path(os.devnull))
    parser.add_argument("--slow-start", type=Path)
    return parser.parse_args()


def _synthesize(segment: Segment, ahead: Sequence[Segment]) -> Clip:
    for each in (segment, *ahead):
        if _command(each.text)[0] == "cannot say":
            raise CannotSay(f"The script has no way to say {each.text!r}.")
    if log := os.environ.get(_LOG_VARIABLE):
        with open(log, "a", encoding="utf-8") as lines:
            lines.write(segment.text + "\n")
    _obey(segment.text)
    return _tone(segment)


def _why_not(segment: Segment) -> str | None:
    cannot = _command(segment.text)[0] == "cannot say"
    return f"The script has no way to say {segment.text!r}." if cannot else None


def _command(text: str) -> tuple[str, Path]:
    match = _COMMAND.fullmatch(text)
    return (match["name"].lower(), Path(match["path"] or "")) if match else ("", Path())


def _obey(text: str) -> None:
    name, path = _command(text)
    match name:
        case "crash":
            os._exit(1)
        case "crash-once" if not path.exists():
            path.touch()
            os._exit(1)
        case "wait":
            path.read_bytes()
        case "hang":
            threading.Event().wait()
        case "bad audio":
            raise BadAudio("The script made this audio bad.")


def _tone(segment: Segment) -> Clip:
    duration_s = _S_PER_CHARACTER * len(segment.text) / segment.speed
    who = f"{segment.text}|{segment.blend}|{segment.language}|{segment.speed}"
    pitch_hz = 200 + zlib.crc32(who.encode()) % 1_000
    times_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pcm = (_AMPLITUDE * np.sin(2 * np.pi * pitch_hz * times_s)).astype(np.int16)
    if segment.language not in ("a", "b"):
        return Clip(pcm)
    texts = segment.text.split()
    step_s = duration_s / len(texts)
    words = (Word(word, i * step_s, (i + 1) * step_s) for i, word in enumerate(texts))
    return Clip(pcm, tuple(words))


if __name__ == "__main__":
    main()
