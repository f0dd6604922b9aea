"""What is written in phrasebooks is there before anybody asks, whatever happens meanwhile.

One server is killed in the middle of a warm-up, and a second one, which goes on where that ended,
serves all the tests.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

from proxy.phrasebook.book import Phrase
from proxy.phrasebook.reading.read import read_books, shipped_directory
from proxy.phrasebook.steps import Planned, Progress, from_json
from synth.audio.formats import FORMATS
from synth.audio.level import active_level_dbfs
from synth.text.marks import without_marks
from synth.weights import Weights
from tests.real.conftest import WITHOUT_WARM_UP
from tests.real.recogniser import Recogniser, word_error_rate
from tests.real.server import COMMAND, Server, serve, speak

VOICE = "af_bella"
LIVE = "Nobody has written this sentence down, and somebody waits for it."

Samples = npt.NDArray[np.float32]

_ENDED = re.compile(r"phrasebooks: (\d+) rendered, (\d+) cached already, (\d+) failed")
_RECORDING_RATE_HZ = 44_100


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A warm-up that a call came into, as the client saw it, and that was killed afterwards."""

    total: int
    """Phrases that were to be rendered."""
    done: int
    """How many of them were, the last time that it told of it."""
    done_meanwhile: int
    """How many became so between the call and its first sound."""
    cache_status: str
    first_sound_ms: float
    queue_ms: float
    """Of that, waiting for the engine."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A server with phrasebooks of its own."""

    server: Server
    books: Path
    english: tuple[Phrase, ...]
    spanish: tuple[Phrase, ...]
    interrupted: Interrupted
    """What an earlier server did of its warm-up."""
    rendered: int
    cached: int
    failed: int
    """What this one did of it when it started."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and where it came from."""

    audio: bytes
    is_hit: bool
    timing: str
    """Where its time went: `Server-Timing`."""


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, real_weights: Weights
) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    one, two = (shipped("telephone-en-us", sentences) for sentences in (1, 2))
    # Those of two sentences last: they may have one in common, and then be done without the engine
    # while the call waits for it.
    english, spanish = (*one[:4], *two[:2]), shipped("telephone-es", 2)[:2]
    books = folder / "books"
    books.mkdir()
    write_book(books, "desk", english)
    write_book(books, "mostrador", spanish)
    # Enough to be in the middle of.
    write_book(books, "more", [replace(each, formats=("pcm",)) for each in one[4:16]])
    flags = ("--phrasebook-directory", str(books))
    patient = ("--engine-max-wait-s", "120", *WITHOUT_WARM_UP)
    with serve(folder / "cache", cache_dir, *flags, *patient) as first:
        first.wait_until_ready()
        interrupted = asyncio.run(interrupt(first))
    with serve(folder / "cache", cache_dir, *flags) as second:
        counts = (int(count) for count in second.wait_for(_ENDED).groups())
        yield Desk(second, books, english, spanish, interrupted, *counts)


async def interrupt(server: Server) -> Interrupted:
    """Have it render its phrasebooks, call in the middle, and kill it."""
    steps: list[Progress] = []
    moved = asyncio.Event()
    total = 0

    async def follow(told: aiohttp.ClientResponse) -> None:
        nonlocal total
        async for line in told.content:
            match from_json(line):
                case Planned() as planned:
                    total = planned.total().takes
                case Progress() as step:
                    steps.append(step)
                    moved.set()

    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/v1/admin/warm") as told,
    ):
        assert told.status == 200, await told.text()
        following = asyncio.create_task(follow(told))
        while len(steps) < 2:
            moved.clear()
            await moved.wait()
        done_before, began_s = len(steps), time.perf_counter()
        body = {"input": LIVE, "voice": VOICE, "response_format": "pcm"}
        async with http.post(f"{server.url}/v1/audio/speech", json=body) as live:
            assert live.status == 200, await live.text()
            await live.content.readany()
            first_sound_ms = (time.perf_counter() - began_s) * 1000
            done_meanwhile = len(steps) - done_before
            queue = re.search(r"queue;dur=([\d.]+)", live.headers["Server-Timing"])
        following.cancel()
        server.stop(signal.SIGKILL)
        return Interrupted(
            total,
            steps[-1].done,
            done_meanwhile,
            live.headers["Cache-Status"],
            first_sound_ms,
            float(queue[1]) if queue else 0.0,
        )


def shipped(name: str, sentences: int) -> tuple[Phrase, ...]:
    """Of a book that comes with kokoro-edge, what has so many sentences and is not long."""
    [book] = [book for book in read_books(shipped_directory()).books if book.name == name]
    return tuple(
        replace(phrase, voices=phrase.voices[:1])
        for phrase in book.phrases
        if 4 <= len(phrase.text.split()) <= 9
        and len(re.findall(r"[.!?…](?: |$)", phrase.text)) == sentences
        and without_marks(phrase.text) == phrase.text
    )


def write_book(folder: Path, name: str, phrases: Sequence[Phrase]) -> None:
    """A book that says the same."""
    entries = [
        {
            "text": phrase.text,
            "voices": phrase.voices,
            "formats": phrase.formats,
            **({"language": phrase.language} if phrase.language else {}),
        }
        for phrase in phrases
    ]
    write_file(folder, {"name": name, "phrases": entries})


def write_file(folder: Path, book: dict[str, Any]) -> None:
    """JSON is YAML."""
    text = json.dumps(book, ensure_ascii=False)
    (folder / f"{book['name']}.yaml").write_text(text, encoding="utf-8")


def wait_until_taken_over(server: Server, name: str) -> None:
    """Wait until an edited book is in use, and rendered."""
    server.wait_for(re.compile(rf"taken over: [^;]*\b{name}\b"))
    assert server.wait_for(_ENDED)[3] == "0"


async def ask(
    http: aiohttp.ClientSession, server: Server, text: str, voice: str, format: str
) -> Answer:
    wanted = FORMATS[format]
    body = {
        "input": text,
        "voice": voice,
        "response_format": wanted.codec,
        "sample_rate": wanted.sample_rate_hz,
    }
    async with http.post(f"{server.url}/v1/audio/speech", json=body) as response:
        assert response.status == 200, await response.text()
        is_hit = response.headers["Cache-Status"].startswith("kokoro-edge; hit")
        return Answer(await response.read(), is_hit, response.headers["Server-Timing"])


def decoded(audio: bytes, format: str) -> tuple[Samples, int]:
    """The samples and their rate in Hz."""
    wanted = FORMATS[format]
    if wanted.codec == "pcm":
        return np.frombuffer(audio, "<i2").astype(np.float32) / np.float32(
            32768
        ), wanted.sample_rate_hz
    samples: Samples
    samples, rate_hz = soundfile.read(io.BytesIO(audio), dtype="float32")
    return samples, rate_hz


async def test_every_phrase_is_a_hit_the_first_time_in_every_format_that_its_book_names(
    desk: Desk,
    http: aiohttp.ClientSession,
    recogniser: Recogniser,
    measured: Callable[[str], None],
) -> None:
    heard_at_8_khz: list[str] = []
    for phrase in (*desk.english, *desk.spanish):
        [voice] = phrase.voices
        assert {"wav", "wav_8000"} <= {*phrase.formats}
        durations_s = {}
        for format in phrase.formats:
            answer = await ask(http, desk.server, phrase.text, voice, format)
            assert answer.is_hit, (phrase.text, format)
            assert "synth" not in answer.timing, (phrase.text, format, answer.timing)
            samples, rate_hz = decoded(answer.audio, format)
            assert rate_hz == FORMATS[format].sample_rate_hz
            durations_s[format] = len(samples) / rate_hz
            if format == "wav_8000" and phrase in desk.english:
                heard_at_8_khz.append(recogniser.hear(answer.audio).text)
        for format, duration_s in durations_s.items():
            assert duration_s == pytest.approx(durations_s["wav"], abs=0.02), format
    said = [phrase.text for phrase in desk.english]
    rate = word_error_rate(said, heard_at_8_khz)
    measured(f"phrasebook at 8 kHz: word error rate {rate:.1%} over {len(said)} phrases")
    assert rate <= 0.05, list(zip(said, heard_at_8_khz, strict=True))


def test_a_warm_up_that_was_killed_renders_only_the_rest_after_the_next_start(desk: Desk) -> None:
    assert desk.interrupted.done >= 2
    assert desk.cached >= desk.interrupted.done
    assert desk.failed == 0
    assert desk.rendered + desk.cached == desk.interrupted.total == 20


def test_a_call_during_a_warm_up_waits_for_the_segment_at_the_engine_at_most(
    desk: Desk, measured: Callable[[str], None]
) -> None:
    seen = desk.interrupted
    measured(
        f"a call during a warm-up: first sound after {seen.first_sound_ms:.0f} ms, of which "
        f"{seen.queue_ms:.0f} ms waiting for the engine; {seen.done_meanwhile} phrases meanwhile"
    )
    assert "fwd=miss" in seen.cache_status
    # The one at the engine, and one of which the line was on its way when the call was sent.
    assert seen.done_meanwhile <= 2


async def test_an_edited_book_is_taken_over_without_a_restart(
    desk: Desk, http: aiohttp.ClientSession
) -> None:
    added = replace(desk.english[0], text="This sentence was added while the server runs.")
    write_book(desk.books, "desk", [*desk.english, added])
    wait_until_taken_over(desk.server, "desk")
    for phrase in (*desk.english, added):
        for format in phrase.formats:
            assert (await ask(http, desk.server, phrase.text, VOICE, format)).is_hit


async def test_a_recording_is_heard_in_place_of_the_voice_and_as_loud_as_it(
    desk: Desk,
    http: aiohttp.ClientSession,
    recogniser: Recogniser,
    measured: Callable[[str], None],
) -> None:
    words = "Our office is closed this afternoon, and we open again tomorrow morning."
    spoken = await speak(http, desk.server, words, "af_sky", "wav")
    write_recording(desk.books / "closed.wav", spoken)
    phrase = {"text": "Here is the notice of the day.", "recording": "closed.wav"}
    write_file(
        desk.books,
        {
            "name": "notice",
            "voices": [VOICE],
            "formats": ["wav", "wav_8000"],
            "phrases": [phrase],
        },
    )
    wait_until_taken_over(desk.server, "notice")

    levels_dbfs = []
    for format in ("wav", "wav_8000"):
        answer = await ask(http, desk.server, phrase["text"], VOICE, format)
        assert answer.is_hit
        assert "synth" not in answer.timing
        heard = recogniser.hear(answer.audio)
        assert word_error_rate([words], [heard.text]) == 0
        assert heard.onset_s() <= 0.060
        if format == "wav":
            levels_dbfs.append(active_level_dbfs(heard.samples))
    for other in desk.english:
        answer = await ask(http, desk.server, other.text, VOICE, "wav")
        levels_dbfs.append(active_level_dbfs(decoded(answer.audio, "wav")[0]))
    recorded_dbfs, *others_dbfs = levels_dbfs
    measured(
        f"a recording at {recorded_dbfs:.1f} dBFS, among clips from {min(others_dbfs):.1f} to "
        f"{max(others_dbfs):.1f} dBFS"
    )
    assert max(abs(recorded_dbfs - other_dbfs) for other_dbfs in others_dbfs) <= 2.0


def write_recording(path: Path, spoken: bytes) -> None:
    """As somebody would send it: 12 dB weaker, on both channels, with a room around it."""
    samples, rate_hz = soundfile.read(io.BytesIO(spoken), dtype="float64")
    samples = soxr.resample(samples, rate_hz, _RECORDING_RATE_HZ) * 10 ** (-12 / 20)
    before, after = (np.zeros(round(s * _RECORDING_RATE_HZ)) for s in (0.7, 1.1))
    mono = np.concatenate([before, samples, after])
    room = np.random.default_rng(0).standard_normal((len(mono), 2)) * 10 ** (-70 / 20)
    soundfile.write(path, mono[:, None] + room, _RECORDING_RATE_HZ, subtype="PCM_24")


@pytest.mark.long
def test_a_check_names_the_line_of_what_only_the_engine_can_refuse(
    tmp_path: Path, cache_dir: Path, real_weights: Weights
) -> None:
    book = tmp_path / "books" / "symbols.yaml"
    book.parent.mkdir()
    book.write_text(
        "name: symbols\n"
        "voices: [af_bella]\n"
        "formats: [wav]\n"
        "phrases:\n"
        "  - All of this can be said.\n"
        "  - The sign ∮ cannot.\n"
        "  - Nor can [Kokoro](/kʘkʘ/) with these phonemes.\n",
        encoding="utf-8",
    )
    (tmp_path / "models").symlink_to(cache_dir / "models")
    command = [str(COMMAND), "phrasebook", "check", str(book.parent)]
    command += ["--cache-directory", str(tmp_path)]
    quick = subprocess.run([*command, "--quick"], capture_output=True, text=True, cwd=tmp_path)
    assert quick.returncode == 0, quick.stdout
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    sign, phonemes = done.stdout.splitlines()
    assert sign.startswith(f"{book}:6: ")
    assert "∮" in sign
    assert phonemes.startswith(f"{book}:7: ")
    assert "ʘ" in phonemes
