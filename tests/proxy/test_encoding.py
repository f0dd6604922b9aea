"""An encoder is closed however the encoding ends, and never while it is at work."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from proxy.speech.encoding import encoding
from synth.audio.encoders.encoder import Finished
from synth.audio.formats import FORMATS
from synth.engine import Pcm

PCM: Pcm = np.zeros(10, dtype=np.int16)


class HeldEncoder:
    """Writes when the test says so, and cannot be finished."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.writing = threading.Event()
        self.go_on = threading.Event()

    def write(self, pcm: Pcm) -> bytes:
        self.writing.set()
        self.go_on.wait(30)
        self.steps.append("written")
        return b""

    def finish(self) -> Finished:
        raise ValueError("no room for the end")

    def close(self) -> None:
        self.steps.append("closed")
        raise RuntimeError("nor for closing it")


async def test_an_encoder_that_cannot_be_finished_is_closed_and_the_cause_is_told() -> None:
    held = HeldEncoder()
    with pytest.raises(ValueError, match="no room for the end"):
        async with encoding(FORMATS["mp3"], lambda format: held) as encoder:
            await encoder.finish()
    assert held.steps == ["closed"]


async def test_who_is_cancelled_in_the_middle_of_a_step_closes_the_encoder_after_it() -> None:
    held = HeldEncoder()

    async def encode() -> None:
        async with encoding(FORMATS["mp3"], lambda format: held) as encoder:
            await encoder.write(PCM)

    encoding_it = asyncio.create_task(encode())
    await asyncio.to_thread(held.writing.wait, 30)
    encoding_it.cancel()
    held.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await encoding_it
    assert held.steps == ["written", "closed"]
