"""`POST /v1/audio/speech` over a real socket, with an engine process that does as it is told."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import soundfile
from blockbuster import BlockBuster, blockbuster_ctx

from proxy.settings import Settings
from tests.proxy.conftest import (
    COLLAPSED,
    HIT,
    MISS,
    SPEECH,
    Barrier,
    Edge,
    Heard,
    StartEdge,
    outcome_of,
)

TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm;rate=24000"}

OTHERS = {
    "opus": ("audio/ogg", "opus ogg"),
    "aac": ("audio/aac", "aac"),
    "flac": ("audio/flac", "flac"),
    "pcm_16000": ("audio/pcm;rate=16000", "pcm sln16"),
    "l16_8000": ("audio/l16;rate=8000", "sln pcm"),
    "ulaw": ("audio/basic", "ulaw"),
    "alaw": ("audio/x-alaw-basic", "alaw"),
    "wav_ulaw": ("audio/wav", "wav"),
    "wav_alaw": ("audio/wav", "wav"),
    "mp3_8000_24k": ("audio/mpeg", "mp3"),
}


@pytest.fixture(autouse=True)
def nothing_blocks(caplog: pytest.LogCaptureFixture) -> Iterator[BlockBuster]:
    """Any blocking call of ours on the event loop fails, and is not swallowed by the server."""
    with blockbuster_ctx(["proxy", "synth", "diskcache", "aiohttp"]) as blockbuster:
        yield blockbuster
    blocked = [
        record.exc_text for record in caplog.records if "Blocking" in (record.exc_text or "")
    ]
    assert blocked == []


def seconds_of(wav_or_mp3: bytes) -> float:
    return float(soundfile.info(io.BytesIO(wav_or_mp3)).duration)


def error_of(heard: Heard) -> dict[str, str]:
    error: dict[str, str] = json.loads(heard.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def only(edge: Edge, *segments: str) -> bool:
    """Whether these segments were made, each once, and no others."""
    return edge.syntheses() == dict.fromkeys(segments, 1)


# What a reply is.


@pytest.mark.parametrize("format", TYPES)
async def test_a_text_is_answered_with_audio(edge: Edge, format: str) -> None:
    heard = await edge.say("Hello there. How are you?", response_format=format)
    assert heard.status == 200
    assert heard.headers["Content-Type"] == TYPES[format]
    assert len(heard.body) > 1000


async def test_the_default_is_mp3(edge: Edge) -> None:
    heard = await edge.say("Hello there.")
    assert heard.headers["Content-Type"] == "audio/mpeg"
    assert seconds_of(heard.body) > 0.1


RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
TEXT = "Hello there. How are you?"
TEXT_S = 0.24 + 0.30 + 0.24
"""12 and 12 characters at 0.02 s, and the pause of a full stop."""


@pytest.mark.parametrize("format", TYPES)
@pytest.mark.parametrize("rate_hz", RATES_HZ)
async def test_every_format_can_be_had_at_every_sample_rate(
    edge: Edge, format: str, rate_hz: int
) -> None:
    first = await edge.say(TEXT, response_format=format, sample_rate=rate_hz)
    kept = await edge.say(TEXT, response_format=format, sample_rate=rate_hz)
    assert (first.outcome, kept.outcome) == (MISS, HIT)
    content_type = TYPES[format].replace("24000", str(rate_hz))
    assert first.headers["Content-Type"] == kept.headers["Content-Type"] == content_type
    assert kept.headers["Content-Location"].endswith(f".{format}")
    if format == "pcm":
        assert first.body == kept.body
        assert len(kept.body) / 2 == pytest.approx(TEXT_S * rate_hz, abs=1)
    else:
        info = soundfile.info(io.BytesIO(kept.body))
        assert (info.samplerate, info.channels) == (rate_hz, 1)
        assert info.duration == pytest.approx(TEXT_S, abs=1e-3)
    assert only(edge, "Hello there.", "How are you?")


@pytest.mark.parametrize("format", OTHERS)
async def test_every_codec_is_streamed_kept_and_found_by_every_extension_of_its(
    edge: Edge, format: str
) -> None:
    content_type, extensions = OTHERS[format]
    streamed = await edge.say(TEXT, response_format=format)
    kept = await edge.say(TEXT, response_format=format)
    assert (streamed.status, streamed.outcome, kept.outcome) == (200, MISS, HIT)
    assert streamed.headers["Content-Type"] == kept.headers["Content-Type"] == content_type
    address, _, extension = kept.headers["Content-Location"].rpartition(".")
    assert extension == extensions.split()[0]
    for other in extensions.split():
        answer = await edge.client.get(f"{address}.{other}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
        assert await answer.read() == kept.body
    assert (await edge.client.get(f"{address}.exe")).status == 404


async def test_a_reply_at_another_sample_rate_has_an_address_of_its_own(edge: Edge) -> None:
    bodies = {}
    for rate_hz in (8_000, 16_000):
        said = await edge.say("Got it.", response_format="pcm", sample_rate=rate_hz)
        answer = await edge.client.get(said.headers["Content-Location"])
        assert answer.headers["Content-Type"] == f"audio/pcm;rate={rate_hz}"
        bodies[said.headers["Content-Location"]] = await answer.read()
        assert bodies[said.headers["Content-Location"]] == said.body
        other = said.headers["Content-Location"].replace(".pcm", f".pcm_{rate_hz}")
        assert (await edge.client.get(other)).status == 404
    assert len(bodies) == 2


async def test_a_hit_is_a_hit_at_its_own_sample_rate_only(edge: Edge) -> None:
    for rate_hz in RATES_HZ:
        said = await edge.say("Got it.", response_format="wav", sample_rate=rate_hz)
        assert said.outcome == MISS
    for rate_hz in RATES_HZ:
        said = await edge.say("Got it.", response_format="wav", sample_rate=rate_hz)
        assert (said.outcome, soundfile.info(io.BytesIO(said.body)).samplerate) == (HIT, rate_hz)
    assert only(edge, "Got it.")


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"response_format": "pcm_8000"}, {"response_format": "pcm", "sample_rate": 8_000}),
        (
            {"response_format": "pcm_8000", "sample_rate": 8_000},
            {"response_format": "pcm", "sample_rate": 8_000},
        ),
        (
            {"response_format": "wav_16000", "sample_rate": None},
            {"response_format": "wav", "sample_rate": 16_000},
        ),
        ({"response_format": "mp3_24000"}, {}),
        ({"sample_rate": 24_000}, {}),
        ({"sample_rate": None}, {"response_format": "mp3"}),
        (
            {"response_format": "mp3_8000_24k"},
            {"response_format": "mp3", "sample_rate": 8_000, "bitrate_kbps": 24},
        ),
        ({"response_format": "mp3_8000", "bitrate_kbps": 32}, {"sample_rate": 8_000}),
        ({"response_format": "opus", "bitrate_kbps": 32}, {"response_format": "opus"}),
        ({"response_format": "aac_48000"}, {"response_format": "aac"}),
        ({"response_format": "ulaw", "sample_rate": 8_000}, {"response_format": "ulaw"}),
    ],
)
async def test_a_format_can_be_named_with_its_rates(
    edge: Edge, fields: dict[str, object], same: dict[str, object]
) -> None:
    said = await edge.say("Got it.", **fields)
    again = await edge.say("Got it.", **same)
    assert (said.status, again.outcome) == (200, HIT)
    assert said.headers["Content-Location"] == again.headers["Content-Location"]


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"sample_rate": 11_025}, "sample_rate", "8000, 16000, 22050, 24000, 44100 or 48000"),
        ({"sample_rate": 0}, "sample_rate", "44100 or 48000"),
        ({"sample_rate": -8_000}, "sample_rate", "44100 or 48000"),
        ({"sample_rate": 10**30}, "sample_rate", "44100 or 48000"),
        ({"sample_rate": 8_000.5}, "sample_rate", "44100 or 48000"),
        ({"sample_rate": "8000"}, "sample_rate", "44100 or 48000"),
        ({"sample_rate": True}, "sample_rate", "44100 or 48000"),
        ({"sample_rate": [8_000]}, "sample_rate", "44100 or 48000"),
        (
            {"response_format": "pcm_8000", "sample_rate": 16_000},
            "sample_rate",
            "response_format is 'pcm_8000'",
        ),
        ({"response_format": "mp3_24000", "sample_rate": 8_000}, "sample_rate", "leave one"),
        ({"response_format": "pcm_800"}, "response_format", "pcm has no sample rate of 800 Hz: "),
        ({"response_format": "pcm_11025"}, "response_format", "44100 or 48000"),
        ({"response_format": "pcm_"}, "response_format", "wav_alaw. Did you mean 'pcm'"),
        ({"response_format": "8000"}, "response_format", "there are mp3, opus, aac, flac, wav, "),
        ({"response_format": "aac_24000"}, "response_format", "it has 44100 or 48000."),
        ({"response_format": "mp3_63k"}, "response_format", "it has 64, 80, 96, 112, 128, 144 or"),
        (
            {"response_format": "aac", "sample_rate": 8_000},
            "sample_rate",
            "'sample_rate' is 8000, but aac has no sample rate of 8000 Hz: it has 44100 or 48000.",
        ),
        ({"response_format": "ulaw", "sample_rate": 16_000}, "sample_rate", "it has 8000 alone."),
        ({"bitrate_kbps": 63}, "bitrate_kbps", "mp3 at 24000 Hz has no bit rate of 63 kbit/s"),
        (
            {"sample_rate": 8_000, "bitrate_kbps": 128},
            "bitrate_kbps",
            "'bitrate_kbps' is 128, but mp3 at 8000 Hz has no bit rate of 128 kbit/s: it has 24, ",
        ),
        ({"response_format": "opus", "bitrate_kbps": 0}, "bitrate_kbps", "it has 6 to 256."),
        ({"bitrate_kbps": "64"}, "bitrate_kbps", "it must be a whole number of kbit/s, such as 64"),
        ({"bitrate_kbps": 64.5}, "bitrate_kbps", "it must be a whole number of kbit/s, such as 64"),
        (
            {"response_format": "wav", "bitrate_kbps": 64},
            "bitrate_kbps",
            "'bitrate_kbps' is 64, but it means nothing to wav: leave it out.",
        ),
        (
            {"response_format": "mp3_64k", "bitrate_kbps": 96},
            "bitrate_kbps",
            "'bitrate_kbps' is 96, but response_format is 'mp3_64k': leave one of them out.",
        ),
    ],
)
async def test_a_rate_that_there_is_not_is_refused(
    edge: Edge, fields: dict[str, object], param: str, says: str
) -> None:
    heard = await edge.say("Got it.", **fields)
    error = error_of(heard)
    assert (heard.status, error["param"], error["code"]) == (400, param, "invalid_value")
    assert says in error["message"] and len(error["message"]) < 200
    assert edge.syntheses() == {}


async def test_all_formats_last_as_long(edge: Edge) -> None:
    text = "Hello there. How are you?"
    await edge.say(text, response_format="wav")
    seconds = seconds_of((await edge.say(text, response_format="wav")).body)
    pcm = (await edge.say(text, response_format="pcm")).body
    assert len(pcm) / 48_000 == pytest.approx(seconds, abs=1e-6)
    # 12 and 12 characters at 0.02 s, and the pause of a full stop.
    assert seconds == pytest.approx(0.24 + 0.30 + 0.24, abs=1e-3)
    await edge.say(text, response_format="mp3")
    mp3 = (await edge.say(text, response_format="mp3")).body
    assert seconds_of(mp3) == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("text", ["Hello there.", "Hello there. How are you?"])
@pytest.mark.parametrize("again", [False, True])
async def test_every_reply_carries_its_headers(edge: Edge, text: str, again: bool) -> None:
    if again:
        await edge.say(text)
    heard = await edge.say(text, voice="af_sky(2)+af_bella(2)" if not again else "af_bella")
    times_ms = [
        float(heard.headers[f"X-{stage}-Time"]) for stage in ("Generation", "Encode", "Total")
    ]
    assert all(time_ms >= 0 for time_ms in times_ms)
    assert times_ms[2] >= max(times_ms[:2])
    assert (times_ms[0] > 0) is not again
    assert heard.headers["X-Voice"] == ("af_bella" if again else "af_bella+af_sky")
    assert heard.outcome == (HIT if again else MISS)


async def test_an_id_that_is_sent_comes_back(edge: Edge) -> None:
    for text in ("Hello there.", "Hello there. How are you?", "", "Hello there."):
        answer = await edge.client.post(
            SPEECH, json={"input": text}, headers={"X-Request-Id": "call-17/leg-2"}
        )
        assert answer.headers["X-Request-Id"] == "call-17/leg-2", text


async def test_an_id_is_made_where_none_or_a_bad_one_is_sent(edge: Edge) -> None:
    made = set()
    for sent in ({}, {}, {"X-Request-Id": "x" * 129}, {"X-Request-Id": "two words"}):
        answer = await edge.client.post(SPEECH, json={"input": "Hello there."}, headers=sent)
        made.add(answer.headers["X-Request-Id"])
    assert len(made) == 4
    assert all(len(each) == 32 and each.isalnum() for each in made)


async def test_the_length_is_told_where_it_is_known(edge: Edge) -> None:
    one = await edge.say("Hello there.")
    several = await edge.say("Good morning. How are you?")
    again = await edge.say("Good morning. How are you?")
    for known in (one, again):
        assert known.headers["Content-Length"] == str(len(known.body))
        assert "Transfer-Encoding" not in known.headers
    assert several.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in several.headers


async def test_the_wav_header_is_true_as_soon_as_the_length_is_known(edge: Edge) -> None:
    one = await edge.say("Hello there.", response_format="wav")
    streamed = await edge.say("Good morning. How are you?", response_format="wav")
    again = await edge.say("Good morning. How are you?", response_format="wav")
    for known in (one, again):
        assert struct.unpack_from("<I", known.body, 4)[0] == len(known.body) - 8
        assert struct.unpack_from("<I", known.body, 40)[0] == len(known.body) - 44
        with wave.open(io.BytesIO(known.body)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
            assert file.getnframes() * 2 == len(known.body) - 44
    assert streamed.body[44:] == again.body[44:]
    assert struct.unpack_from("<I", streamed.body, 40)[0] == 0xFFFFFFFF


async def test_sound_is_sent_before_the_last_sentence_is_made(edge: Edge, barrier: Barrier) -> None:
    answer = await edge.ask(f"Hello there. {barrier.text}", response_format="pcm")
    first = await answer.content.readexactly(len("Hello there.") * 960)
    assert any(first)
    await barrier.release()
    assert await answer.read()


# What is not made again.


@pytest.mark.parametrize("format", TYPES)
async def test_the_second_request_is_a_hit_and_makes_nothing(edge: Edge, format: str) -> None:
    text = "Hello there. How are you?"
    first = await edge.say(text, response_format=format)
    second = await edge.say(text, response_format=format)
    third = await edge.say(text, response_format=format)
    assert [each.outcome for each in (first, second, third)] == [MISS, HIT, HIT]
    assert second.body == third.body
    assert only(edge, "Hello there.", "How are you?")


async def test_a_sentence_said_before_is_not_made_again_in_another_reply(edge: Edge) -> None:
    await edge.say("Got it. One moment, please.")
    heard = await edge.say("Thank you! Got it. Goodbye.")
    assert heard.outcome == MISS
    assert only(edge, "Got it.", "One moment, please.", "Thank you!", "Goodbye.")


async def test_another_format_is_encoded_and_not_made_again(edge: Edge) -> None:
    for format in TYPES:
        assert (await edge.say("Got it.", response_format=format)).outcome == MISS
    assert only(edge, "Got it.")


async def test_a_cached_clip_sounds_as_the_fresh_one_did(edge: Edge) -> None:
    fresh = await edge.say("Got it.", response_format="pcm")
    cached = await edge.say("Thank you! Got it.", response_format="pcm")
    assert cached.body.endswith(fresh.body)


async def test_another_voice_speed_or_language_is_made(edge: Edge) -> None:
    await edge.say("Got it.")
    for fields in ({"voice": "bm_george"}, {"speed": 1.1}, {"lang_code": "b"}):
        assert (await edge.say("Got it.", **fields)).outcome == MISS
    assert edge.syntheses() == {"Got it.": 4}


async def test_a_sentence_that_comes_twice_in_a_reply_is_made_once(edge: Edge) -> None:
    heard = await edge.say("Hello. Hello. Hello.", response_format="pcm")
    assert heard.status == 200
    assert only(edge, "Hello.")


async def test_what_was_said_before_a_restart_is_a_hit_while_the_engine_loads(
    start_edge: StartEdge, barrier: Barrier
) -> None:
    text = "Hello there. How are you?"
    before = await start_edge()
    await before.say(text)
    warm = await before.say(text)
    await before.stop()
    after = await start_edge("--slow-start", str(barrier.path), ready=False)
    heard = await after.say(text)
    assert (heard.status, heard.outcome, heard.body) == (200, HIT, warm.body)
    assert only(after, "Hello there.", "How are you?")


async def test_replies_that_were_heard_when_the_server_stopped_are_kept(
    start_edge: StartEdge, barrier: Barrier
) -> None:
    before = await start_edge()
    texts = [f"Number {number} is next." for number in range(20)]
    heard = await asyncio.gather(*(before.say(text, response_format="pcm") for text in texts))
    await before.stop()
    after = await start_edge("--slow-start", str(barrier.path), ready=False)
    for text, first in zip(texts, heard, strict=True):
        again = await after.say(text, response_format="pcm")
        assert (again.outcome, again.body) == (HIT, first.body)


# Many at once.


async def test_fifty_who_ask_for_the_same_at_once_get_the_same_made_once(
    edge: Edge, barrier: Barrier
) -> None:
    text = f"Hello there. {barrier.text} Goodbye."
    # All of them have begun to listen before the second sentence can be made.
    answers = await asyncio.gather(*(edge.ask(text, response_format="pcm") for _ in range(50)))
    await barrier.release()
    bodies = await asyncio.gather(*(answer.read() for answer in answers))
    assert len(set(bodies)) == 1
    assert only(edge, "Hello there.", barrier.text, "Goodbye.")
    statuses = [outcome_of(answer.headers) for answer in answers]
    assert sorted(statuses) == sorted([MISS, *[COLLAPSED] * 49])
    assert bodies[0] == (await edge.say(text, response_format="pcm")).body


async def test_replies_that_share_a_sentence_make_it_once_together(
    edge: Edge, barrier: Barrier
) -> None:
    await edge.say("Hello there.")
    one = asyncio.create_task(edge.say(f"{barrier.text} One.", response_format="pcm"))
    await barrier.reached()
    # It has begun, and comes to the sentence that is being made.
    other = await edge.ask(f"Hello there. {barrier.text} Other.", response_format="pcm")
    await barrier.release()
    async with asyncio.timeout(30):
        assert (await one).status == 200
        assert await other.read()
    assert only(edge, "Hello there.", barrier.text, "One.", "Other.")


async def test_the_first_client_leaves_and_the_others_hear_all_of_it(
    edge: Edge, barrier: Barrier
) -> None:
    text = f"Hello there. {barrier.text} Goodbye."
    first = await edge.ask(text, response_format="pcm")
    staying = await edge.ask(text, response_format="pcm")
    assert outcome_of(first.headers) == MISS
    await first.content.readany()
    first.close()
    await barrier.release()
    heard = await staying.read()
    again = await edge.say(text, response_format="pcm")
    assert (again.outcome, again.body) == (HIT, heard)
    assert only(edge, "Hello there.", barrier.text, "Goodbye.")


async def test_a_client_that_leaves_in_the_queue_does_not_harm_the_next(
    edge: Edge, barrier: Barrier
) -> None:
    ahead = asyncio.create_task(edge.say(barrier.text))
    await barrier.reached()
    with pytest.raises(asyncio.TimeoutError):
        await edge.client.post(
            SPEECH, json={"input": "Hello there."}, timeout=aiohttp.ClientTimeout(total=0.05)
        )
    following = asyncio.create_task(edge.say("Hello there."))
    await barrier.release()
    assert (await ahead).status == (await following).status == 200
    assert edge.syntheses()["Hello there."] == 1


# What goes wrong.


async def test_an_engine_that_crashes_once_is_not_noticed(edge: Edge, tmp_path: Path) -> None:
    marker = tmp_path.parent / f"crashed{tmp_path.name.encode().hex()}"
    heard = await edge.say(f"Hello there. Crash-once {marker}. Goodbye.", response_format="pcm")
    assert heard.status == 200
    assert marker.exists()
    assert edge.syntheses()[f"Crash-once {marker}."] == 2
    assert edge.syntheses()["Goodbye."] == 1


async def test_an_engine_that_crashes_every_time_is_unavailable(edge: Edge) -> None:
    for tries in (2, 4):
        heard = await edge.say("Crash.")
        assert heard.status == 503
        assert int(heard.headers["Retry-After"]) >= 1
        assert error_of(heard)["type"] == "server_error"
        assert error_of(heard)["code"] in ("engine_died", "engine_loading")
        await wait_until_up(edge)
        assert edge.syntheses()["Crash."] == tries  # So nothing of it was kept.
    assert (await edge.say("Hello there.")).status == 200


async def test_bad_audio_is_an_error_and_not_kept(edge: Edge) -> None:
    for tries in (1, 2):
        heard = await edge.say("Bad audio.")
        assert heard.status == 502
        assert error_of(heard)["code"] == "bad_audio"
        assert edge.syntheses()["Bad audio."] == tries


async def test_a_failure_is_told_to_all_who_wait_for_it(edge: Edge, barrier: Barrier) -> None:
    ahead = asyncio.create_task(edge.say(barrier.text))
    await barrier.reached()
    asking = [asyncio.create_task(edge.say("Bad audio.")) for _ in range(5)]
    await barrier.release()
    assert [(await each).status for each in asking] == [502] * 5
    assert (await ahead).status == 200


@pytest.mark.parametrize("format", TYPES)
async def test_a_reply_that_fails_in_the_middle_does_not_end_cleanly(
    edge: Edge, barrier: Barrier, format: str
) -> None:
    text = f"Hello there. {barrier.text} Bad audio. Goodbye."
    answers = [await edge.ask(text, response_format=format) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    await barrier.release()
    for answer in answers:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    assert "Goodbye." not in edge.syntheses()


async def test_nothing_of_a_reply_that_failed_is_kept_but_its_good_sentences(edge: Edge) -> None:
    text = "Hello there. Bad audio."
    for tries in (1, 2):
        answer = await edge.ask(text, response_format="pcm")
        assert outcome_of(answer.headers) == MISS
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
        assert edge.syntheses() == {"Hello there.": 1, "Bad audio.": tries}


async def test_a_last_sentence_that_cannot_be_said_is_told_before_any_sound(edge: Edge) -> None:
    heard = await edge.say("Hello there. How are you? Cannot say.")
    assert heard.status == 400
    assert error_of(heard)["code"] == "cannot_say"
    assert error_of(heard)["param"] == "input"
    assert edge.syntheses() == {}


async def test_symbols_that_cannot_be_said_are_told_before_any_sound_that_is_cached(
    edge: Edge,
) -> None:
    await edge.say("Hello there.")
    heard = await edge.say("Hello there. Cannot say ∑. Goodbye.")
    assert (heard.status, error_of(heard)["code"]) == (400, "cannot_say")
    assert only(edge, "Hello there.")


async def test_a_sentence_that_cannot_be_said_is_never_left_out(edge: Edge) -> None:
    """With its first sentence cached a reply of everyday characters begins before the engine has
    seen the rest of it."""
    await edge.say("Hello there.")
    text = "Hello there. Cannot say. Goodbye."
    try:
        heard = await edge.say(text, response_format="pcm")
    except aiohttp.ClientError:
        return
    assert heard.status == 400


async def test_while_the_engine_loads_what_is_new_is_refused(
    start_edge: StartEdge, barrier: Barrier
) -> None:
    edge = await start_edge("--slow-start", str(barrier.path), ready=False)
    heard = await edge.say("Hello there.")
    assert heard.status == 503
    assert int(heard.headers["Retry-After"]) >= 1
    assert error_of(heard)["code"] == "engine_loading"
    health = await (await edge.client.get("/health")).json()
    assert health["status"] == "loading"
    await barrier.release()
    await wait_until_up(edge)
    assert (await edge.say("Hello there.")).status == 200


async def test_an_engine_that_fails_to_start_is_told_with_its_problem(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    edge = await start_edge("--fail-to-start", str(tmp_path / "mended"), ready=False)
    async with asyncio.timeout(30):
        while (health := await health_of(edge))["status"] != "failed":
            pass
    assert "told to fail" in str(health["problem"])
    assert health["model_loaded"] is False
    heard = await edge.say("Hello there.")
    assert heard.status == 503
    assert "told to fail" in error_of(heard)["message"]
    (tmp_path / "mended").touch()
    await wait_until_up(edge)
    assert "problem" not in await health_of(edge)
    assert (await edge.say("Hello there.")).status == 200


async def test_overload_is_refused_at_once_and_hits_are_served_all_the_same(
    start_edge: StartEdge, settings: Settings, barrier: Barrier
) -> None:
    engine = replace(settings.engine, max_waiting=1)
    edge = await start_edge(settings=replace(settings, engine=engine))
    hit = await edge.say("Hello there.")
    running = asyncio.create_task(edge.say(barrier.text))
    await barrier.reached()
    # Of two more, one may wait; whichever comes second is refused.
    asked = {asyncio.create_task(edge.say(text)) for text in ("One.", "Two.")}
    (refused,), asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result().status == 503
    assert int(refused.result().headers["Retry-After"]) >= 1
    assert error_of(refused.result())["code"] == "overloaded"
    again = await edge.say("Hello there.")
    assert (again.outcome, again.body) == (HIT, hit.body)
    await barrier.release()
    assert (await running).status == 200
    (waited,) = asked
    assert (await waited).status == 200
    assert edge.syntheses().total() == 3


async def test_stopping_the_server_breaks_replies_off(edge: Edge, barrier: Barrier) -> None:
    answer = await edge.ask(f"Hello there. {barrier.text}", response_format="pcm")
    await barrier.reached()
    await edge.client.server.close()
    with pytest.raises(aiohttp.ClientError):
        await answer.read()


async def health_of(edge: Edge) -> dict[str, object]:
    health: dict[str, object] = await (await edge.client.get("/health")).json()
    return health


async def wait_until_up(edge: Edge) -> None:
    async with asyncio.timeout(30):
        while (await health_of(edge))["status"] != "ok":
            pass
