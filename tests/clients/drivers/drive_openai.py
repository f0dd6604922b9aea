"""openai-python, called as its users do."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import openai
from say import say


def main() -> None:
    job = json.loads(sys.argv[1])
    try:
        if job["how"] == "async":
            asyncio.run(_async(job))
        else:
            _sync(job)
    except Exception as error:
        # Of a reply that breaks off, the error is the one of the HTTP library beneath.
        code = getattr(error, "code", None)
        say("done", error=type(error).__name__, code=code, message=str(error))


def _sync(job: dict[str, Any]) -> None:
    http = openai.DefaultHttpxClient(event_hooks={"response": [_tell]})
    client = openai.OpenAI(base_url=job["base_url"], api_key=job["key"], http_client=http)
    speech, save = job["speech"], Path(job["save"])
    match job["case"]:
        case "whole":
            for _ in range(job.get("times", 1)):
                save.write_bytes(client.audio.speech.create(**speech).content)
        case "streamed":
            with (
                client.audio.speech.with_streaming_response.create(**speech) as reply,
                save.open("wb") as file,
            ):
                for chunk in reply.iter_bytes():
                    file.write(chunk)
                    say("chunk")
        case "sse":
            with client.audio.speech.with_streaming_response.create(**speech) as reply:
                events = [_event_of(line) for line in reply.iter_lines() if line]
            _save_events(events, save)
            return
    say("done")


async def _async(job: dict[str, Any]) -> None:
    async def tell(response: Any) -> None:
        _tell(response)

    http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [tell]})
    client = openai.AsyncOpenAI(base_url=job["base_url"], api_key=job["key"], http_client=http)
    speech, save = job["speech"], Path(job["save"])
    match job["case"]:
        case "whole":
            for _ in range(job.get("times", 1)):
                save.write_bytes((await client.audio.speech.create(**speech)).content)
        case "streamed":
            with save.open("wb") as file:
                async with client.audio.speech.with_streaming_response.create(**speech) as reply:
                    async for chunk in reply.iter_bytes():
                        file.write(chunk)
                        say("chunk")
        case "sse":
            async with client.audio.speech.with_streaming_response.create(**speech) as reply:
                events = [_event_of(line) async for line in reply.iter_lines() if line]
            _save_events(events, save)
            return
    say("done")


def _tell(response: Any) -> None:
    say(
        f"status {response.status_code}",
        type=response.headers.get("content-type"),
        retry_after=response.headers.get("retry-after"),
    )


def _event_of(line: str) -> Any:
    name, _, data = line.partition(": ")
    assert name == "data", line
    return json.loads(data)


def _save_events(events: list[Any], save: Path) -> None:
    *deltas, end = events
    save.write_bytes(b"".join(base64.b64decode(each["audio"]) for each in deltas))
    say("done", deltas=[each["type"] for each in deltas], end=end)


main()
