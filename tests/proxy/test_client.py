"""Speech for backends: all of a reply, or an error that says why not."""

from __future__ import annotations

import asyncio
import email.utils
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.client import (
    BadRequest,
    BrokenOff,
    KokoroError,
    KokoroSettings,
    KokoroTTSService,
    NotAuthorized,
    RateLimited,
    ServerFailed,
    TimedOut,
    Timeouts,
    Unavailable,
    Unreachable,
)
from synth.audio.codecs import CODECS
from synth.audio.formats import FORMATS
from synth.voices import VOICES
from tests.proxy.conftest import Barrier, Edge, StartEdge
from tests.proxy.raw_server import HANG, RawServer, answer, raw_server

PATIENT = Timeouts(connect_s=60, first_audio_s=60, stall_s=60)
NOW_S = 1_750_000_000.0
AUDIO = answer(200, b"audio")
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"


def refusal(status: int, code: str = "said", param: str | None = None, **headers: str) -> bytes:
    error = {"message": "It says why.", "type": "any", "param": param, "code": code}
    body = json.dumps({"error": error}).encode()
    return answer(status, body, **{"Content_Type": "application/json", **headers})


class Waits:
    """The waits between tries, none of which takes any time."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@asynccontextmanager
async def service(
    base_url: str, waits: Waits | None = None, **options: Any
) -> AsyncIterator[KokoroTTSService]:
    options = {"timeouts": PATIENT, "jitter": lambda: 0.0, "now_s": lambda: NOW_S, **options}
    sleep = (waits or Waits()).sleep
    async with KokoroTTSService(base_url, **options, sleep=sleep) as made:
        yield made


@asynccontextmanager
async def of(edge: Edge, **options: Any) -> AsyncIterator[KokoroTTSService]:
    async with service(str(edge.client.make_url("/v1")), **options) as made:
        yield made


async def failure(server: RawServer, waits: Waits | None = None, **options: Any) -> KokoroError:
    async with service(server.base_url, waits, **options) as speech:
        with pytest.raises(KokoroError) as raised:
            await speech.generate_audio("Hello.")
    return raised.value


def test_importing_it_loads_neither_the_server_nor_a_model() -> None:
    script = "import sys, proxy.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("proxy")} == {"proxy", "proxy.client"}
    packages = {name.partition(".")[0] for name in loaded}
    assert packages.isdisjoint({"synth", "torch", "numpy", "aiohttp", "soundfile", "soxr"})


async def test_a_reply_is_what_the_server_says(edge: Edge) -> None:
    said = await edge.say("Hello there.", voice="bf_emma", speed=1.5, response_format="wav")
    async with of(edge) as speech:
        assert await speech.generate_audio("Hello there.", "bf_emma", 1.5, "wav") == said.body


async def test_a_stream_is_the_same_reply_in_pieces(edge: Edge) -> None:
    text = "Hello there. How are you today?"
    async with of(edge) as speech:
        pieces = [piece async for piece in speech.stream_audio(text, response_format="pcm")]
    assert len(pieces) > 1 and all(pieces)
    assert b"".join(pieces) == (await edge.say(text, response_format="pcm")).body


async def test_a_stream_begins_before_its_end_is_made(edge: Edge, barrier: Barrier) -> None:
    async with of(edge) as speech:
        async with aclosing(speech.stream_audio(f"Hello there. {barrier.text}")) as audio:
            assert await anext(audio)
            await barrier.release()
            assert b"".join([piece async for piece in audio])


async def test_what_is_given_beats_the_settings_of_the_call_and_those_of_the_service() -> None:
    async with raw_server(AUDIO) as server:
        own = KokoroSettings(voice="af_sky", speed=2.0, phrasebook="front-desk")
        agents = KokoroSettings(voice="bf_emma", speed=0.5, sample_rate=8000)
        async with service(server.base_url, settings=own, api_key="secret") as speech:
            await speech.generate_audio("Hello.")
            await speech.generate_audio("Hello.", settings=agents)
            await speech.generate_audio("Hello.", speed=1.5, settings=agents)
    asked = [json.loads(body) for body in server.bodies]
    plain = {"model": "kokoro", "input": "Hello.", "response_format": "mp3"}
    theirs = {"voice": "bf_emma", "speed": 0.5, "sample_rate": 8000}
    assert asked == [
        {**plain, "voice": "af_sky", "speed": 2.0, "phrasebook": "front-desk"},
        {**plain, **theirs},
        {**plain, **theirs, "speed": 1.5},
    ]
    assert all("authorization: bearer secret\r\n" in head.lower() for head in server.heads)
    assert server.heads[0].startswith("POST /v1/audio/speech HTTP/1.1")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"voice": ""}, "voice"),
        ({"voice": "af_bella+"}, "voice"),
        ({"speed": 5.0}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"response_format": "mp4"}, "response_format"),
    ],
)
async def test_what_is_wrong_everywhere_is_refused_before_it_is_sent(
    asked: dict[str, Any], param: str
) -> None:
    async with raw_server(AUDIO) as server, service(server.base_url) as speech:
        with pytest.raises(BadRequest) as raised:
            await speech.generate_audio("Hello.", **asked)
    assert (raised.value.param, raised.value.status) == (param, None)
    assert server.heads == []


async def test_what_the_server_refuses_says_which_field_and_which_request(edge: Edge) -> None:
    async with of(edge) as speech:
        with pytest.raises(BadRequest, match="'af_bella'") as raised:
            await speech.generate_audio("Hello.", voice="af_bela")
    error = raised.value
    assert (error.status, error.code, error.param) == (400, "voice_not_found", "voice")
    assert error.request_id


async def test_text_that_is_no_unicode_is_the_servers_to_refuse(edge: Edge) -> None:
    async with of(edge) as speech:
        with pytest.raises(BadRequest) as raised:
            await speech.generate_audio("\ud800")
    assert raised.value.status == 400


async def test_audio_that_came_out_wrong_is_a_failure_of_the_server(edge: Edge) -> None:
    async with of(edge, max_retries=0) as speech:
        with pytest.raises(ServerFailed) as raised:
            await speech.generate_audio("Bad audio.")
    assert (raised.value.status, raised.value.code) == (502, "bad_audio")


async def test_a_server_whose_engine_loads_is_unavailable_for_as_long_as_it_says(
    start_edge: StartEdge, barrier: Barrier
) -> None:
    edge = await start_edge("--slow-start", str(barrier.path), ready=False)
    waits = Waits()
    async with of(edge, waits=waits) as speech:
        with pytest.raises(Unavailable) as raised:
            await speech.generate_audio("Hello.")
    assert (raised.value.status, raised.value.code) == (503, "engine_loading")
    assert (raised.value.retry_after_s, waits.seconds) == (15.0, [])


async def test_a_reply_that_breaks_off_is_an_error_however_it_is_asked_for(edge: Edge) -> None:
    text, waits, heard = "Hello there. Bad audio.", Waits(), []
    async with of(edge, waits=waits) as speech:
        with pytest.raises(BrokenOff) as raised:
            async for piece in speech.stream_audio(text, response_format="pcm"):
                heard.append(piece)
        with pytest.raises(BrokenOff):
            await speech.generate_audio(text, response_format="pcm")
    assert heard and raised.value.request_id
    assert waits.seconds == []


@pytest.mark.parametrize(
    "broken",
    [
        BEGUN + b"3\r\nabc\r\n",
        BEGUN + b"3\r\nab",
        answer(200, b"abc", Content_Length="5"),
    ],
)
async def test_audio_that_was_handed_out_is_never_asked_for_again(broken: bytes) -> None:
    waits = Waits()
    async with raw_server(broken, AUDIO) as server:
        assert type(await failure(server, waits)) is BrokenOff
    assert len(server.heads) == 1 and waits.seconds == []


@pytest.mark.parametrize(
    "broken", [b"", b"HTTP/1.1 200", BEGUN, BEGUN + b"0\r\n\r\n", answer(200, b"")]
)
async def test_a_reply_without_any_audio_is_asked_for_again(broken: bytes) -> None:
    async with raw_server(broken, AUDIO) as server, service(server.base_url) as speech:
        assert await speech.generate_audio("Hello.") == b"audio"
    assert len(server.heads) == 2
    ids = {line for head in server.heads for line in head.splitlines() if "x-request-id" in line}
    assert len(ids) <= 1  # It is one request to whoever reads the log.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, ServerFailed),
        (400, BadRequest),
        (401, NotAuthorized),
        (403, NotAuthorized),
        (404, BadRequest),
        (408, TimedOut),
        (409, Unavailable),
        (413, BadRequest),
        (429, RateLimited),
        (500, ServerFailed),
        (502, ServerFailed),
        (503, Unavailable),
        (504, ServerFailed),
    ],
)
async def test_every_status_is_an_error_of_its_kind(status: int, kind: type[KokoroError]) -> None:
    told = refusal(status, "some_code", "voice", X_Request_Id="abc", Retry_After="3")
    async with raw_server(told) as server:
        error = await failure(server, max_retries=0)
    assert type(error) is kind
    assert str(error) == "It says why."
    assert (error.status, error.code, error.param) == (status, "some_code", "voice")
    assert (error.request_id, error.retry_after_s) == ("abc", 3.0)


@pytest.mark.parametrize(
    "told",
    [
        answer(500, b"<html>", Content_Type="text/html"),
        answer(500, b'{"error": "in another shape"}'),
        answer(500, b'{"error": {"message": 5}}'),
        answer(500, b"x" * 1_000_000),
        answer(500, b"cut", Content_Length="1000"),
        answer(200, b"<html>Sign in</html>", Content_Type="text/html"),
    ],
)
async def test_an_answer_that_is_neither_speech_nor_our_error_is_told_by_its_status(
    told: bytes,
) -> None:
    async with raw_server(told) as server:
        error = await failure(server, max_retries=0)
    assert type(error) is ServerFailed
    assert f"answered {error.status}" in str(error)
    assert error.request_id


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_asked_again_after_longer_and_longer_waits(status: int) -> None:
    waits = Waits()
    async with raw_server(refusal(status)) as server:
        await failure(server, waits, max_retries=3)
    assert waits.seconds == [0.25, 0.5, 1.0]
    assert len(server.heads) == 4


@pytest.mark.parametrize(
    "told",
    [*map(refusal, (400, 401, 403, 404, 413, 501)), refusal(504, "not_cached"), answer(301)],
)
async def test_what_would_not_pass_is_not_asked_again(told: bytes) -> None:
    waits = Waits()
    async with raw_server(told, AUDIO) as server:
        await failure(server, waits)
    assert len(server.heads) == 1 and waits.seconds == []


async def test_waits_differ_so_that_callers_do_not_all_come_back_at_once() -> None:
    waits = Waits()
    async with raw_server(refusal(503)) as server:
        await failure(server, waits, jitter=lambda: 0.5)
    assert waits.seconds == [0.1875, 0.375]


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry_After": "2"}, 2.0),
        ({"Retry_After": "0"}, 0.0),
        ({"Retry_After": "-1"}, 0.0),
        ({"Retry_After": "2", "retry_after_ms": "150"}, 0.15),
        ({"Retry_After": email.utils.formatdate(NOW_S + 4, usegmt=True)}, 4.0),
        ({"Retry_After": email.utils.formatdate(NOW_S - 4, usegmt=True)}, 0.0),
        ({"Retry_After": "soon"}, 0.25),
        ({"Retry_After": "nan", "retry_after_ms": "inf"}, 0.25),
    ],
)
async def test_a_server_says_when_to_come_back(headers: dict[str, str], wait_s: float) -> None:
    waits = Waits()
    async with raw_server(refusal(429, **headers), AUDIO) as server:
        async with service(server.base_url, waits) as speech:
            assert await speech.generate_audio("Hello.") == b"audio"
    assert waits.seconds == [wait_s]


async def test_a_server_that_asks_for_more_time_than_a_caller_has_is_left_alone() -> None:
    waits = Waits()
    async with raw_server(refusal(503, Retry_After="30"), AUDIO) as server:
        error = await failure(server, waits)
    assert (type(error), error.retry_after_s, waits.seconds) == (Unavailable, 30.0, [])


async def test_a_wait_that_ends_after_the_total_is_not_begun() -> None:
    waits = Waits()
    async with raw_server(refusal(503, Retry_After="7"), AUDIO) as server:
        error = await failure(server, waits, timeouts=Timeouts(total_s=6))
    assert (type(error), waits.seconds) == (Unavailable, [])


@pytest.mark.parametrize("silent", [HANG, BEGUN + HANG])
@pytest.mark.parametrize(
    "timeouts", [Timeouts(60, first_audio_s=0.05), Timeouts(60, 60, 60, total_s=0.05)]
)
async def test_a_reply_that_does_not_begin_in_time_is_not_waited_for_again(
    silent: bytes, timeouts: Timeouts
) -> None:
    async with raw_server(silent) as server:
        error = await failure(server, timeouts=timeouts)
        async with asyncio.timeout(30):
            await server.hung_up.wait()
    assert type(error) is TimedOut
    assert len(server.heads) <= 1


async def test_a_stream_that_stalls_is_an_error_and_hung_up_on() -> None:
    timeouts = Timeouts(connect_s=60, first_audio_s=60, stall_s=0.05)
    async with raw_server(BEGUN + b"3\r\nabc\r\n" + HANG) as server:
        assert type(await failure(server, timeouts=timeouts)) is TimedOut
        async with asyncio.timeout(30):
            await server.hung_up.wait()


async def test_a_stream_that_is_closed_early_hangs_up() -> None:
    async with raw_server(BEGUN + b"3\r\nabc\r\n" + HANG) as server:
        async with service(server.base_url) as speech:
            async with aclosing(speech.stream_audio("Hello.")) as audio:
                assert await anext(audio) == b"abc"
            async with asyncio.timeout(30):
                await server.hung_up.wait()


async def test_a_caller_who_is_cancelled_hangs_up() -> None:
    async with raw_server(HANG) as server, service(server.base_url) as speech:
        asking = asyncio.create_task(speech.generate_audio("Hello."))
        async with asyncio.timeout(30):
            await server.asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(30):
            await server.hung_up.wait()


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with raw_server(AUDIO) as server:
        pass
    waits = Waits()
    error = await failure(server, waits)
    assert type(error) is Unreachable
    assert waits.seconds == [0.25, 0.5]


def kinds_of(kind: type[httpx.HTTPError]) -> Iterator[type[httpx.HTTPError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds_of(each)


@pytest.mark.parametrize(
    "raised", [kind for kind in kinds_of(httpx.HTTPError) if kind is not httpx.HTTPStatusError]
)
async def test_every_error_of_httpx_becomes_one_of_ours(raised: type[httpx.HTTPError]) -> None:
    expected: type[KokoroError] = BrokenOff
    if issubclass(raised, httpx.TimeoutException):
        expected = TimedOut
    if raised.__name__.startswith("Connect") or issubclass(
        raised, httpx.ProxyError | httpx.UnsupportedProtocol | httpx.LocalProtocolError
    ):
        expected = Unreachable

    def fail(request: httpx.Request) -> httpx.Response:
        raise raised("It says why.")

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as client:
        async with service("http://127.0.0.1/v1", http_client=client) as speech:
            with pytest.raises(KokoroError, match=r"It says why\.") as error:
                await speech.generate_audio("Hello.")
    assert type(error.value) is expected
    assert type(error.value.__cause__) is raised


async def test_a_client_of_ones_own_is_not_closed() -> None:
    async with raw_server(AUDIO) as server, httpx.AsyncClient() as client:
        async with service(server.base_url, http_client=client) as speech:
            await speech.generate_audio("Hello.")
        assert not client.is_closed


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8000/v1", "ftp://here/v1", "http://", "http://here:port"]
)
def test_an_address_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        KokoroTTSService(address)


@pytest.mark.parametrize("key", ["a\nb", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError) as raised:
        KokoroTTSService("http://127.0.0.1/v1", key)
    assert key not in str(raised.value)


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_timeout_is_above_0(limit_s: float) -> None:
    for name in ("connect_s", "first_audio_s", "stall_s", "total_s"):
        with pytest.raises(ValueError, match="above 0"):
            Timeouts(**{name: limit_s})


rates = st.sampled_from([None, 8000, 16000, 22050, 24000, 44100, 48000])
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=256)


@given(
    st.builds(
        KokoroSettings,
        voice=st.sampled_from([*VOICES, "alloy", "af_bella(2)+af_sky(1)", "af_sky + af_bella"]),
        speed=st.floats(0.25, 4.0),
        response_format=st.sampled_from([*CODECS]),
        sample_rate=rates,
        bitrate_kbps=st.none() | st.integers(1, 320),
        lang_code=st.none() | names,
        phrasebook=st.none() | names,
    )
)
def test_settings_come_back_from_json_as_they_were(settings: KokoroSettings) -> None:
    assert KokoroSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("format", FORMATS)
def test_settings_take_every_format_that_the_server_has(format: str) -> None:
    assert KokoroSettings(response_format=format).response_format == format


@pytest.mark.parametrize(
    "stored",
    [
        {"voices": "af_bella"},
        {"voice": "af_bella af_sky"},
        {"voice": "af_bella(x)"},
        {"voice": None},
        {"speed": "1.0"},
        {"speed": 0.2},
        {"speed": True},
        {"response_format": "pcm_8"},
        {"response_format": "pcm_08000"},
        {"response_format": "wav\n"},
        {"sample_rate": 0},
        {"sample_rate": 8000.5},
        {"response_format": "pcm_8000", "sample_rate": 16000},
        {"bitrate_kbps": -1},
        {"lang_code": ""},
    ],
)
def test_settings_that_no_server_would_take_are_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        KokoroSettings.model_validate_json(json.dumps(stored))


def test_settings_do_not_change() -> None:
    with pytest.raises(pydantic.ValidationError):
        KokoroSettings().voice = "af_sky"  # type: ignore[misc]
