"""Fault 18: a warm-up is killed and run again; and calls come in while it runs."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.faults.conftest import StartServer
from tests.faults.server import Server
from tests.proxy.conftest import HIT, Barrier

FIRST = [f"This is phrase number {number}." for number in range(1, 4)]
LAST = [f"This is phrase number {number}." for number in range(5, 8)]


def warming(
    start_server: StartServer, folder: Path, barrier: Barrier, **options: object
) -> tuple[Server, list[str]]:
    """A server that renders seven phrases, of which the fourth waits; and those phrases."""
    phrases = [*FIRST, barrier.text, *LAST]
    book = {"name": "desk", "voices": ["af_bella"], "formats": ["wav"], "phrases": phrases}
    folder.mkdir(exist_ok=True)
    (folder / "desk.yaml").write_text(json.dumps(book), encoding="utf-8")
    settings = {"warm.at_start": "true", "phrasebook.directory": folder, **options}
    return start_server(settings=settings), phrases


async def test_a_warm_up_that_was_killed_makes_only_what_is_missing(
    start_server: StartServer, barrier: Barrier, tmp_path: Path
) -> None:
    server, phrases = warming(start_server, tmp_path / "books", barrier)
    await barrier.reached()
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    await barrier.release()
    assert server.syntheses() == dict.fromkeys([*FIRST, barrier.text], 1)
    server, _ = warming(start_server, tmp_path / "books", barrier)
    await barrier.release()
    server.log.wait_for("phrasebooks: 4 rendered, 3 cached already, 0 failed")
    assert server.syntheses() == dict.fromkeys(phrases, 1) | {barrier.text: 2}
    assert [server.say(phrase).outcome for phrase in phrases] == [HIT] * len(phrases)


async def test_a_call_during_a_warm_up_waits_for_the_segment_at_the_engine_alone(
    start_server: StartServer, barrier: Barrier, tmp_path: Path
) -> None:
    server, _ = warming(start_server, tmp_path / "books", barrier)
    await barrier.reached()
    calls = [server.send(f"This is call number {number}.") for number in range(3)]
    server.settle()
    await barrier.release()
    assert [call.hear().status for call in calls] == [200] * 3
    server.log.wait_for("phrasebooks: 7 rendered, 0 cached already, 0 failed")
    made = server.syntheses_log.read_text(encoding="utf-8").splitlines()
    assert made[:4] == [*FIRST, barrier.text]
    assert sorted(made[4:7]) == [f"This is call number {number}." for number in range(3)]
    assert made[7:] == LAST
