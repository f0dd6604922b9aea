"""Twilio, Asterisk, FreeSWITCH, Vapi, wyoming_openai and Open WebUI: no packages, but requests."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.clients.conftest import KEY, TEXT, VOICE, Real
from tests.clients.recorded import (
    TWILIO_PLAYS,
    extension_for_freeswitch,
    is_wav_of_asterisk,
    max_age_s,
    read_by_asterisk,
    replay,
)
from tests.faults.conftest import StartServer

TWILIO, ASTERISK, FREESWITCH = "Twilio <Play>", "Asterisk", "FreeSWITCH"
VAPI, WYOMING, OPEN_WEBUI = "Vapi custom voice", "wyoming_openai", "Open WebUI"


def case(client: str, name: str) -> pytest.MarkDecorator:
    return pytest.mark.case(client, name)


async def address(real: Real, http: aiohttp.ClientSession, **fields: Any) -> str:
    """Where a reply is found, once all of it has been made."""
    body = {"input": TEXT, "voice": VOICE, **fields}
    async with http.post(f"{real.base_url}/audio/speech", json=body) as response:
        assert response.status == 200, await response.text()
        await response.read()
        return response.headers["Content-Location"]


@case(TWILIO, "GET")
@pytest.mark.parametrize("format", ["mp3", "wav", "wav_ulaw"])
async def test_twilio_plays_the_address_of_a_reply(
    format: str, real: Real, http: aiohttp.ClientSession
) -> None:
    path = await address(real, http, response_format=format)
    answer = replay(real.server.url, "twilio", path=path)
    assert (answer.status, answer.type in TWILIO_PLAYS) == (200, True)
    assert max_age_s(answer) > 0
    await real.check(answer.body, TEXT, VOICE, format)


@case(TWILIO, "304")
async def test_twilio_keeps_what_has_not_changed(real: Real, http: aiohttp.ClientSession) -> None:
    path = await address(real, http, response_format="mp3")
    first = replay(real.server.url, "twilio", path=path)
    again = replay(real.server.url, "twilio_again", path=path, etag=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert max_age_s(again) > 0


@case(TWILIO, "ulaw")
async def test_twilio_plays_mu_law(real: Real, http: aiohttp.ClientSession) -> None:
    path = await address(real, http, response_format="ulaw", sample_rate=8000)
    answer = replay(real.server.url, "twilio", path=path)
    assert (answer.status, answer.type) == (200, "audio/ulaw")
    await real.check(answer.body, TEXT, VOICE, "ulaw", 8000)


@case(ASTERISK, "wav")
async def test_asterisk_reads_a_wav_at_8_khz(real: Real, http: aiohttp.ClientSession) -> None:
    path = await address(real, http, response_format="wav", sample_rate=8000)
    answer = replay(real.server.url, "asterisk", path=path)
    assert (answer.status, read_by_asterisk(path, answer)) == (200, "wav")
    assert is_wav_of_asterisk(answer.body)
    assert max_age_s(answer) > 0
    await real.check(answer.body, TEXT, VOICE, "wav")


@case(ASTERISK, "ulaw")
async def test_asterisk_reads_mu_law_by_its_name(real: Real, http: aiohttp.ClientSession) -> None:
    path = await address(real, http, response_format="ulaw", sample_rate=8000)
    answer = replay(real.server.url, "asterisk", path=path)
    assert (answer.status, read_by_asterisk(path, answer)) == (200, "ulaw")
    await real.check(answer.body, TEXT, VOICE, "ulaw", 8000)


@case(ASTERISK, "sln16")
@pytest.mark.parametrize(("format", "rate_hz"), [("sln", 8000), ("sln16", 16_000)])
async def test_asterisk_reads_samples_by_the_name_of_their_rate(
    format: str, rate_hz: int, real: Real, http: aiohttp.ClientSession
) -> None:
    path = await address(real, http, response_format="l16", sample_rate=rate_hz)
    answer = replay(real.server.url, "asterisk", path=path)
    assert (answer.status, read_by_asterisk(path, answer)) == (200, format)
    await real.check(answer.body, TEXT, VOICE, "l16", rate_hz)


@case(ASTERISK, "304")
async def test_asterisk_learns_by_head_that_nothing_has_changed(
    real: Real, http: aiohttp.ClientSession
) -> None:
    path = await address(real, http, response_format="wav", sample_rate=8000)
    first = replay(real.server.url, "asterisk", path=path)
    again = replay(real.server.url, "asterisk_again", path=path, etag=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    # It counts anew from what the 304 says.
    assert max_age_s(again) > 0
    other = replay(real.server.url, "asterisk_again", path=path, etag='"of-another"')
    assert (other.status, other.body) == (200, b"")
    assert other.headers["Content-Length"] == first.headers["Content-Length"]


@case(FREESWITCH, "GET")
@pytest.mark.parametrize(
    ("fields", "extension", "rate_hz"),
    [
        ({"response_format": "wav"}, "wav", 24_000),
        ({"response_format": "wav", "sample_rate": 8000}, "wav", 8000),
        ({"response_format": "wav_ulaw"}, "wav", 8000),
        ({"response_format": "mp3"}, "mp3", 24_000),
    ],
)
async def test_freeswitch_finds_the_extension_and_how_long_to_keep_it(
    fields: dict[str, Any], extension: str, rate_hz: int, real: Real, http: aiohttp.ClientSession
) -> None:
    path = await address(real, http, **fields)
    assert extension_for_freeswitch(real.server.url + path) == extension
    answer = replay(real.server.url, "freeswitch", path=path)
    assert answer.status == 200
    assert max_age_s(answer) > 0
    await real.check(answer.body, TEXT, VOICE, extension, rate_hz)


@case(FREESWITCH, "ulaw")
async def test_freeswitch_reads_mu_law_by_its_name(real: Real, http: aiohttp.ClientSession) -> None:
    path = await address(real, http, response_format="ulaw", sample_rate=8000)
    assert extension_for_freeswitch(real.server.url + path) == "ulaw"
    answer = replay(real.server.url, "freeswitch", path=path)
    await real.check(answer.body, TEXT, VOICE, "ulaw", 8000)


def as_vapi(url: str, key: str = KEY, text: str = TEXT, rate_hz: int = 8000) -> Any:
    return replay(url, "vapi", voice=VOICE, key=key, text=json.dumps(text), rate_hz=rate_hz)


@case(VAPI, "custom")
@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 24_000])
async def test_vapi_gets_samples_at_just_the_rate_it_names(rate_hz: int, real: Real) -> None:
    answer = as_vapi(real.server.url, rate_hz=rate_hz)
    assert (answer.status, answer.type) == (200, "application/octet-stream")
    await real.check(answer.body, TEXT, VOICE, "pcm", rate_hz)


@case(VAPI, "key")
async def test_the_secret_of_vapi_counts_as_the_key(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "kokoro-edge.yaml").write_text(
        f"auth: {{keys: {{vapi: {KEY}}}}}\n", encoding="utf-8"
    )
    server = start_server()
    assert as_vapi(server.url, text="Hello there.").status == 200
    assert as_vapi(server.url, key="sk-of-another", text="Hello there.").status == 401


@case(WYOMING, "wav")
async def test_the_first_chunk_of_a_wav_has_a_header_that_python_reads(
    real: Real, http: aiohttp.ClientSession
) -> None:
    body = {"model": "tts-1", "input": "This was not said before.", "voice": VOICE}
    async with http.post(
        f"{real.base_url}/audio/speech", json=body | {"response_format": "wav"}
    ) as response:
        with wave.open(io.BytesIO(await response.content.readany())) as file:
            told = (file.getnchannels(), file.getsampwidth(), file.getframerate())
    assert told == (1, 2, 24_000)


@case(WYOMING, "probes")
async def test_it_is_not_taken_for_another_server(real: Real, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{real.base_url}/readyz") as response:
        assert response.status == 404


@case(OPEN_WEBUI, "probes")
async def test_voices_and_models_are_listed_as_it_reads_them(
    real: Real, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{real.base_url}/audio/voices") as response:
        voices = (await response.json())["voices"]
    assert {"id", "name"} <= voices[0].keys()
    async with http.get(f"{real.base_url}/audio/models") as response:
        assert response.status == 200
        models = (await response.json())["models"]
    assert "id" in models[0]
