"""`scripts/latency`, run against a server whose audio and moments are scripted."""

from __future__ import annotations

import asyncio
import io
import json
import re
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import latency
import numpy as np
import pytest
import soundfile
from aiohttp import web
from aiohttp.test_utils import TestServer
from latency_answers import ServerInfo, error_message, retry_after_s, server_info
from latency_audio import Arrival, MeasurementError, Received, hear
from latency_client import (
    Ask,
    Patience,
    Server,
    Unreachable,
    api_url,
    ask_health,
    open_session,
    speak,
)
from latency_measure import IDLE_HEALTH_ASKS, Plan, Run, measure
from latency_report import Machine, Report, document, milliseconds, show
from latency_texts import LENGTHS, LONG, Length, Texts
from rich.console import Console

RATE_HZ = 24_000
ASK = Ask("kokoro", "af_bella", "pcm")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pcm(silent_frames: int, loud_frames: int, amplitude: float = 0.5) -> bytes:
    """Digital silence, then a constant: 16 bit mono."""
    samples = np.concatenate([np.zeros(silent_frames), np.full(loud_frames, amplitude)])
    return (samples * 32768).astype("<i2").tobytes()


def received(
    body: bytes, *arrivals: tuple[int, float], content_type: str = "audio/pcm"
) -> Received:
    pieces = tuple(Arrival(*arrival) for arrival in arrivals or ((len(body), 0.1),))
    return Received(body, content_type, pieces, pieces[-1].elapsed_s, False, 0.0)


def wav(
    audio: bytes, data_bytes: int | None = None, channels: int = 1, extra: bytes = b""
) -> bytes:
    fmt = struct.pack("<HHIIHH", 1, channels, RATE_HZ, RATE_HZ * 2 * channels, 2 * channels, 16)
    size = len(audio) if data_bytes is None else data_bytes
    return b"".join(
        [
            b"RIFF\xff\xff\xff\xffWAVE",
            b"fmt " + struct.pack("<I", len(fmt)) + fmt,
            extra,
            b"data" + struct.pack("<I", size) + audio,
        ]
    )


@dataclass
class HandClock:
    """Time that only tests move; others can wait until it was read so many times."""

    now_s: float = 100.0
    reads: int = 0
    read: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __call__(self) -> float:
        self.reads += 1
        task = asyncio.create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self.now_s

    async def _tell(self) -> None:
        async with self.read:
            self.read.notify_all()

    async def read_times(self, reads: int) -> None:
        async with self.read:
            await self.read.wait_for(lambda: self.reads >= reads)


@dataclass
class Scripted:
    """Answers speech requests from a script, the last entry again and again."""

    answers: list[Answer]
    health: list[Answer]
    root: Answer | None = None
    spoken: list[dict[str, object]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    health_asks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/audio/speech", self._speech)
        app.router.add_get("/health", self._health)
        if self.root is not None:
            app.router.add_get("/", self.root)
        return app

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        self.spoken.append(await request.json())
        self.headers.append(dict(request.headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        self.health_asks.release()
        answer = self.health.pop(0) if len(self.health) > 1 else self.health[0]
        return await answer(request)


def says(body: bytes, content_type: str = "audio/pcm") -> Answer:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer


def refuses(status: int, message: str = "", **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.Response:
        error = {"error": {"message": message, "type": "x", "param": None, "code": None}}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(error, status=status, headers=named)

    return answer


async def well(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok", "engine": {"device": "cpu"}})


Start = Callable[..., Awaitable[Server]]


@dataclass
class Heeded:
    """What a patient client said and how long it would have slept."""

    said: list[str] = field(default_factory=list)
    slept_s: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    def patience(self, wait_s: float = 120.0) -> Patience:
        return Patience(wait_s, self.said.append, self.sleep)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a scripted server and connect to it."""
    async with AsyncExitStack() as stack:

        async def started(
            scripted: Scripted,
            clock: Callable[[], float] | None = None,
            patience: Patience | None = None,
            api_key: str | None = None,
        ) -> Server:
            server = await stack.enter_async_context(TestServer(scripted.app()))
            session = await stack.enter_async_context(open_session(api_key))
            server_url = api_url(str(server.make_url("/")))
            patience = patience or Heeded().patience()
            if clock is None:
                return Server(session, server_url, patience)
            return Server(session, server_url, patience, clock)

        yield started


@pytest.mark.parametrize("length", LENGTHS, ids=lambda length: length.name)
def test_texts_have_exactly_the_words_they_should(length: Length) -> None:
    texts = Texts(7)
    assert {len(texts.make(length).split()) for _ in range(50)} == {length.words}


def test_the_lengths_are_ten_thirty_and_a_hundred_words() -> None:
    assert [length.words for length in LENGTHS] == [10, 30, 100]


def test_no_sentence_is_ever_said_twice_in_a_run() -> None:
    texts = Texts(7)
    spoken = [texts.make(length) for length in LENGTHS for _ in range(30)]
    sentences = [s for text in spoken for s in re.split(r"(?<=[.?])\s+", text)]
    assert len(sentences) == 30 * (1 + 3 + 10)
    assert len(set(sentences)) == len(sentences)
    assert all(8 <= len(sentence.split()) <= 15 for sentence in sentences)


def test_a_seed_gives_the_same_texts_again_and_another_seed_others() -> None:
    assert Texts(7).make(LONG) == Texts(7).make(LONG)
    assert Texts(7).make(LONG) != Texts(8).make(LONG)


def test_a_listener_sits_through_the_silence_that_came_with_the_first_bytes() -> None:
    body = pcm(silent_frames=9_600, loud_frames=2_400)
    heard = hear(received(body, (len(body), 0.25)), "pcm")
    assert heard.audible_offset_s == pytest.approx(0.4)
    assert heard.first_audible_s == pytest.approx(0.65)
    assert heard.audio_s == pytest.approx(0.5)


def test_a_sample_is_not_heard_before_its_bytes_are_there() -> None:
    body = pcm(silent_frames=240, loud_frames=240)
    heard = hear(received(body, (480, 0.1), (960, 2.0)), "pcm")
    assert heard.audible_offset_s == pytest.approx(0.01)
    assert heard.first_audible_s == pytest.approx(2.0)


def test_half_a_sample_cannot_be_played() -> None:
    body = pcm(silent_frames=0, loud_frames=10)
    assert hear(received(body, (1, 0.1), (20, 0.3)), "pcm").first_audible_s == pytest.approx(0.3)
    assert hear(received(body, (2, 0.1), (20, 0.3)), "pcm").first_audible_s == pytest.approx(0.1)


def test_amplitude_has_to_be_over_a_hundredth_of_full_scale() -> None:
    body = pcm(0, 100, amplitude=0.0099) + pcm(0, 100, amplitude=-0.0102)
    assert hear(received(body), "pcm").audible_offset_s == pytest.approx(100 / RATE_HZ)


@pytest.mark.parametrize(
    ("content_type", "rate_hz"),
    [
        ("audio/pcm", 24_000),
        ("audio/pcm;rate=8000;channels=1", 8_000),
        ("audio/L16; rate=16000", 16_000),
    ],
)
def test_the_rate_of_pcm_is_what_its_content_type_says(content_type: str, rate_hz: int) -> None:
    heard = hear(received(pcm(800, 800), content_type=content_type), "pcm")
    assert heard.sample_rate_hz == rate_hz
    assert heard.audio_s == pytest.approx(1600 / rate_hz)
    assert heard.audible_offset_s == pytest.approx(800 / rate_hz)


@pytest.mark.parametrize("data_bytes", [None, 0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_is_read_whatever_size_its_header_claims(data_bytes: int | None) -> None:
    body = wav(pcm(240, 240), data_bytes)
    heard = hear(received(body, (44, 0.1), (44 + 481, 0.2), (len(body), 0.9)), "wav")
    assert heard.audible_offset_s == pytest.approx(0.01)
    # Byte 481 of the samples is the first half of the first audible one.
    assert heard.first_audible_s == pytest.approx(0.9)
    assert heard.audio_s == pytest.approx(0.02)


def test_chunks_around_the_samples_of_a_wav_are_not_audio() -> None:
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    body = wav(pcm(240, 240), extra=odd) + b"LIST" + struct.pack("<I", 4) + b"\xff\x7f\xff\x7f"
    heard = hear(received(body), "wav")
    assert (heard.audible_offset_s, heard.audio_s) == pytest.approx((0.01, 0.02))


def test_one_audible_channel_of_a_wav_is_enough() -> None:
    left, right = np.zeros(480, "<i2"), np.frombuffer(pcm(120, 360), "<i2")
    body = wav(np.column_stack([left, right]).tobytes(), channels=2)
    heard = hear(received(body), "wav")
    assert (heard.audible_offset_s, heard.audio_s) == pytest.approx((0.005, 0.02))


def test_compressed_audio_is_heard_at_the_first_byte_plus_the_offset() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm(4_800, 4_800), "<i2"), RATE_HZ, format="FLAC")
    body = file.getvalue()
    heard = hear(received(body, (10, 0.1), (len(body), 5.0)), "flac")
    assert heard.first_audible_s == pytest.approx(0.1 + 0.2)
    assert heard.audio_s == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("body", "content_type", "audio_format", "complaint"),
    [
        (pcm(2_400, 0), "audio/pcm", "pcm", "0.10 s of audio, and all of it is silence"),
        (pcm(0, 10)[:-1], "audio/pcm", "pcm", "inside a sample"),
        (pcm(0, 10), "audio/mpeg", "pcm", "asked for pcm, and the server sent audio/mpeg"),
        (wav(pcm(0, 10)), "application/octet-stream", "pcm", "asked for pcm"),
        (pcm(0, 10), "audio/wav", "wav", "what came is none"),
        (wav(b""), "audio/wav", "wav", "all of it is silence"),
        (wav(b"")[:36], "audio/wav", "wav", "no data chunk"),
        (wav(pcm(0, 10))[:12] + b"data\0\0\0\0", "audio/wav", "wav", "no fmt chunk"),
        (b"not mp3", "audio/mpeg", "mp3", "cannot be decoded"),
    ],
)
def test_what_cannot_be_heard_is_an_error(
    body: bytes, content_type: str, audio_format: str, complaint: str
) -> None:
    with pytest.raises(MeasurementError, match=complaint):
        hear(received(body, content_type=content_type), audio_format)


async def test_arrivals_are_timed_from_just_before_the_request(start: Start) -> None:
    clock = HandClock()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        clock.now_s += 0.25
        await response.prepare(request)
        await response.write(pcm(2_400, 0))
        await clock.read_times(2)
        clock.now_s += 0.5
        await response.write(pcm(0, 2_400))
        await clock.read_times(3)
        clock.now_s += 1.0
        await response.write_eof()
        return response

    server = await start(Scripted([answer], [well]), clock)
    got = await speak(server, ASK, "Hello.")
    assert got.arrivals == (Arrival(4_800, 0.25), Arrival(9_600, 0.75))
    assert (got.first_byte_s, got.total_s) == (0.25, 1.75)
    assert hear(got, "pcm").first_audible_s == 0.75


async def test_a_request_says_what_it_was_told_to_and_nothing_more(start: Start) -> None:
    scripted = Scripted([says(pcm(0, 10))], [well])
    server = await start(scripted, api_key="secret")
    await speak(server, ASK, "Hello.")
    await speak(server, Ask("tts-1", "alloy", "pcm", speed=1.5), "Hello.")
    fields = {"model": "kokoro", "voice": "af_bella", "response_format": "pcm", "input": "Hello."}
    assert scripted.spoken[0] == fields
    assert scripted.spoken[1] == {**fields, "model": "tts-1", "voice": "alloy", "speed": 1.5}
    assert scripted.headers[0]["Authorization"] == "Bearer secret"


async def test_speech_goes_over_a_connection_that_is_already_there(start: Start) -> None:
    server = await start(Scripted([says(pcm(0, 10))], [well]))
    assert not (await speak(server, ASK, "Hello.")).new_connection


async def test_a_connection_that_had_to_be_set_up_is_noticed(start: Start) -> None:
    async def closing(_request: web.Request) -> web.Response:
        return web.Response(headers={"Connection": "close"})

    server = await start(Scripted([says(pcm(0, 10))], [closing]))
    assert (await speak(server, ASK, "Hello.")).new_connection


async def test_a_stream_that_breaks_off_is_an_error(start: Start) -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        await response.write(pcm(0, 2_400))
        assert request.transport is not None
        request.transport.close()
        return response

    server = await start(Scripted([breaks], [well]))
    with pytest.raises(MeasurementError, match="the stream broke off after 4800 bytes"):
        await speak(server, ASK, "Hello.")


async def test_success_without_a_body_is_an_error(start: Start) -> None:
    server = await start(Scripted([says(b"")], [well]))
    with pytest.raises(MeasurementError, match="without any audio"):
        await speak(server, ASK, "Hello.")


async def test_a_refusal_is_shown_with_its_status_and_message(start: Start) -> None:
    server = await start(Scripted([refuses(400, "no such voice: zz_top")], [well]))
    with pytest.raises(MeasurementError, match=r"speech: 400 Bad Request: no such voice: zz_top$"):
        await speak(server, ASK, "Hello.")


async def test_an_engine_that_loads_is_waited_for_as_told(start: Start) -> None:
    heeded = Heeded()
    loading = [refuses(503, Retry_After="7"), refuses(503, Retry_After="0")]
    server = await start(Scripted([*loading, says(pcm(0, 10))], [well]), patience=heeded.patience())
    got = await speak(server, ASK, "Hello.")
    assert heeded.slept_s == [7.0, 0.1]
    assert got.waited_s == pytest.approx(7.1)
    assert heeded.said[0] == "/v1/audio/speech answers 503, trying again in 7 s"


async def test_patience_ends_before_a_wait_that_is_too_long(start: Start) -> None:
    heeded = Heeded()
    scripted = Scripted([refuses(503, Retry_After="7")], [well])
    server = await start(scripted, patience=heeded.patience(wait_s=20))
    with pytest.raises(MeasurementError, match="asks for 7 s more after 14 s, over --wait-s 20"):
        await speak(server, ASK, "Hello.")
    assert heeded.slept_s == [7.0, 7.0]


async def test_an_overload_that_names_no_time_is_an_error(start: Start) -> None:
    server = await start(Scripted([refuses(503, "too busy")], [well]))
    with pytest.raises(MeasurementError, match="503 Service Unavailable: too busy"):
        await speak(server, ASK, "Hello.")


async def test_health_is_waited_for_too_and_may_be_missing(start: Start) -> None:
    heeded = Heeded()
    scripted = Scripted(
        [], [refuses(503, Retry_After="2"), well, refuses(404), refuses(500, "ill")]
    )
    server = await start(scripted, patience=heeded.patience())
    assert await ask_health(server) is not None
    assert heeded.slept_s == [2.0]
    assert await ask_health(server) is None
    with pytest.raises(MeasurementError, match="GET /health: 500 Internal Server Error: ill"):
        await ask_health(server)


async def test_nobody_at_the_address_is_unreachable(unused_tcp_port: int) -> None:
    async with open_session(None) as session:
        url = api_url(f"http://127.0.0.1:{unused_tcp_port}")
        with pytest.raises(Unreachable, match=f"127.0.0.1:{unused_tcp_port} cannot be reached"):
            await speak(Server(session, url, Heeded().patience()), ASK, "Hello.")


@pytest.mark.parametrize(
    ("given", "api", "health"),
    [
        ("http://a:8000", "http://a:8000/v1", "http://a:8000/health"),
        ("http://a:8000/", "http://a:8000/v1", "http://a:8000/health"),
        ("http://a:8000/v1", "http://a:8000/v1", "http://a:8000/health"),
        ("https://a/speech/v1/", "https://a/speech/v1", "https://a/speech/health"),
        ("https://a/speech", "https://a/speech/v1", "https://a/speech/health"),
    ],
)
async def test_a_url_is_read_with_or_without_v1(given: str, api: str, health: str) -> None:
    async with open_session(None) as session:
        server = Server(session, api_url(given), Heeded().patience())
        assert (str(server.api), str(server.health_url)) == (api, health)


@pytest.mark.parametrize("given", ["", "a:8000", "ftp://a", "http://", "http://a:port"])
def test_what_is_no_http_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError):
        api_url(given)


async def run_against(server: Server, repeats: int = 1) -> Run:
    plan = Plan(ASK, repeats=repeats, seed=1, health_interval_s=0.001)
    return await measure(server, plan, lambda _line: None)


async def test_a_run_says_every_text_cold_once_and_then_repeats_it(start: Start) -> None:
    scripted = Scripted([says(pcm(240, 240))], [well])
    run = await run_against(await start(scripted), repeats=2)
    warm_up, *inputs = [str(fields["input"]) for fields in scripted.spoken]
    assert warm_up not in inputs
    assert [len(set(inputs[i : i + 3])) for i in range(0, 18, 3)] == [1] * 6
    assert len(set(inputs)) == 6
    assert [len(text.split()) for text in inputs] == [10] * 6 + [30] * 6 + [100] * 6
    assert [m.repeated for m in run.measurements] == [False, True, True] * 6


async def test_health_is_asked_while_the_first_long_text_is_made(start: Start) -> None:
    scripted = Scripted([], [well])

    async def answer(request: web.Request) -> web.StreamResponse:
        if len(str(scripted.spoken[-1]["input"]).split()) == 100 and not watched:
            watched.append(True)
            while scripted.health_asks.locked() is False:
                await scripted.health_asks.acquire()
            for _ in range(5):
                await scripted.health_asks.acquire()
        return await says(pcm(240, 240))(request)

    watched: list[bool] = []
    scripted.answers.append(answer)
    run = await run_against(await start(scripted), repeats=2)
    assert run.health is not None
    assert len(run.health.idle_s) == IDLE_HEALTH_ASKS
    assert len(run.health.synthesising_s) >= 5
    asked = [m for m in run.measurements if m.health_asked]
    assert [(m.length, m.text_index, m.repeated) for m in asked] == [(LONG, 0, False)]


async def test_a_server_without_health_is_measured_all_the_same(start: Start) -> None:
    scripted = Scripted([says(pcm(240, 240))], [refuses(404)])
    run = await run_against(await start(scripted))
    assert run.health is None
    report = report_of(run)
    assert document(report)["health"] is None
    assert "no /health" in shown(report)


def report_of(run: Run) -> Report:
    started_at = datetime(2026, 1, 2, tzinfo=UTC)
    plan = Plan(ASK, repeats=1, seed=1)
    return Report("http://a/v1", plan, Machine("Some CPU", 2), started_at, run)


def shown(report: Report, width: int = 100) -> str:
    file = io.StringIO()
    show(report, Console(file=file, width=width))
    return file.getvalue()


async def test_the_json_holds_every_measurement_and_the_medians(start: Start) -> None:
    async def root(_request: web.Request) -> web.Response:
        return web.json_response({"name": "kokoro-edge", "version": "0.1"})

    scripted = Scripted([says(pcm(240, 240))], [well], root)
    run = await run_against(await start(scripted))
    found = json.loads(json.dumps(document(report_of(run))))
    assert found["server"] == {"name": "kokoro-edge", "version": "0.1", "device": "cpu"}
    assert found["machine"] == {"cpu": "Some CPU", "cores": 2}
    assert [(row["length"], row["kind"], row["words"]) for row in found["rows"]] == [
        (length.name, kind, length.words) for length in LENGTHS for kind in ("cold", "repeated")
    ]
    assert len(found["measurements"]) == 6
    for one, row in zip(found["measurements"], found["rows"], strict=True):
        assert one["first_byte_ms"] == row["first_byte_median_ms"] == row["first_byte_max_ms"]
        assert one["first_audible_ms"] == row["first_audible_median_ms"]
        assert one["total_ms"] == row["total_median_ms"]
        assert one["audible_offset_ms"] == 10.0
        assert one["audio_s"] == row["audio_median_s"] == 0.02
        assert one["real_time_factor"] == row["real_time_factor_median"]
        assert one["first_audible_ms"] >= one["first_byte_ms"] + 9.9
    assert found["health"]["idle"]["n"] == len(found["health"]["idle"]["all_ms"])
    assert found["health"]["while_synthesising"]["n"] >= 1
    assert found["warm_up"]["words"] == 10


async def test_the_table_has_a_row_for_each_length_cold_and_repeated(start: Start) -> None:
    scripted = Scripted([says(pcm(240, 240))], [well])
    run = await run_against(await start(scripted))
    table = shown(report_of(run), width=80)
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    for length in LENGTHS:
        assert f"{length.name} cold" in table
        assert f"{length.name} repeated" in table
    assert "health while synthesising: " in table


def test_short_times_have_two_decimals() -> None:
    assert [milliseconds(s) for s in (0.0012345, 0.0456, 1.2344)] == ["1.23", "45.6", "1234"]


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert retry_after_s("2.5", now) == 2.5
    assert retry_after_s(format_datetime(now + timedelta(seconds=30), usegmt=True), now) == 30
    assert retry_after_s(format_datetime(now - timedelta(seconds=30), usegmt=True), now) == 0
    assert [retry_after_s(said, now) for said in (None, "", "soon", "nan", "inf")] == [None] * 5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": {"message": "no such voice", "code": null}}', "no such voice"),
        ('{"error": "no such voice"}', "no such voice"),
        ('{"detail": {"message": "no such voice"}}', "no such voice"),
        ("<p>Bad\n  gateway</p>", "<p>Bad gateway</p>"),
        ("", ""),
    ],
)
def test_an_error_message_is_found_in_the_shapes_servers_use(body: str, message: str) -> None:
    assert error_message(body) == message


def test_a_server_that_says_nothing_of_itself_stays_unnamed() -> None:
    assert server_info([]) == ServerInfo()
    assert server_info([{"status": 1, "device": 0}]) == ServerInfo()


def test_the_program_ends_with_two_and_one_line_when_nobody_answers(
    unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    status = latency.main(["--url", f"http://127.0.0.1:{unused_tcp_port}", "--json"])
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert printed.err.count("\n") == 1
    assert "cannot be reached" in printed.err


async def test_the_program_prints_json_alone_and_keeps_the_key_to_itself(start: Start) -> None:
    scripted = Scripted([says(wav(pcm(240, 240), 0xFFFFFFFF), "audio/wav")], [well])
    url = str((await start(scripted)).root)
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(latency.__file__)),
        *("--url", url, "--format", "wav", "--repeats", "1", "--api-key", "hush", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    assert json.loads(out)["format"] == "wav"
    assert b"hush" not in out + err
    assert scripted.headers[0]["Authorization"] == "Bearer hush"


async def test_the_program_ends_with_one_when_the_server_refuses(start: Start) -> None:
    url = str((await start(Scripted([refuses(401, "no key")], [well]))).root)
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(latency.__file__)),
        *("--url", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate()
    assert (program.returncode, out) == (1, b"")
    assert b"error: POST /v1/audio/speech: 401 Unauthorized: no key" in err
