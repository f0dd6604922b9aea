"""pipecat's OpenAITTSService, in a pipeline."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.workers.runner import WorkerRunner
from say import say


class Ear(FrameProcessor):
    """Keeps the audio that goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = bytearray()
        self.rates_hz: set[int] = set()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.audio += frame.audio
            self.rates_hz.add(frame.sample_rate)
            say("chunk", bytes=len(frame.audio))
        await self.push_frame(frame, direction)


async def main(job: dict[str, Any]) -> None:
    # A service waits some seconds after its last audio.
    spoken = await asyncio.gather(*(_speak(job, voice) for voice in job["voices"]))
    for voice, (ear, errors) in zip(job["voices"], spoken, strict=True):
        (Path(job["save"]) / voice).write_bytes(bytes(ear.audio))
        say("spoken", voice=voice, rates_hz=sorted(ear.rates_hz), errors=errors)
    say("done")


async def _speak(job: dict[str, Any], voice: str) -> tuple[Ear, list[str]]:
    ear = Ear()
    settings = OpenAITTSService.Settings(voice=voice)
    service = OpenAITTSService(api_key=job["key"], base_url=job["base_url"], settings=settings)
    worker = PipelineWorker(
        Pipeline([service, ear]),
        params=PipelineParams(audio_out_sample_rate=job.get("rate_hz", 24_000)),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    errors: list[str] = []

    @worker.event_handler("on_pipeline_error")
    async def note(worker: PipelineWorker, frame: ErrorFrame) -> None:
        errors.append(frame.error)

    await worker.queue_frames([*_frames(job), EndFrame()])
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    return ear, errors


def _frames(job: dict[str, Any]) -> list[Frame]:
    if job["case"] == "speak":
        return [TTSSpeakFrame(job["text"])]
    # As a language model writes: the service splits it into sentences.
    words = [LLMTextFrame(f"{word} ") for word in job["text"].split()]
    return [LLMFullResponseStartFrame(), *words, LLMFullResponseEndFrame()]


asyncio.run(main(json.loads(sys.argv[1])))
