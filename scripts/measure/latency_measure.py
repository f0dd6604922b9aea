"""What `scripts/latency` does to a server, in which order, and what it notes down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from latency_answers import ServerInfo
from latency_audio import Heard, MeasurementError, Received, hear
from latency_client import Ask, Server, ask_health, describe, speak
from latency_texts import LENGTHS, LONG, SHORT, Length, Texts

IDLE_HEALTH_ASKS = 20
HEALTH_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    ask: Ask
    repeats: int
    """Cold texts of each length, and how often each is said again."""
    seed: int
    health_interval_s: float = HEALTH_INTERVAL_S


@dataclass(frozen=True, slots=True)
class Measurement:
    """One text, spoken once."""

    length: Length
    text_index: int
    """Which of the cold texts of this length, from 0."""
    repeated: bool
    health_asked: bool
    """Health was asked meanwhile."""
    first_byte_s: float
    total_s: float
    heard: Heard
    received_bytes: int
    new_connection: bool
    waited_s: float

    @property
    def real_time_factor(self) -> float:
        return self.total_s / self.heard.audio_s


@dataclass(frozen=True, slots=True)
class Health:
    """Seconds that each ask for `/health` took."""

    idle_s: tuple[float, ...]
    synthesising_s: tuple[float, ...]
    """Asked while a cold text of 100 words was made."""


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that was measured."""

    info: ServerInfo
    health: Health | None
    """None for a server that has none."""
    warm_up: Measurement
    measurements: tuple[Measurement, ...]


async def measure(server: Server, plan: Plan, say: Callable[[str], None]) -> Run:
    """Health, then every length, cold and repeated, one request at a time.

    :param say: gets a line before each length.
    :raises MeasurementError: as soon as one request cannot be measured.
    """
    texts = Texts(plan.seed)
    info = await describe(server)
    # Said before anything counts: an engine that is still loading is waited for here, and what a
    # model does on its first inference alone is not in the medians. Its own times are kept.
    say("warming up")
    warm_up = _note(await speak(server, plan.ask, texts.make(SHORT)), plan, SHORT)
    say("asking for health")
    idle_s = await _idle_health(server, plan.health_interval_s)
    synthesising_s: tuple[float, ...] = ()
    measurements: list[Measurement] = []
    for length in LENGTHS:
        say(f"{length.name}: {plan.repeats} x cold, {plan.repeats**2} x repeated")
        for index in range(plan.repeats):
            text = texts.make(length)
            watched = length is LONG and index == 0 and bool(idle_s)
            if watched:
                cold, synthesising_s = await _speak_watched(server, plan, text)
            else:
                cold = await speak(server, plan.ask, text)
            measurements.append(_note(cold, plan, length, index, watched=watched))
            for _ in range(plan.repeats):
                again = await speak(server, plan.ask, text)
                measurements.append(_note(again, plan, length, index, repeated=True))
    health = Health(idle_s, synthesising_s) if idle_s else None
    return Run(info, health, warm_up, tuple(measurements))


def _note(
    received: Received,
    plan: Plan,
    length: Length,
    index: int = 0,
    *,
    repeated: bool = False,
    watched: bool = False,
) -> Measurement:
    # Without the body: a hundred long texts in pcm would fill the memory of a small machine.
    return Measurement(
        length=length,
        text_index=index,
        repeated=repeated,
        health_asked=watched,
        first_byte_s=received.first_byte_s,
        total_s=received.total_s,
        heard=hear(received, plan.ask.audio_format),
        received_bytes=len(received.body),
        new_connection=received.new_connection,
        waited_s=received.waited_s,
    )


async def _idle_health(server: Server, interval_s: float) -> tuple[float, ...]:
    """Empty when the server has no `/health`.

    Paced like the asks during a synthesis: back to back, processors that do not get to idle
    answer several times sooner, and the difference would look like the synthesis's doing.
    """
    taken_s: list[float] = []
    for _ in range(IDLE_HEALTH_ASKS):
        await asyncio.sleep(interval_s)
        if (elapsed_s := await ask_health(server)) is None:
            return ()
        taken_s.append(elapsed_s)
    return tuple(taken_s)


async def _speak_watched(
    server: Server, plan: Plan, text: str
) -> tuple[Received, tuple[float, ...]]:
    """Have `text` spoken and ask for health at fixed moments until the last byte is there.

    An ask that has to wait for the one before it is counted from the moment it was due: a server
    that stalls for a second would otherwise be asked once in that second, not twenty times, and
    its median would hide the stall.
    """
    taken_s: list[float] = []
    speaking = asyncio.create_task(speak(server, plan.ask, text))
    try:
        due, late_s = server.clock(), 0.0
        while not speaking.done():
            if (elapsed_s := await ask_health(server)) is None:
                raise MeasurementError("/health answered before, and now it answers 404")
            taken_s.append(late_s + elapsed_s)
            due += plan.health_interval_s
            # Before the wait, so that our own timer's delay is not put on the server's account.
            late_s = max(server.clock() - due, 0.0)
            await asyncio.wait({speaking}, timeout=max(due - server.clock(), 0.0))
        return await speaking, tuple(taken_s)
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
