"""HTTP's own words for a cache: RFC 9110 (conditions, ranges), 9111 (directives), 9211 and 8246."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sqlite3
import struct
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import xxhash
from aiohttp.test_utils import TestServer

from proxy.app import DISK
from proxy.settings import PhrasebookSettings, Settings, WarmSettings
from tests.proxy.conftest import HIT, MISS, SPEECH, Barrier, Edge, Heard, StartEdge, outcome_of
from tests.proxy.entries import entry_of

TEXT = "Hello there. How are you?"


async def post(edge: Edge, text: str = TEXT, format: str = "pcm", **headers: str) -> Heard:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await edge.client.post(
        SPEECH, json={"input": text, "response_format": format}, headers=named
    )
    return Heard(answer.status, answer.headers, await answer.read())


async def get(edge: Edge, path: str, method: str = "GET", **headers: str) -> Heard:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await edge.client.request(method, path, headers=named)
    return Heard(answer.status, answer.headers, await answer.read())


@pytest.fixture
async def said(edge: Edge) -> Heard:
    """A reply that is cached."""
    await post(edge)
    return await post(edge)


def code_of(heard: Heard) -> str:
    found = re.search(rb'"code": "(\w+)"', heard.body)
    assert found is not None
    return found[1].decode()


# Cache-Status and Server-Timing.


async def test_a_hit_tells_its_tier_and_its_key(start_edge: StartEdge, settings: Settings) -> None:
    edge = await start_edge()
    one = await post(edge, "Hello there.")
    hit = await post(edge, "Hello there.")
    assert re.fullmatch(
        r'kokoro-edge; fwd=miss; stored; key="[0-9a-f]{32}"', one.headers["Cache-Status"]
    )
    assert re.fullmatch(
        r'kokoro-edge; hit; detail=memory; key="[0-9a-f]{32}"', hit.headers["Cache-Status"]
    )
    await edge.stop()
    again = await post(await start_edge(), "Hello there.")
    assert again.headers["Cache-Status"].startswith("kokoro-edge; hit; detail=disk; key=")


async def test_what_is_streamed_is_not_said_to_be_stored_before_it_is(edge: Edge) -> None:
    heard = await post(edge)
    assert re.fullmatch(r'kokoro-edge; fwd=miss; key="\w+"', heard.headers["Cache-Status"])


async def test_a_hit_times_memory_alone_and_a_miss_every_stage(edge: Edge) -> None:
    one, hit = await post(edge, "Hello there."), await post(edge, "Hello there.")
    assert stages(one) == {"mem", "disk", "queue", "synth", "encode"}
    assert stages(hit) == {"mem"}


async def test_a_hit_on_disk_times_disk(start_edge: StartEdge) -> None:
    edge = await start_edge()
    await post(edge)
    await edge.stop()
    assert stages(await post(await start_edge())) == {"mem", "disk"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health", 200), ("/v1/models", 200), ("/nothing", 404), ("/v1/audio/speech", 405)],
)
async def test_every_answer_tells_both(edge: Edge, path: str, status: int) -> None:
    heard = await get(edge, path)
    assert heard.status == status
    assert heard.headers["Cache-Status"] == "kokoro-edge; fwd=bypass"
    assert stages(heard) == {"total"}


async def test_errors_tell_both(edge: Edge) -> None:
    bad = await post(edge, "")
    assert (bad.status, bad.headers["Cache-Status"]) == (400, "kokoro-edge; fwd=bypass")
    failed = await post(edge, "Bad audio.")
    assert failed.status == 502
    assert failed.headers["Cache-Status"].startswith("kokoro-edge; fwd=miss; key=")
    assert stages(failed) == {"total"}


def stages(heard: Heard) -> set[str]:
    """The names in `Server-Timing`, each with a duration in milliseconds."""
    found = set()
    for part in heard.headers["Server-Timing"].split(", "):
        match = re.fullmatch(r"(\w+);dur=\d+\.\d+", part)
        assert match, part
        found.add(match[1])
    return found


# A reply's own address.


@pytest.mark.parametrize("format", ["mp3", "wav", "pcm"])
async def test_a_reply_is_found_again_at_the_address_it_tells(edge: Edge, format: str) -> None:
    first = await post(edge, format=format)
    hit = await post(edge, format=format)
    location = hit.headers["Content-Location"]
    assert first.headers["Content-Location"] == location
    assert re.fullmatch(rf"/v1/audio/clips/[0-9a-f]{{32}}\.{format}", location)
    fetched = await get(edge, location)
    assert (fetched.status, fetched.body) == (200, hit.body)
    assert fetched.headers["Content-Type"] == hit.headers["Content-Type"]
    assert fetched.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert fetched.headers["Accept-Ranges"] == "bytes"
    assert fetched.headers["ETag"] == hit.headers["ETag"]
    assert fetched.headers["Content-Length"] == str(len(hit.body))
    assert outcome_of(fetched.headers) == HIT


async def test_the_address_of_a_reply_outlives_a_restart(start_edge: StartEdge) -> None:
    edge = await start_edge()
    await post(edge)
    said = await post(edge)
    await edge.stop()
    fetched = await get(await start_edge(), said.headers["Content-Location"])
    assert (fetched.status, fetched.body) == (200, said.body)
    assert "detail=disk" in fetched.headers["Cache-Status"]


async def test_head_tells_the_same_and_sends_nothing(edge: Edge, said: Heard) -> None:
    path = said.headers["Content-Location"]
    whole, head = await get(edge, path), await get(edge, path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type", "Cache-Control", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name]


async def test_head_of_a_large_reply_tells_its_length_and_sends_nothing(edge: Edge) -> None:
    text = "This one is long enough to be sent in pieces. " * 8
    await post(edge, text)
    said = await post(edge, text)
    assert len(said.body) > 65_536
    assert said.headers["Content-Length"] == str(len(said.body))
    head = await get(edge, said.headers["Content-Location"], "HEAD")
    assert (head.body, head.headers["Content-Length"]) == (b"", str(len(said.body)))
    assert (await get(edge, said.headers["Content-Location"])).body == said.body


@pytest.mark.parametrize(
    "path",
    ["0" * 32 + ".mp3", "0" * 31 + ".mp3", "..%2f..%2fetc%2fpasswd", "0" * 32, "x.mp3"],
)
async def test_an_address_that_nothing_is_at_is_not_found(edge: Edge, path: str) -> None:
    heard = await get(edge, f"/v1/audio/clips/{path}")
    assert heard.status == 404
    assert code_of(heard) in ("clip_not_found", "not_found")


async def test_a_reply_is_not_found_in_another_format(edge: Edge, said: Heard) -> None:
    path = said.headers["Content-Location"].replace(".pcm", ".mp3")
    assert (await get(edge, path)).status == 404


async def test_a_sentence_is_no_reply_and_has_no_address(edge: Edge, settings: Settings) -> None:
    await post(edge)
    assert clips_of(settings)
    for id in clips_of(settings):
        for ext in ("flac", "pcm"):
            assert (await get(edge, f"/v1/audio/clips/{id}.{ext}")).status == 404


def clips_of(settings: Settings) -> list[str]:
    """The ids of the clips on disk."""
    path = settings.cache.directory / "audio" / "traffic" / "cache.db"
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT key, tag FROM Cache").fetchall()
    return [id for id, tag in rows if '"clip"' in tag]


async def test_what_is_being_made_is_followed_from_its_first_byte(
    edge: Edge, barrier: Barrier
) -> None:
    text = f"Hello there. {barrier.text} Goodbye."
    answer = await edge.ask(text, response_format="pcm")
    path = answer.headers["Content-Location"]
    following = await edge.client.get(path)
    assert following.status == 200
    assert following.headers["Cache-Status"].startswith("kokoro-edge; fwd=miss; collapsed; key=")
    assert following.headers["Cache-Control"] == "no-store"
    assert "ETag" not in following.headers
    head = await get(edge, path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    await following.content.readexactly(len("Hello there.") * 960)
    await barrier.release()
    whole = await answer.read()
    assert whole.endswith(await following.read())
    assert edge.syntheses() == {"Hello there.": 1, barrier.text: 1, "Goodbye.": 1}
    assert (await get(edge, path)).body == whole


async def test_part_of_what_is_being_made_is_sent_once_the_whole_is_known(
    edge: Edge, barrier: Barrier
) -> None:
    answer = await edge.ask(f"Hello there. {barrier.text}", response_format="wav")
    part = asyncio.create_task(get(edge, answer.headers["Content-Location"], Range="bytes=0-43"))
    await barrier.release()
    await answer.read()
    heard = await part
    again = await get(edge, answer.headers["Content-Location"])
    assert (heard.status, heard.body) == (206, again.body[:44])


async def test_a_wav_that_is_being_made_is_sent_with_its_true_length(
    edge: Edge, barrier: Barrier
) -> None:
    # Asterisk takes no other.
    answer = await edge.ask(f"Hello there. {barrier.text}", response_format="wav")
    fetched = asyncio.create_task(get(edge, answer.headers["Content-Location"]))
    await barrier.release()
    await answer.read()
    whole = (await fetched).body
    assert int.from_bytes(whole[40:44], "little") == len(whole) - 44
    assert "ETag" in (await fetched).headers


@pytest.mark.parametrize(
    ("agent", "content_type"),
    [
        ("TwilioProxy/1.1", "audio/ulaw"),
        ("asterisk-libcurl-agent/1.0", "audio/basic"),
        ("freeswitch-http-cache/1.0", "audio/basic"),
    ],
)
async def test_twilio_is_told_its_own_name_for_u_law(
    edge: Edge, agent: str, content_type: str
) -> None:
    said = await post(edge, format="ulaw")
    assert said.headers["Content-Type"] == "audio/basic"
    fetched = await get(edge, said.headers["Content-Location"], User_Agent=agent)
    assert (fetched.headers["Content-Type"], fetched.body) == (content_type, said.body)
    assert fetched.headers["Vary"] == "User-Agent"
    other = await post(edge, format="mp3")
    fetched = await get(edge, other.headers["Content-Location"], User_Agent=agent)
    assert fetched.headers["Content-Type"] == "audio/mpeg"


async def test_who_follows_keeps_a_reply_alive_that_its_first_listener_left(
    edge: Edge, barrier: Barrier
) -> None:
    answer = await edge.ask(f"Hello there. {barrier.text} Goodbye.", response_format="pcm")
    following = await edge.client.get(answer.headers["Content-Location"])
    answer.close()
    await barrier.release()
    assert len(await following.read()) > len("Hello there. Goodbye.") * 960


async def test_a_reply_that_fails_while_it_is_followed_does_not_end_cleanly(
    edge: Edge, barrier: Barrier
) -> None:
    answer = await edge.ask(f"Hello there. {barrier.text} Bad audio.", response_format="pcm")
    following = await edge.client.get(answer.headers["Content-Location"])
    await barrier.release()
    for each in (answer, following):
        with pytest.raises(aiohttp.ClientError):
            await each.read()
    assert (await get(edge, answer.headers["Content-Location"])).status == 404


# Conditions.


async def test_the_etag_is_of_the_bytes(edge: Edge, said: Heard) -> None:
    assert said.headers["ETag"] == f'"{xxhash.xxh3_128_hexdigest(said.body)}"'
    other = await post(edge, "Goodbye.")
    assert other.headers["ETag"] == f'"{xxhash.xxh3_128_hexdigest(other.body)}"'
    assert other.headers["ETag"] != said.headers["ETag"]


@pytest.mark.parametrize("wrap", ["{}", "W/{}", '"other", {}', "*"])
async def test_who_has_the_bytes_is_not_sent_them(edge: Edge, said: Heard, wrap: str) -> None:
    tag = wrap.format(said.headers["ETag"])
    for method in ("GET", "HEAD"):
        heard = await get(edge, said.headers["Content-Location"], method, If_None_Match=tag)
        assert (heard.status, heard.body) == (304, b"")
        assert heard.headers["ETag"] == said.headers["ETag"]
        assert heard.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_who_has_other_bytes_is_sent_these(edge: Edge, said: Heard) -> None:
    heard = await get(edge, said.headers["Content-Location"], If_None_Match='"other"')
    assert (heard.status, heard.body) == (200, said.body)


async def test_a_post_for_anything_but_what_is_there_fails(edge: Edge, said: Heard) -> None:
    for tag in (said.headers["ETag"], "*"):
        heard = await post(edge, If_None_Match=tag)
        assert (heard.status, code_of(heard)) == (412, "precondition_failed")
    assert (await post(edge, If_None_Match='"other"')).body == said.body


async def test_a_request_for_bytes_that_are_gone_fails(edge: Edge, said: Heard) -> None:
    path, etag = said.headers["Content-Location"], said.headers["ETag"]
    assert (await get(edge, path, If_Match=etag)).status == 200
    assert (await get(edge, path, If_Match="*")).status == 200
    assert (await get(edge, path, If_Match='"other"')).status == 412
    assert (await get(edge, path, If_Match=f"W/{etag}")).status == 412


# Ranges.


@pytest.mark.parametrize(
    ("range", "begin", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-100", 100, 101),
        ("bytes=100-", 100, None),
        ("bytes=-100", -100, None),
        ("BYTES=5-9", 5, 10),
        ("bytes=0-999999999", 0, None),
        ("bytes=-999999999", 0, None),
    ],
)
async def test_a_range_is_sent_alone(
    edge: Edge, said: Heard, range: str, begin: int, end: int | None
) -> None:
    part = said.body[begin:end]
    heard = await get(edge, said.headers["Content-Location"], Range=range)
    assert (heard.status, heard.body) == (206, part)
    first = said.body.index(part) if begin <= 0 else begin
    first = len(said.body) + begin if begin < 0 else first
    assert heard.headers["Content-Range"] == (
        f"bytes {first}-{first + len(part) - 1}/{len(said.body)}"
    )
    assert heard.headers["Content-Length"] == str(len(part))
    assert heard.headers["ETag"] == said.headers["ETag"]


@pytest.mark.parametrize("range", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused(edge: Edge, said: Heard, range: str) -> None:
    heard = await get(edge, said.headers["Content-Location"], Range=range)
    assert (heard.status, code_of(heard)) == (416, "range_not_satisfiable")
    assert heard.headers["Content-Range"] == f"bytes */{len(said.body)}"


@pytest.mark.parametrize(
    "range", ["bytes=5-2", "bytes=a-b", "bytes=-", "words=0-1", "bytes=0-1,5-9", "nonsense"]
)
async def test_a_range_that_is_none_is_ignored(edge: Edge, said: Heard, range: str) -> None:
    heard = await get(edge, said.headers["Content-Location"], Range=range)
    assert (heard.status, heard.body) == (200, said.body)


async def test_a_download_goes_on_only_with_the_bytes_it_began_with(
    edge: Edge, said: Heard
) -> None:
    path, etag = said.headers["Content-Location"], said.headers["ETag"]
    same = await get(edge, path, Range="bytes=10-", If_Range=etag)
    assert (same.status, same.body) == (206, said.body[10:])
    for other in ('"other"', f"W/{etag}", "Sun, 06 Nov 1994 08:49:37 GMT"):
        heard = await get(edge, path, Range="bytes=10-", If_Range=other)
        assert (heard.status, heard.body) == (200, said.body)


async def test_a_post_has_no_ranges(edge: Edge, said: Heard) -> None:
    heard = await post(edge, Range="bytes=0-9")
    assert (heard.status, heard.body) == (200, said.body)


# Directives.


async def test_no_store_leaves_nothing_behind(edge: Edge, settings: Settings) -> None:
    for tries in (1, 2):
        heard = await post(edge, "A secret.", Cache_Control="no-store")
        assert (heard.status, heard.outcome) == (200, MISS)
        assert "stored" not in heard.headers["Cache-Status"]
        assert "Content-Location" not in heard.headers
        assert edge.syntheses() == {"A secret.": tries}
    await edge.stop()
    assert [path.name for path in settings.cache.directory.rglob("*.val")] == []
    assert clips_of(settings) == []


async def test_no_cache_makes_it_again(edge: Edge, said: Heard) -> None:
    heard = await post(edge, Cache_Control="no-cache")
    assert heard.headers["Cache-Status"].startswith("kokoro-edge; fwd=request; ")
    assert heard.body == said.body
    assert edge.syntheses() == {"Hello there.": 2, "How are you?": 2}
    assert (await post(edge)).outcome == HIT


async def test_only_if_cached_makes_nothing(edge: Edge) -> None:
    heard = await post(edge, Cache_Control="only-if-cached")
    assert (heard.status, code_of(heard)) == (504, "not_cached")
    assert heard.headers["Cache-Status"].startswith("kokoro-edge; fwd=miss; key=")
    assert edge.syntheses() == {}
    await post(edge)
    assert (await post(edge, Cache_Control="only-if-cached")).outcome == HIT


async def test_only_if_cached_puts_cached_sentences_together(edge: Edge, said: Heard) -> None:
    heard = await post(edge, "How are you? Hello there.", Cache_Control="only-if-cached")
    assert heard.headers["Cache-Status"].startswith("kokoro-edge; hit; detail=clips; key=")
    assert heard.headers["Content-Length"] == str(len(heard.body))
    assert heard.headers["ETag"]
    assert edge.syntheses().total() == 2


@pytest.mark.parametrize(
    ("directives", "outcome"),
    [
        ("max-age=3600", HIT),
        ("Max-Age=3600, no-transform", HIT),
        ('max-age="3600"', HIT),
        ("max-stale=5, x-other, , =", HIT),
        ("max-age=0", MISS),
        ("max-age=soon", MISS),
        ("max-age=3600, NO-CACHE", MISS),
    ],
)
async def test_age_is_what_the_request_allows(
    edge: Edge, said: Heard, directives: str, outcome: str
) -> None:
    assert (await post(edge, Cache_Control=directives)).outcome == outcome


async def test_a_hit_tells_its_age(edge: Edge, said: Heard) -> None:
    assert 0 <= int(said.headers["Age"]) <= 300


# What is never stored.


@pytest.mark.parametrize(
    "text", ["Your card is 4111 1111 1111 1111.", "It went to ann@example.com."]
)
async def test_what_is_never_to_be_stored_is_not(
    start_edge: StartEdge, settings: Settings, text: str
) -> None:
    cache = replace(settings.cache, never_store=("card_numbers", "emails"))
    edge = await start_edge(settings=replace(settings, cache=cache))
    await post(edge, "Hello there.")
    for _ in range(2):
        heard = await post(edge, f"Hello there. {text}")
        assert (heard.status, heard.outcome) == (200, MISS)
        assert "Content-Location" not in heard.headers
    assert (await post(edge, "Hello there.")).outcome == HIT
    await edge.stop()
    assert len(clips_of(settings)) == 1


async def test_what_is_never_to_be_stored_is_still_made_once_for_all_who_ask(
    start_edge: StartEdge, settings: Settings, barrier: Barrier
) -> None:
    cache = replace(settings.cache, never_store=("long_digit_runs",))
    edge = await start_edge(settings=replace(settings, cache=cache))
    text = f"{barrier.text} Your number is 555 0100 200."
    asking = [asyncio.create_task(post(edge, text)) for _ in range(3)]
    await barrier.release()
    assert len({(await each).body for each in asking}) == 1
    assert edge.syntheses().total() == 2


async def test_by_default_everything_is_stored(edge: Edge) -> None:
    text = "Your card is 4111 1111 1111 1111."
    await post(edge, text)
    assert (await post(edge, text)).outcome == HIT


@pytest.mark.parametrize("keep", [False, True])
async def test_no_text_lies_on_disk_unless_it_is_to_be_kept(
    start_edge: StartEdge, settings: Settings, keep: bool
) -> None:
    cache = replace(settings.cache, keep_text=keep)
    edge = await start_edge(settings=replace(settings, cache=cache))
    await post(edge, "Zanzibar is lovely. Quixotic, too.", format="wav")
    await edge.stop()
    files = [path for path in settings.cache.directory.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    for word in (b"Zanzibar", b"lovely", b"Quixotic"):
        assert (word in content) is keep


async def test_the_address_of_what_is_never_stored_is_nobody_elses(
    start_edge: StartEdge, settings: Settings, barrier: Barrier
) -> None:
    cache = replace(settings.cache, never_store=("long_digit_runs",))
    edge = await start_edge(settings=replace(settings, cache=cache))
    answer = await edge.ask(f"Your number is 555 0100 200. {barrier.text}", response_format="pcm")
    found = re.search(r'key="(\w+)"', answer.headers["Cache-Status"])
    assert found is not None
    assert (await get(edge, f"/v1/audio/clips/{found[1]}.pcm")).status == 404
    await barrier.release()
    await answer.read()
    assert (await get(edge, f"/v1/audio/clips/{found[1]}.pcm")).status == 404


async def test_nobody_is_told_to_keep_a_reply_for_longer_than_it_is_kept_here(
    start_edge: StartEdge, settings: Settings
) -> None:
    cache = replace(settings.cache, ttl_s=1000)
    edge = await start_edge(settings=replace(settings, cache=cache))
    await post(edge)
    heard = await get(edge, (await post(edge)).headers["Content-Location"])
    told = re.fullmatch(r"public, max-age=(\d+)", heard.headers["Cache-Control"])
    assert told is not None
    assert 0 < int(told[1]) <= 1000


async def test_what_is_left_of_an_old_reply_is_what_caches_may_keep_it_for(edge: Edge) -> None:
    server = edge.client.server
    assert isinstance(server, TestServer)
    now_s = time.time()
    old = replace(
        entry_of("old", kind="rendition", format="pcm"),
        stored_at_s=now_s - 5_000,
        expires_at_s=now_s + 1_000,
    )
    server.app[DISK].put(old)
    headers = (await get(edge, f"/v1/audio/clips/{old.key.id}.pcm")).headers
    told = re.fullmatch(r"public, max-age=(\d+)", headers["Cache-Control"])
    assert told is not None
    # A cache takes off the age that it is told.
    assert int(told[1]) - int(headers["Age"]) == pytest.approx(1_000, abs=60)


async def test_what_was_stored_for_ever_ends_where_a_time_to_live_is_set_later(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge()
    await post(edge)
    await edge.stop()
    cache = replace(settings.cache, ttl_s=1e-3)
    limited = await start_edge(settings=replace(settings, cache=cache))
    assert (await post(limited)).outcome == MISS


async def test_what_is_purged_does_not_come_back_with_a_reply_under_way(
    edge: Edge, barrier: Barrier
) -> None:
    await post(edge, "Forget this.")
    answer = await edge.ask(f"Forget this. {barrier.text}", response_format="pcm")
    purged = await edge.client.post("/v1/admin/cache/purge", json={"text": "Forget this."})
    assert purged.status == 200
    assert b'"entries":2,' in await purged.read()
    await barrier.release()
    assert await answer.read()
    listed = await edge.client.get("/v1/admin/cache/entries", params={"text": "Forget this."})
    assert b'"id"' not in await listed.read()


async def test_a_request_that_would_take_what_is_cached_is_a_miss_where_nothing_is(
    edge: Edge,
) -> None:
    heard = await post(edge, Cache_Control="max-age=3600")
    assert "fwd=miss" in heard.headers["Cache-Status"]


async def test_a_phrase_is_pinned_whatever_else_is_written_to_disk(
    start_edge: StartEdge, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "book.yaml").write_text(
        "{name: book, voices: [af_bella], formats: [pcm], phrases: [Good morning.]}"
    )
    edge = await start_edge(
        settings=replace(
            settings,
            cache=replace(settings.cache, disk_admission="second", memory_bytes=0),
            phrasebook=PhrasebookSettings(directory=tmp_path),
            warm=WarmSettings(),
        )
    )
    async with asyncio.timeout(30):
        while await pinned_in(edge) < 2:
            pass
    assert (await post(edge, "Good morning.")).outcome == HIT


async def pinned_in(edge: Edge) -> int:
    stats = await (await edge.client.get("/v1/admin/cache")).json()
    (count,) = (int(it["entries"]) for it in stats["stores"] if it["tier"] == "pinned")
    return count


async def test_a_caller_who_resets_the_connection_is_gone_and_no_error(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    text = "This one is long enough to be sent in pieces. " * 80
    await post(edge, text)
    body = json.dumps({"input": text, "response_format": "pcm"}).encode()
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.client.port)
        reset_when_closed = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, reset_when_closed
        )
        writer.write(
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
            b"\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await reader.read(100)
        writer.transport.abort()
    async with asyncio.timeout(30):
        while caplog.text.count(" gone ") < 5:
            await edge.client.get("/health")
    assert " 500 " not in caplog.text and "Traceback" not in caplog.text
