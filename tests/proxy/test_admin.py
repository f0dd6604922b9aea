"""The admin API: who may use it, and what it does to a cache that is in use."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request
from pydantic import SecretStr
from pytest_aiohttp.plugin import AiohttpClient

from proxy.api.access import Access
from proxy.api.admin_routes import add_admin_routes
from proxy.api.cache_admin import CacheAdminApi
from proxy.api.errors import AdministrationOff, KeyNeeded
from proxy.api.middleware import around
from proxy.api.request_log import RequestLog
from proxy.app import DISK
from proxy.cache.archive import Keeping
from proxy.cache.disk import DiskTier
from proxy.cache.entry import Entry
from proxy.cache.memory import MemoryTier
from proxy.cache.steps import Imported, Problem, Purged, Stats, Step, Verified, from_json
from proxy.cache.store import Tier
from proxy.cache.tiered import TieredCache
from proxy.settings import ServerSettings, Settings
from tests.proxy.caches import clip, damage, flipped, folder_of, rendition, stock
from tests.proxy.conftest import HIT, MISS, Edge, StartEdge
from tests.proxy.storage import MIB, Audio, no_file_beyond

ADMIN = "/v1/admin"
CACHE = "/v1/admin/cache"
KEY = "a key for tests"
BEARER = {"Authorization": f"Bearer {KEY}"}

ROUTES = (
    ("GET", CACHE),
    ("GET", f"{CACHE}/entries"),
    ("POST", f"{CACHE}/verify"),
    ("POST", f"{CACHE}/purge"),
    ("GET", f"{CACHE}/export"),
    ("POST", f"{CACHE}/import"),
)
NOWHERE = (("GET", ADMIN), ("GET", f"{ADMIN}/"), ("POST", f"{ADMIN}/doors"), ("PUT", CACHE))


def with_server(settings: Settings, **changes: Any) -> Settings:
    return replace(settings, server=replace(settings.server, **changes))


@pytest.fixture
def with_key(settings: Settings) -> Settings:
    return with_server(settings, admin_key=SecretStr(KEY))


def disk_of(edge: Edge) -> DiskTier:
    server = edge.client.server
    assert isinstance(server, TestServer)
    return server.app[DISK]


async def put_all(edge: Edge, tier: Tier, *entries: Entry) -> None:
    disk = disk_of(edge)

    def put() -> None:
        for entry in entries:
            (disk.pinned if tier == "pinned" else disk.traffic).put(entry)

    await disk.run(put)


async def told(answer: aiohttp.ClientResponse) -> list[Step]:
    assert answer.status == 200, await answer.text()
    assert answer.content_type == "application/x-ndjson"
    return [from_json(line) for line in (await answer.read()).splitlines()]


async def error_of(answer: aiohttp.ClientResponse) -> dict[str, str]:
    error: dict[str, str] = (await answer.json())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def verify(edge: Edge, repair: bool = False) -> list[Step]:
    return await told(await edge.client.post(f"{CACHE}/verify", json={"repair": repair}))


async def purge(edge: Edge, **what: object) -> Step:
    return (await told(await edge.client.post(f"{CACHE}/purge", json=what)))[-1]


async def ids_at(edge: Edge, **filters: str) -> set[str]:
    listed = await told(await edge.client.get(f"{CACHE}/entries", params=filters))
    return {step.id for step in listed if step.step == "entry"}


async def stats(edge: Edge) -> Stats:
    answer = await edge.client.get(CACHE)
    assert (answer.status, answer.content_type) == (200, "application/json")
    found = from_json(await answer.read())
    assert isinstance(found, Stats)
    return found


async def test_with_a_key_everything_needs_the_key_be_there_anything_or_not(
    start_edge: StartEdge, with_key: Settings
) -> None:
    edge = await start_edge(settings=with_key, ready=False)
    for headers in (
        {},
        {"Authorization": "Bearer another key"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer kéy"},
    ):
        for method, path in (*ROUTES, *NOWHERE):
            answer = await edge.client.request(method, path, headers=headers)
            assert answer.status == 401, (method, path, headers)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert (await error_of(answer))["code"] == "invalid_api_key"
    # What is to be purged or imported is not said.
    for (method, path), expected in zip(
        (*ROUTES, *NOWHERE), (200, 200, 200, 400, 200, 400, 404, 404, 404, 405), strict=True
    ):
        answer = await edge.client.request(method, path, headers=BEARER)
        assert answer.status == expected, (method, path)


async def test_with_a_key_it_does_not_matter_where_the_server_listens_or_who_asks(
    start_edge: StartEdge, with_key: Settings
) -> None:
    edge = await start_edge(settings=with_server(with_key, host="0.0.0.0"), ready=False)
    headers = {**BEARER, "Host": "tts.example", "Origin": "https://panel.example"}
    assert (await edge.client.get(CACHE, headers=headers)).status == 200
    headers["Authorization"] = f"bearer  {KEY}"
    assert (await edge.client.get(CACHE, headers=headers)).status == 200


async def test_without_a_key_it_is_off_where_others_can_reach_the_server(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=with_server(settings, host="0.0.0.0"), ready=False)
    for method, path in (*ROUTES, *NOWHERE):
        answer = await edge.client.request(method, path)
        assert answer.status == 403
        error = await error_of(answer)
        assert error["code"] == "administration_off"
        assert "server.admin_key" in error["message"]


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "tts.example", "", "127.example", "localhost.example"]
)
def test_only_loopback_addresses_are_beyond_the_reach_of_others(host: str) -> None:
    assert not allowed(host, {"Host": "127.0.0.1:8000"})


def allowed(host: str, headers: Mapping[str, str]) -> bool:
    try:
        Access(None, host).check(make_mocked_request("GET", CACHE, headers=headers))
    except AdministrationOff:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST"])
def test_without_a_key_it_is_for_this_machine(host: str) -> None:
    for named in ("127.0.0.1:8000", "localhost", "localhost:1", "[::1]:8000", "127.0.0.2"):
        assert allowed(host, {"Host": named})
        assert allowed(host, {"Host": named, "Origin": f"http://{named}"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "rebound.example"},
        {"Host": "rebound.example:8000"},
        {"Host": "localhost.rebound.example"},
        {"Host": "127.0.0.1.rebound.example"},
        {"Host": "127.0.0.1@rebound.example"},
        {"Host": "[::1"},
        {"Host": "8.8.8.8:8000"},
        {"Host": ""},
        {"Host": "127.0.0.1:8000", "Origin": "https://page.example"},
        {"Host": "127.0.0.1:8000", "Origin": "null"},
        {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:3000"},
        {"Host": "127.0.0.1:8000", "Origin": "http://localhost:8000"},
        {"Host": "127.0.0.1:8000", "Origin": "http://[::1"},
        {"Host": "127.0.0.1:8000", "X-Forwarded-For": "8.8.8.8"},
        {"Host": "127.0.0.1:8000", "Forwarded": "for=8.8.8.8"},
    ],
    ids=range(16),
)
def test_a_page_in_a_browser_here_or_a_proxy_here_is_not_this_machine(
    headers: dict[str, str],
) -> None:
    assert not allowed("127.0.0.1", headers)


def test_a_key_is_compared_as_it_is_sent() -> None:
    access = Access("schlüssel", "0.0.0.0")
    access.check(make_mocked_request("GET", CACHE, {"Authorization": "Bearer schlüssel"}))
    for given in ("schlussel", "Schlüssel", "schlüssel2", "schl"):
        with pytest.raises(KeyNeeded):
            access.check(make_mocked_request("GET", CACHE, {"Authorization": f"Bearer {given}"}))


async def test_a_key_that_is_no_text_is_another_key(
    start_edge: StartEdge, with_key: Settings
) -> None:
    edge = await start_edge(settings=with_key, ready=False)
    reader, writer = await asyncio.open_connection(edge.client.host, edge.client.port)
    writer.write(b"GET /v1/admin/cache HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_without_a_key_a_server_on_loopback_can_be_looked_after(edge: Edge) -> None:
    assert (await edge.client.get(CACHE)).status == 200
    for path in (ADMIN, f"{ADMIN}/", f"{CACHE}/nothing"):
        assert (await edge.client.get(path)).status == 404
    answer = await edge.client.put(CACHE)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    answer = await edge.client.get(CACHE, headers={"Host": "rebound.example"})
    assert answer.status == 403


async def test_the_key_is_in_no_log(
    start_edge: StartEdge, with_key: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    edge = await start_edge(settings=with_key)
    for headers in (BEARER, {"Authorization": f"Bearer {KEY} not"}):
        for method, path in (*ROUTES, *NOWHERE):
            await edge.client.request(method, path, headers=headers)
    await edge.stop()
    assert CACHE in caplog.text
    assert KEY not in caplog.text
    assert KEY not in repr(with_key)


async def test_the_text_that_is_asked_for_is_in_no_log(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await ids_at(edge, text="Marmalade.")
    await purge(edge, text="Marmalade.")
    await edge.stop()
    # `proxy.serve` has no log of accesses but ours.
    ours = [each.getMessage() for each in caplog.records if each.name != "aiohttp.access"]
    assert CACHE in "".join(ours)
    assert "armalade" not in "".join(ours)


async def test_stats_tell_of_disk_memory_and_what_has_happened(edge: Edge) -> None:
    await edge.say("One. Two.")
    assert (await edge.say("One. Two.")).outcome == HIT
    found = await stats(edge)
    pinned, traffic = found.stores
    assert (pinned.entries, traffic.entries) == (0, 3)
    assert {kind: share.entries for kind, share in traffic.by_kind.items()} == {
        "clip": 2,
        "rendition": 1,
    }
    assert found.memory is not None and found.counts is not None
    assert found.memory.entries == 3
    assert found.memory.size_bytes > 0
    assert found.counts.memory_hits == 1
    assert found.counts.stored == 3


async def test_entries_are_listed_by_what_is_asked_for(edge: Edge) -> None:
    await edge.say("One. Two.")
    await edge.say("One.", voice="af_bella+af_sky", response_format="wav")
    assert len(await ids_at(edge)) == 5
    assert len(await ids_at(edge, voice="af_sky")) == 2
    assert len(await ids_at(edge, kind="rendition")) == 2
    assert len(await ids_at(edge, text="Two.")) == 2
    assert len(await ids_at(edge, text="One.", kind="clip")) == 2
    assert await ids_at(edge, older_than_s="1000") == set()
    assert await ids_at(edge, tier="pinned") == set()


async def test_what_is_listed_is_addressed_by_its_id(edge: Edge) -> None:
    heard = await edge.say("One.", response_format="wav")
    [id] = await ids_at(edge, kind="rendition")
    answer = await edge.client.get(f"/v1/audio/clips/{id}.wav")
    assert await answer.read() == heard.body


ASKED_WRONGLY: tuple[tuple[str, str, bytes | None, str | None], ...] = (
    ("GET", "/entries?colour=red", None, "colour"),
    ("GET", "/entries?kind=song", None, "kind"),
    ("GET", "/entries?tier=top", None, "tier"),
    ("GET", "/entries?older_than_s=-1", None, "older_than_s"),
    ("GET", "/entries?older_than_s=nan", None, "older_than_s"),
    ("GET", "/entries?voice=af_bela", None, "voice"),
    ("GET", "/entries?text=...", None, "text"),
    ("GET", f"/entries?text={'a' * 4097}", None, "text"),
    ("GET", "/export?colour=red", None, "colour"),
    ("POST", "/verify", b'{"repair": 1}', "repair"),
    ("POST", "/verify", b'{"mend": true}', "mend"),
    ("POST", "/verify", b"[]", None),
    ("POST", "/purge", b"", None),
    ("POST", "/purge", b"{}", None),
    ("POST", "/purge", b"{", None),
    ("POST", "/purge", b'{"all": false}', "all"),
    ("POST", "/purge", b'{"all": true, "voice": "af_sky"}', None),
    ("POST", "/purge", b'{"everything": true}', "everything"),
    ("POST", "/purge", b'{"older_than_s": "5"}', "older_than_s"),
    ("POST", "/purge", b'{"voice": "af_bela"}', "voice"),
    ("POST", "/purge", b'{"text": "..."}', "text"),
    ("POST", "/import", b"no tar", None),
)
"""Method, path, body, and the field that is at fault."""


async def test_what_is_asked_wrongly_is_told_and_changes_nothing(edge: Edge) -> None:
    await edge.say("One.")
    before = await ids_at(edge)
    for method, path, body, param in ASKED_WRONGLY:
        answer = await edge.client.request(method, CACHE + path, data=body)
        assert answer.status == 400, (path, body)
        assert (await error_of(answer))["param"] == param, (path, body)
    assert await ids_at(edge) == before


async def test_verifying_tells_what_is_wrong_and_repairs_on_demand(edge: Edge) -> None:
    await edge.say("One.", response_format="wav")
    disk = disk_of(edge)
    bent = rendition("Bent.")
    await put_all(edge, "traffic", bent)
    await asyncio.to_thread(damage, folder_of(disk.traffic), bent)
    for repair in (False, True):
        steps = await verify(edge, repair)
        assert [step for step in steps if isinstance(step, Problem)] == [
            Problem("its payload does not match its checksum", bent.key.id, "traffic", repair)
        ]
        assert steps[-1] == Verified(3, 1, int(repair))
    assert (await verify(edge))[-1] == Verified(2, 0, 0)
    assert (await edge.say("One.", response_format="wav")).outcome == HIT


async def test_what_was_purged_is_served_neither_from_disk_nor_from_memory(edge: Edge) -> None:
    for text in ("My name is Ann. Goodbye.", "Goodbye.", "My name is Bob."):
        await edge.say(text)
    purged = await purge(edge, text="My name is Ann.")
    assert isinstance(purged, Purged)
    assert purged.entries == 2
    assert (await edge.say("Goodbye.")).outcome == HIT
    assert (await edge.say("My name is Bob.")).outcome == HIT
    assert (await edge.say("My name is Ann. Goodbye.")).outcome == MISS
    assert edge.syntheses() == {"My name is Ann.": 2, "Goodbye.": 1, "My name is Bob.": 1}


async def test_purging_by_voice_reaches_blends(edge: Edge) -> None:
    await edge.say("One.", voice="af_sky")
    await edge.say("One.", voice="af_sky+am_adam")
    await edge.say("One.", voice="am_adam")
    purged = await purge(edge, voice="af_sky")
    assert isinstance(purged, Purged)
    assert purged.entries == 4
    assert (await edge.say("One.", voice="am_adam")).outcome == HIT
    assert (await edge.say("One.", voice="af_sky")).outcome == MISS


async def test_everything_can_be_purged(edge: Edge) -> None:
    await edge.say("One. Two.")
    assert isinstance(await purge(edge, older_than_s=1000.0), Purged)
    assert len(await ids_at(edge)) == 3
    await purge(edge, all=True)
    assert await ids_at(edge) == set()
    found = await stats(edge)
    assert found.memory is not None and found.memory.entries == 0
    assert (await edge.say("One. Two.")).outcome == MISS


async def test_what_was_exported_is_served_again_once_it_is_imported(edge: Edge) -> None:
    await edge.say("One. Two.")
    said = await edge.say("One. Two.")
    answer = await edge.client.get(f"{CACHE}/export")
    assert (answer.status, answer.content_type) == (200, "application/x-tar")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    archive = await answer.read()
    here = await ids_at(edge)
    await purge(edge, all=True)
    steps = await told(await edge.client.post(f"{CACHE}/import", data=archive))
    assert steps[-1] == Imported(3, 0, 0, 0)
    assert await ids_at(edge) == here
    again = await edge.say("One. Two.")
    assert (again.outcome, again.body) == (HIT, said.body)
    assert edge.syntheses() == {"One.": 1, "Two.": 1}
    steps = await told(await edge.client.post(f"{CACHE}/import", data=archive))
    assert steps[-1] == Imported(0, 3, 0, 0)


async def test_only_what_is_selected_is_exported(edge: Edge) -> None:
    await edge.say("One.")
    await edge.say("Two.", voice="af_sky")
    answer = await edge.client.get(f"{CACHE}/export", params={"voice": "af_sky"})
    archive = await answer.read()
    await purge(edge, all=True)
    await told(await edge.client.post(f"{CACHE}/import", data=archive))
    assert (await edge.say("Two.", voice="af_sky")).outcome == HIT
    assert (await edge.say("One.")).outcome == MISS


async def test_an_archive_may_be_larger_than_any_other_body_and_leaves_no_file(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=with_server(settings, max_body_bytes=2048))
    await edge.say("A sentence that is long enough to have a clip of more than two kilobytes.")
    archive = await (await edge.client.get(f"{CACHE}/export")).read()
    assert len(archive) > 4096
    await purge(edge, all=True)
    steps = await told(await edge.client.post(f"{CACHE}/import", data=archive))
    assert steps[-1] == Imported(2, 0, 0, 0)
    audio = settings.cache.directory / "audio"
    assert {path.name for path in audio.iterdir()} == {"lock", "owner.json", "pinned", "traffic"}
    answer = await edge.client.post(f"{CACHE}/verify", data=b" " * 4096)
    assert answer.status == 413


async def test_a_flipped_bit_is_told_and_not_imported(edge: Edge) -> None:
    await edge.say("One.")
    archive = await (await edge.client.get(f"{CACHE}/export")).read()
    here = await ids_at(edge)
    await purge(edge, all=True)
    place = archive.index(b"fLaC") + 60
    steps = await told(await edge.client.post(f"{CACHE}/import", data=flipped(archive, place)))
    [problem] = [step for step in steps if isinstance(step, Problem)]
    assert "checksum" in problem.what
    assert steps[-1] == Imported(1, 0, 0, 1)
    assert await ids_at(edge) == here - {problem.id}


async def test_requests_are_answered_while_the_cache_is_looked_after(
    start_edge: StartEdge, settings: Settings
) -> None:
    entries = [clip(f"{number}.") for number in range(300)]
    await asyncio.to_thread(stock, settings.cache.directory, *entries)
    edge = await start_edge()
    await edge.say("One.")
    verifying = asyncio.create_task(verify(edge))
    while not verifying.done():
        assert (await edge.say("One.")).outcome == HIT
    assert (await verifying)[-1] == Verified(302, 0, 0)


async def test_a_storage_that_fails_before_there_is_an_answer_is_a_503(edge: Edge) -> None:
    disk = disk_of(edge)
    await edge.say("One.")
    await disk.run(disk.traffic.close)
    for method, path in ROUTES[:3]:
        answer = await edge.client.request(method, path)
        assert answer.status == 503
        error = await error_of(answer)
        assert error["code"] == "cache_unavailable"
        assert "not open" in error["message"]
    answer = await edge.client.post(f"{CACHE}/purge", json={"all": True})
    assert answer.status == 503


async def test_a_disk_that_does_not_answer_is_a_503(
    tmp_path: Path, aiohttp_client: AiohttpClient
) -> None:
    async with Audio(tmp_path / "audio").opened() as disk:
        memory = MemoryTier(MIB)
        cache = TieredCache(memory, disk, disk.counts)
        access = Access(None, "127.0.0.1")
        app = web.Application(middlewares=[around(RequestLog())])
        admin = CacheAdminApi(disk, memory, cache, Keeping(), step_deadline_s=0.05)
        add_admin_routes(app, access, admin.handlers())
        client = await aiohttp_client(app)
        answers = threading.Event()
        stuck = asyncio.create_task(disk.run(answers.wait))
        for path in ("", "/entries", "/export"):
            answer = await client.get(CACHE + path)
            assert answer.status == 503
            assert "does not answer" in (await error_of(answer))["message"]
        answers.set()
        assert await stuck
        assert (await client.get(CACHE)).status == 200


async def test_a_storage_that_fails_later_is_told_in_the_last_line(edge: Edge) -> None:
    disk = disk_of(edge)
    pinned = clip("Pinned.")
    await put_all(edge, "pinned", pinned)
    await disk.run(disk.traffic.close)
    answer = await edge.client.get(f"{CACHE}/entries")
    assert answer.status == 200
    first, last = (await answer.read()).splitlines()
    assert json.loads(first)["id"] == pinned.key.id
    assert json.loads(last)["error"]["code"] == "cache_unavailable"


async def test_an_archive_that_breaks_off_does_not_end_as_a_whole_one_does(edge: Edge) -> None:
    disk = disk_of(edge)
    # More than the connection holds while nobody reads.
    many = [replace(rendition(f"{number}."), payload=bytes(MIB), digest="") for number in range(32)]
    await put_all(edge, "traffic", *many)
    async with edge.client.get(f"{CACHE}/export") as answer:
        assert answer.status == 200
        await answer.content.readexactly(BLOCKSIZE)
        await disk.run(disk.traffic.close)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_disk_without_room_for_an_archive_is_a_503(edge: Edge) -> None:
    await edge.say("One.")
    archive = bytes(MIB)
    with no_file_beyond(MIB // 2):
        answer = await edge.client.post(f"{CACHE}/import", data=archive)
    assert answer.status == 503
    assert (await error_of(answer))["code"] == "cache_unavailable"


def test_settings_do_not_show_the_key() -> None:
    assert KEY not in repr(ServerSettings(admin_key=SecretStr(KEY)))
