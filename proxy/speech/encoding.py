"""An encoder off the event loop, which is closed however the encoding ends."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from synth.audio.encode import open_encoder
from synth.audio.encoders.encoder import Encoder, Finished
from synth.audio.formats import Format
from synth.engine import Pcm

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Encoding:
    """`synth.audio.encoders.encoder.Encoder`, whose steps are taken in threads, one at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        # Whoever waits for a step may be cancelled while it is taken; the next must not begin then.
        self._step = threading.Lock()

    async def write(self, pcm: Pcm) -> bytes:
        return await self._take(lambda: self._encoder.write(pcm))

    async def finish(self) -> Finished:
        return await self._take(self._encoder.finish)

    async def close(self) -> None:
        """Never raises what the encoder does: there is a reason for closing it, which is told."""
        try:
            await self._take(self._encoder.close)
        except Exception as problem:
            logger.warning("an encoder could not be closed (%s)", type(problem).__name__)

    async def _take(self, step: Callable[[], T]) -> T:
        def locked() -> T:
            with self._step:
                return step()

        return await asyncio.to_thread(locked)


@asynccontextmanager
async def encoding(
    format: Format, opener: Callable[[Format], Encoder] = open_encoder
) -> AsyncIterator[Encoding]:
    """An encoder for 24 kHz PCM. The block finishes it, which closes it too, or raises."""
    opened = Encoding(await asyncio.to_thread(opener, format))
    try:
        yield opened
    except BaseException:
        # Left open, it would close itself whenever it is collected: on the event loop, and into a
        # file that is closed already.
        await opened.close()
        raise
