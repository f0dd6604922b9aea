"""livekit-plugins-openai, called as a LiveKit agent does."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from livekit.agents import tts
from livekit.plugins import openai
from say import say


async def main(job: dict[str, Any]) -> None:
    speaker = openai.TTS(base_url=job["base_url"], api_key=job["key"], **job["options"])
    speaker.prewarm()
    try:
        match job["case"]:
            case "one":
                frames = await _one(speaker, job["text"])
            case "merged":
                frames = await _merged(speaker, job["text"])
    except Exception as error:
        say("done", error=type(error).__name__, status=getattr(error, "status_code", None))
        return
    finally:
        await speaker.aclose()
    Path(job["save"]).write_bytes(b"".join(bytes(frame.data) for frame in frames))
    [rate_hz] = {frame.sample_rate for frame in frames}
    say("done", rate_hz=rate_hz)


async def _one(speaker: openai.TTS, text: str) -> list[Any]:
    frames = []
    async with speaker.synthesize(text) as stream:
        async for heard in stream:
            frames.append(heard.frame)
            say("chunk")
    return frames


async def _merged(speaker: openai.TTS, text: str) -> list[Any]:
    """As an agent speaks what a language model writes: a few characters at a time."""
    adapter = tts.StreamAdapter(tts=speaker)
    frames = []
    async with adapter.stream() as stream:
        for begin in range(0, len(text), 4):
            stream.push_text(text[begin : begin + 4])
        stream.end_input()
        async for heard in stream:
            frames.append(heard.frame)
    await adapter.aclose()
    return frames


asyncio.run(main(json.loads(sys.argv[1])))
