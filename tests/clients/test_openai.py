"""openai-python, sync and async, and openai-node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.client import OPENAI_NODE, OPENAI_PYTHON, Client, Drive
from tests.clients.conftest import KEY, TEXT, VOICE, Real
from tests.faults.conftest import StartServer
from tests.faults.server import Server
from tests.proxy.conftest import Barrier

SPEECH = {"model": "gpt-4o-mini-tts", "voice": VOICE, "input": TEXT}

OFTEN = 12
"""A minute: so many at once, and then one in five seconds."""

ONLY_CACHED = {"Cache-Control": "only-if-cached"}


def everywhere(case: str, node: bool = True) -> pytest.MarkDecorator:
    """Have the test for both ways to call openai-python, and for openai-node."""
    ways = [(OPENAI_PYTHON, "sync"), (OPENAI_PYTHON, "async")] + [(OPENAI_NODE, "node")] * node
    return pytest.mark.parametrize(
        ("client", "how"),
        [pytest.param(*way, id=way[1], marks=pytest.mark.case(way[0], case)) for way in ways],
    )


@everywhere("whole")
async def test_a_reply_read_at_once_is_all_of_it(
    client: Client, how: str, real: Real, tmp_path: Path
) -> None:
    done = client.drive("whole", how=how, save=str(tmp_path / "reply"), **real.job(**SPEECH))
    assert "error" not in done
    await real.check((tmp_path / "reply").read_bytes(), TEXT, VOICE, "mp3")


@everywhere("streamed")
async def test_a_reply_read_as_it_comes_is_all_of_it(
    client: Client, how: str, real: Real, tmp_path: Path
) -> None:
    job = real.job(**SPEECH, response_format="pcm")
    done = client.drive("streamed", how=how, save=str(tmp_path / "reply"), **job)
    assert "error" not in done
    assert (tmp_path / "reply").read_bytes() == await real.pcm(TEXT, VOICE)


@everywhere("streamed")
async def test_audio_comes_while_the_rest_is_made(
    client: Client, how: str, start_server: StartServer, barrier: Barrier, tmp_path: Path
) -> None:
    server = start_server()
    with driving(client, how, server, tmp_path, f"Hello there. {barrier.text}") as drive:
        drive.wait_for("chunk")
        await barrier.release()
        assert "error" not in drive.wait_for("done")


@everywhere("sse", node=False)
async def test_events_hold_the_audio_and_end_with_what_was_used(
    client: Client, how: str, real: Real, tmp_path: Path
) -> None:
    job = real.job(**SPEECH, response_format="pcm", stream_format="sse")
    done = client.drive("sse", how=how, save=str(tmp_path / "reply"), **job)
    assert set(done["deltas"]) == {"speech.audio.delta"}
    assert done["end"]["type"] == "speech.audio.done"
    usage = done["end"]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert (tmp_path / "reply").read_bytes() == await real.pcm(TEXT, VOICE)


@pytest.mark.case(OPENAI_PYTHON, "formats")
@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
async def test_every_format_of_its_own_is_all_of_the_reply(
    format: str, real: Real, tmp_path: Path
) -> None:
    job = real.job(**SPEECH, response_format=format)
    done = OPENAI_PYTHON.drive("whole", how="sync", save=str(tmp_path / "reply"), **job)
    assert "error" not in done
    await real.check((tmp_path / "reply").read_bytes(), TEXT, VOICE, format)


@pytest.mark.case(OPENAI_PYTHON, "rate")
async def test_a_rate_in_the_name_of_the_model_is_the_rate_of_the_audio(
    real: Real, tmp_path: Path
) -> None:
    job = real.job(**SPEECH | {"model": "gpt-4o-mini-tts@8000", "response_format": "pcm"})
    done = OPENAI_PYTHON.drive("whole", how="sync", save=str(tmp_path / "reply"), **job)
    assert "error" not in done
    await real.check((tmp_path / "reply").read_bytes(), TEXT, VOICE, "pcm", 8000)


@pytest.mark.case(OPENAI_PYTHON, "odd")
async def test_a_voice_object_empty_instructions_and_unknown_fields_are_taken(
    real: Real, tmp_path: Path
) -> None:
    """As Home Assistant and TEN send them, and OpenAI's custom voices."""
    job = real.job(
        model="a-model-of-tomorrow",
        voice={"id": VOICE},
        input=TEXT,
        instructions="",
        response_format="pcm",
        extra_body={"volume": 1.0, "stream": False, "normalize": None},
    )
    done = OPENAI_PYTHON.drive("whole", how="sync", save=str(tmp_path / "reply"), **job)
    assert "error" not in done
    assert (tmp_path / "reply").read_bytes() == await real.pcm(TEXT, VOICE)


@everywhere("503")
async def test_where_the_engine_is_busy_it_comes_back_when_it_was_told_to(
    client: Client, how: str, start_server: StartServer, barrier: Barrier, tmp_path: Path
) -> None:
    server = start_server(settings={"engine.max_waiting": 0})
    ahead = server.send(barrier.text)
    await barrier.reached()
    with driving(client, how, server, tmp_path, "Hello there.") as drive:
        refused = drive.wait_for("status 503")
        assert int(refused["retry_after"]) >= 1
        await barrier.release()
        drive.wait_for("status 200")
        assert "error" not in drive.wait_for("done")
    assert ahead.hear().status == 200
    assert (tmp_path / "reply").stat().st_size > 0


@everywhere("429")
async def test_who_asks_too_often_comes_back_when_it_was_told_to(
    client: Client, how: str, start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "kokoro-edge.yaml").write_text(
        f"auth: {{keys: {{agent: {KEY}}}, requests_per_minute: {OFTEN}}}\n", encoding="utf-8"
    )
    server = start_server()
    with driving(client, how, server, tmp_path, "Hello there.", "whole", OFTEN + 2) as drive:
        refused = drive.wait_for("status 429")
        assert int(refused["retry_after"]) >= 1
        drive.wait_for("status 200")
        assert "error" not in drive.wait_for("done")


@everywhere("death")
async def test_a_reply_that_breaks_off_is_an_error_to_it_and_is_not_kept(
    client: Client, how: str, start_server: StartServer, barrier: Barrier, tmp_path: Path
) -> None:
    server = start_server()
    text = f"Hello there. {barrier.text} Bad audio."
    with driving(client, how, server, tmp_path, text) as drive:
        drive.wait_for("chunk")
        await barrier.release()
        assert drive.wait_for("done")["error"]
    # It is not tried again by itself, either.
    assert server.syntheses()["Bad audio."] == 1
    kept = server.say(text, ONLY_CACHED, voice=VOICE, response_format="pcm")
    assert kept.status == 504


@contextmanager
def driving(
    client: Client,
    how: str,
    server: Server,
    folder: Path,
    text: str,
    case: str = "streamed",
    times: int = 1,
) -> Iterator[Drive]:
    """Have it ask a server with the scripted engine."""
    job: dict[str, Any] = {"base_url": f"{server.url}/v1", "key": KEY, "how": how, "times": times}
    speech = SPEECH | {"input": text, "response_format": "pcm"}
    with client.driving(case, speech=speech, save=str(folder / "reply"), **job) as drive:
        yield drive
