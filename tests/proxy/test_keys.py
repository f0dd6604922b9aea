"""API keys: who may ask, how often, and what is told to whom."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from yarl import URL

from proxy.api.api_keys import ApiKey, ApiKeys, build_keys
from proxy.api.gate import OPEN, Gate, build_gate
from proxy.api.rate_limit import RateLimit
from proxy.app import build_app
from proxy.layers import SettingsError
from proxy.settings import AuthSettings, Settings
from tests.proxy.conftest import HIT, MISS, SPEECH, Edge, StartEdge, outcome_of

DESK, SALES, ADMIN = "desk-key-0123456789", "sales-key-0123456789", "the admin's own key"
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
AS_DESK, AS_SALES = ({"Authorization": f"Bearer {key}"} for key in (DESK, SALES))
WRONG = {"Authorization": "Bearer desk-key-012345678x"}
KEYS = AuthSettings(keys={"desk": SecretStr(DESK), "sales": SecretStr(SALES)})
HELLO = {"input": "Hello there.", "response_format": "wav"}


@pytest.fixture
def with_keys(settings: Settings) -> Settings:
    return replace(settings, auth=KEYS)


def with_admin(settings: Settings, key: str = ADMIN) -> Settings:
    return replace(settings, server=replace(settings.server, admin_key=SecretStr(key)))


async def error_of(answer: Any) -> dict[str, Any]:
    body = await answer.json()
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert DESK not in error["message"] and SALES not in error["message"]
    return dict(error)


async def get(edge: Edge, path: str, headers: Mapping[str, str] = AS_DESK) -> Any:
    return await edge.client.get(path, headers=headers)


async def post(edge: Edge, headers: Mapping[str, str], body: Any = HELLO) -> Any:
    return await edge.client.post(SPEECH, json=body, headers=headers)


def limited(settings: Settings, per_minute: int, **by_key: int) -> Settings:
    auth = replace(KEYS, requests_per_minute=per_minute, requests_per_minute_by_key=by_key)
    return replace(settings, auth=auth)


async def test_every_route_wants_a_key_but_those_that_tell_nothing(
    start_edge: StartEdge, with_keys: Settings
) -> None:
    edge = await start_edge(settings=with_keys, ready=False)
    server = edge.client.server
    assert isinstance(server, TestServer)
    app = server.app
    seen = set()
    for route in app.router.routes():
        assert route.resource is not None
        canonical = route.resource.canonical
        seen.add(canonical)
        path = canonical.replace("{id}", "0" * 32).replace("{ext}", "mp3")
        path = path.replace("{base_rate_hz}", "8000")
        path = path.replace("{signature}", f"0-{'A' * 22}")
        path = re.sub(r"\{.*?\}", "something", path)
        method = "GET" if route.method == "*" else route.method
        answer = await edge.client.request(method, path)
        if canonical in OPEN:
            assert answer.status in (200, 503), path
        elif "{signature}" in canonical or canonical.startswith("/v1/admin"):
            assert answer.status not in (401, 429), path  # They ask for something of their own.
        else:
            assert answer.status == 401, path
    assert SPEECH in seen and "/health/ready" in seen
    for path in ("/v1/nothing", "/nothing", "/v1/audio/speech/", "/v1//audio/speech"):
        assert (await edge.client.get(path)).status == 401


async def test_no_key_another_key_and_a_right_one(
    start_edge: StartEdge, with_keys: Settings
) -> None:
    edge = await start_edge(settings=with_keys)
    for headers in (
        {},
        {"Authorization": f"Basic {DESK}"},
        {"Authorization": "Bearer "},
        {"X-VAPI-SECRET": DESK},
        {"xi-api-key": DESK},
        {"api-key": DESK},
    ):
        answer = await post(edge, headers)
        error = await error_of(answer)
        assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        assert (error["type"], error["code"]) == ("invalid_request_error", None)
    for headers in (WRONG, {"Authorization": "Bearer kéy"}, {"Authorization": f"Bearer {DESK} x"}):
        answer = await post(edge, headers)
        error = await error_of(answer)
        assert answer.status == 401
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert edge.syntheses() == {}
    for key in (f"Bearer {DESK}", f"bearer  {DESK} ", f"BEARER {SALES}"):
        assert (await post(edge, {"Authorization": key})).status == 200


async def test_a_key_in_the_query_is_none(start_edge: StartEdge, with_keys: Settings) -> None:
    edge = await start_edge(settings=with_keys, ready=False)
    assert (await get(edge, f"/v1/models?api_key={DESK}&key={DESK}", {})).status == 401
    assert (await get(edge, "/v1/models")).status == 200


async def test_an_api_key_is_not_for_administration(
    start_edge: StartEdge, with_keys: Settings
) -> None:
    edge = await start_edge(settings=with_admin(with_keys), ready=False)
    answer = await get(edge, "/v1/admin/keys", AS_DESK)
    assert answer.status == 403
    assert (await error_of(answer))["code"] == "insufficient_permissions"
    assert (await get(edge, "/v1/admin/keys", WRONG)).status == 401
    assert (await get(edge, "/v1/admin/keys", {})).status == 401
    assert (await get(edge, "/v1/models", AS_ADMIN)).status == 401
    await get(edge, "/v1/models", AS_SALES)
    counted = await (await get(edge, "/v1/admin/keys", AS_ADMIN)).json()
    assert counted == {
        "keys": [
            {"name": "desk", "requests": 0, "limited": 0},
            {"name": "sales", "requests": 1, "limited": 0},
        ],
        "refused": 1,
    }


async def test_with_api_keys_and_no_key_of_its_own_administration_is_off_on_this_machine_too(
    start_edge: StartEdge, with_keys: Settings
) -> None:
    edge = await start_edge(settings=with_keys, ready=False)
    for headers in ({}, AS_DESK, WRONG):
        answer = await get(edge, "/v1/admin/keys", headers)
        assert answer.status == 403
        error = await error_of(answer)
        assert error["code"] == "administration_off"
        assert "set server.admin_key for the server, and for the commands" in error["message"]


def test_a_key_for_speech_and_administration_is_a_mistake(with_keys: Settings) -> None:
    with pytest.raises(SettingsError, match=r"server\.admin_key is one of auth\.keys") as wrong:
        build_app(with_admin(with_keys, SALES))
    assert SALES not in str(wrong.value) and "'sales'" not in str(wrong.value)
    build_app(with_admin(with_keys))


def test_what_signs_for_a_key_is_derived_once() -> None:
    derived: list[str] = []

    def derive() -> bytes:
        derived.append("desk")
        return b"what signs"

    keys = ApiKeys([ApiKey("desk", b"", cache(derive), 60)])
    assert derived == []
    keys.derive()
    assert [key.signing for key in keys.all] == [b"what signs"]
    assert keys.all[0].signature("a.wav") == keys.all[0].signature("a.wav")
    assert derived == ["desk"]


async def test_without_keys_nothing_is_asked_for_nor_counted(edge: Edge) -> None:
    assert (await post(edge, WRONG)).status == 200
    assert await (await get(edge, "/v1/admin/keys", {})).json() == {"keys": [], "refused": 0}


async def test_the_log_names_who_asked_and_shows_no_key_and_no_signature(
    start_edge: StartEdge, with_keys: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await start_edge(settings=with_keys)
    with caplog.at_level(logging.DEBUG):
        for headers in (AS_DESK, AS_DESK, WRONG, {}):
            answer = await post(edge, headers)
            if answer.status == 200:
                address = answer.headers["Content-Location"]
        await get(edge, address, {})
        for spelt in (f"{address}/", address.upper(), address.replace("-", "%2D")):
            await edge.client.get(URL(spelt, encoded=True))
        await edge.client.post(address)
        await edge.stop()
    lines = [line for line in caplog.messages if line.startswith(("POST", "GET"))]
    assert [line.endswith(" key=desk") for line in lines] == [True] * 2 + [False] * 7
    assert "refused error=invalid_api_key" in lines[2]
    assert "refused error=invalid_request_error" in lines[3]
    signature = address.split("/")[-2]
    assert lines[4].startswith(f"GET {address.replace(signature, '-')} 200 ok")
    told = "\n".join(each.getMessage() for each in caplog.records if each.name[:5] == "proxy")
    mac = signature.partition("-")[2]
    assert not re.search(f"{DESK}|{WRONG['Authorization'][7:]}|{mac}|{mac.upper()}", told)


async def test_a_reply_tells_an_address_that_needs_no_key(
    start_edge: StartEdge, with_keys: Settings
) -> None:
    edge = await start_edge(settings=with_keys)
    said: dict[str, set[str]] = {}
    for name, headers in (("desk", AS_DESK), ("sales", AS_SALES)):
        for outcome in (MISS if name == "desk" else HIT, HIT):
            answer = await post(edge, headers)
            assert outcome_of(answer.headers) == outcome
            body = await answer.read()
            said.setdefault(name, set()).add(answer.headers["Content-Location"])
    (desk,), (sales,) = said["desk"], said["sales"]
    assert desk != sales and desk.endswith(".wav")
    for address in (desk, sales):
        fetched = await get(edge, address, {})
        assert fetched.status == 200 and await fetched.read() == body
        scope, max_age = fetched.headers["Cache-Control"].split(", ")
        assert scope == "public"
        assert 7 * 86_400 - 60 <= int(max_age.removeprefix("max-age=")) <= 14 * 86_400
        tag = fetched.headers["ETag"]
        assert (await get(edge, address, {"If-None-Match": tag})).status == 304
        assert (await get(edge, address, {"Range": "bytes=2-3"})).status == 206
        assert (await edge.client.head(address)).status == 200


async def test_an_address_without_its_signature_needs_a_key_and_is_not_for_shared_caches(
    start_edge: StartEdge, with_keys: Settings
) -> None:
    edge = await start_edge(settings=with_keys)
    signed = (await post(edge, AS_DESK)).headers["Content-Location"]
    plain = re.sub("/clips/[^/]+/", "/clips/", signed)
    assert (await get(edge, plain, {})).status == 401
    fetched = await get(edge, plain, AS_SALES)
    assert fetched.status == 200
    assert fetched.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    # Nor does a key help where the signature is wrong.
    forged = signed.replace("/clips/", "/clips/1")
    for headers in ({}, AS_DESK):
        answer = await get(edge, forged, headers)
        assert answer.status == 403
        assert (await error_of(answer))["code"] == "signature_refused"


async def test_taking_a_key_away_takes_its_addresses_away_and_no_others(
    start_edge: StartEdge, with_keys: Settings
) -> None:
    edge = await start_edge(settings=with_keys)
    by_desk = (await post(edge, AS_DESK)).headers["Content-Location"]
    by_sales = (await post(edge, AS_SALES)).headers["Content-Location"]
    await edge.stop()
    only_sales = replace(with_keys, auth=AuthSettings(keys={"sales": SecretStr(SALES)}))
    edge = await start_edge(settings=only_sales)
    assert (await get(edge, by_desk, {})).status == 403
    assert (await get(edge, by_sales, {})).status == 200
    await edge.stop()
    # Without any keys everything is open, and addresses that were given away still lead there.
    edge = await start_edge(settings=replace(with_keys, auth=AuthSettings()))
    assert (await get(edge, by_desk, {})).status == 200


async def test_addresses_in_the_phrasebook_can_be_fetched(
    start_edge: StartEdge, with_keys: Settings
) -> None:
    edge = await start_edge(settings=with_admin(with_keys))
    book = await (await get(edge, "/v1/admin/phrasebooks/little", AS_ADMIN)).json()
    [address] = book["phrases"][0]["addresses"].values()
    assert (await get(edge, address, {})).status == 404  # Not rendered yet, and not forbidden.


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_limit_lets_a_minute_s_worth_through_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    limit = RateLimit(30, clock)
    assert [limit.take() for _ in range(30)] == [0] * 30
    assert limit.left() == (0, 60)
    assert limit.take() == 2_000
    clock.now_s += 1.999
    assert limit.take() == 1
    clock.now_s += 0.001
    assert (limit.take(), limit.take()) == (0, 2_000)
    clock.now_s += 600
    assert limit.left() == (30, 0)


@given(st.integers(1, 6_000), st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_never_more_than_the_limit_allows_and_who_waits_as_told_is_let_in(
    per_minute: int, pauses_s: list[float]
) -> None:
    clock = Clock()
    began_s = clock.now_s
    limit = RateLimit(per_minute, clock)
    admitted = 0
    for pause_s in pauses_s:
        clock.now_s += pause_s
        wait_ms = limit.take()
        if wait_ms:
            clock.now_s += wait_ms / 1000
            assert limit.take() <= 1  # The clock's own milliseconds.
        admitted += 1
        assert 0 <= limit.left()[0] <= per_minute
    assert admitted <= per_minute + (clock.now_s - began_s + 0.002) * per_minute / 60 + 2


async def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_kept(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=with_admin(limited(settings, 2, sales=1_000)))
    left = []
    for _ in range(2):
        answer = await post(edge, AS_DESK)
        assert answer.status == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        left.append(answer.headers["x-ratelimit-remaining-requests"])
    assert left == ["1", "0"]
    refused = await post(edge, AS_DESK)
    error = await error_of(refused)
    assert refused.status == 429
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert 1 <= int(refused.headers["retry-after-ms"]) <= 30_000
    assert re.fullmatch(r"\d+\.\d{3}s", refused.headers["x-ratelimit-reset-requests"])
    for _ in range(5):
        assert (await post(edge, AS_SALES)).status == 200
        assert (await post(edge, WRONG)).status == 401
    counted = await (await get(edge, "/v1/admin/keys", AS_ADMIN)).json()
    assert counted["keys"][0] == {"name": "desk", "requests": 2, "limited": 1}
    assert counted["refused"] == 5


def test_a_limit_for_a_key_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="'dsek'"):
        build_gate(build_keys(KEYS), None, {"dsek": 5})
    with pytest.raises(SettingsError, match="'desk'"):
        build_gate(None, None, {"desk": 5})
    assert build_gate(None, 60, {}) is None


async def test_the_client_of_openai_knows_these_errors(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=with_admin(limited(settings, 1)))
    url = str(edge.client.make_url("/v1"))

    async def ask(key: str) -> bytes:
        async with openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=0) as client:
            answer = await client.audio.speech.create(
                model="tts-1", voice="af_bella", input="Hello there."
            )
            return await answer.aread()

    with pytest.raises(openai.AuthenticationError) as unknown:
        await ask("sk-of-somebody-else")
    assert (unknown.value.code, unknown.value.type) == ("invalid_api_key", "invalid_request_error")
    async with openai.AsyncOpenAI(api_key=DESK, base_url=url, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as denied:
            await client.get("/admin/keys", cast_to=object)
    assert denied.value.code == "insufficient_permissions"
    assert await ask(DESK)
    with pytest.raises(openai.RateLimitError) as often:
        await ask(DESK)
    assert (often.value.code, often.value.type) == ("rate_limit_exceeded", "requests")


def gate_of(*keys: str) -> Gate:
    settings = AuthSettings(keys={f"key{n}": SecretStr(key) for n, key in enumerate(keys)})
    found = build_gate(build_keys(settings), None, {})
    assert found is not None
    return found


FOUND = build_keys(KEYS)


@given(st.text(max_size=40) | st.sampled_from([DESK[:-1], f"{DESK} ", DESK.upper(), SALES[1:]]))
def test_nothing_but_a_key_is_a_key(presented: str) -> None:
    assert FOUND is not None and FOUND.find(presented) is None
    assert [FOUND.find(key) for key in (DESK, SALES)] == list(FOUND.all)


async def test_vapi_s_header_is_taken_on_its_own_address_and_nowhere_else() -> None:
    gate = gate_of(DESK)
    seen = []

    async def note(request: web.Request) -> web.Response:
        gate.admit(request)
        seen.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/webhooks/vapi", note)
    app.router.add_post("/v1/webhooks/other", note)
    for path in ("/v1/webhooks/vapi", "/v1/webhooks/other"):
        request = make_mocked_request("POST", path, headers={"X-VAPI-SECRET": DESK}, app=app)
        match = await app.router.resolve(request)
        match.add_app(app)
        request._match_info = match
        try:
            await match.handler(request)
        except Exception:
            continue
    assert seen == ["/v1/webhooks/vapi"]
