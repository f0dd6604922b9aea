"""Phrasebooks, rendered before anybody asks: at the start, when edited, and when it is said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from proxy.api.access import Access
from proxy.api.admin_routes import add_admin_routes
from proxy.api.middleware import around
from proxy.api.phrasebook_admin import PhrasebookAdminApi
from proxy.api.request_log import RequestLog
from proxy.app import POOL
from proxy.parts import build_parts
from proxy.phrasebook.book import PhrasebookError
from proxy.phrasebook.reading.read import read_books, shipped_directory
from proxy.settings import MineSettings, PhrasebookSettings, Settings, WarmSettings
from tests.proxy.conftest import HIT, MISS, SCRIPTED_ENGINE, Barrier, Edge, StartEdge

BOOK = "name: test\nvoices: [af_bella]\nformats: [pcm]\nphrases:\n"
WARM = "/v1/admin/warm"
BOOKS = "/v1/admin/phrasebooks"


def write(directory: Path, content: str, name: str = "book.yaml") -> Path:
    directory.mkdir(exist_ok=True, parents=True)
    (directory / name).write_text(content, encoding="utf-8")
    return directory


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """The folder of `with_books`."""
    return tmp_path / "books"


@pytest.fixture
def with_books(settings: Settings, books: Path) -> Settings:
    """Settings that render the phrasebooks of `books` at the start."""
    return replace(settings, phrasebook=PhrasebookSettings(directory=books), warm=WarmSettings())


@pytest.fixture
def not_at_start(with_books: Settings) -> Settings:
    """The same, where nothing is rendered before it is said."""
    return replace(with_books, warm=WarmSettings(at_start=False, on_change=False))


async def lines_of(edge: Edge, **asked: Any) -> list[dict[str, Any]]:
    """What `POST /v1/admin/warm` tells."""
    answer = await edge.client.post(WARM, json=asked)
    assert answer.status == 200, await answer.text()
    return [json.loads(line) for line in (await answer.text()).splitlines()]


async def warmed(edge: Edge, **asked: Any) -> dict[str, Any]:
    """The last line of a warm-up that came to its end."""
    last = (await lines_of(edge, **asked))[-1]
    assert last["step"] == "warmed"
    return last


async def settled(edge: Edge) -> dict[str, Any]:
    """What the books are like once no warm-up runs, and one has come to its end."""
    async with asyncio.timeout(30):
        while True:
            told: dict[str, Any] = await (await edge.client.get(BOOKS)).json()
            if told["running"] is None and told["last"] is not None:
                return told


async def states_of(edge: Edge, book: str = "test") -> dict[str, str]:
    """What has become of each phrase of a book, by its text."""
    answer = await edge.client.get(f"{BOOKS}/{book}")
    assert answer.status == 200, await answer.text()
    return {phrase["text"]: phrase["state"] for phrase in (await answer.json())["phrases"]}


async def all_are_hits(edge: Edge, texts: list[str], formats: tuple[str, ...] = ("pcm",)) -> None:
    for text in texts:
        for format in formats:
            heard = await edge.say(text, response_format=format)
            assert (heard.status, heard.outcome) == (200, HIT), text


# At the start.


async def test_a_server_starts_without_a_book_that_is_broken_and_says_so(
    start_edge: StartEdge, not_at_start: Settings, books: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(books, BOOK)
    write(books, BOOK.replace("test", "other") + "  - Two.\n", "other.yaml")
    edge = await start_edge(settings=not_at_start)
    assert "book.yaml:4: phrases" in caplog.text
    assert (await (await edge.client.get("/health")).json())["phrasebook_problems"] == 1
    assert await states_of(edge, "other") == {"Two.": "missing"}
    assert (await warmed(edge))["problems"] == 1


async def test_a_folder_without_a_book_keeps_a_server_from_starting(
    start_edge: StartEdge, with_books: Settings, books: Path
) -> None:
    write(books, "not a book", "notes.txt")
    with pytest.raises(PhrasebookError, match="holds no phrasebook"):
        await start_edge(settings=with_books)


async def test_a_folder_that_is_not_there_keeps_a_server_from_starting(
    start_edge: StartEdge, with_books: Settings
) -> None:
    with pytest.raises(PhrasebookError, match="is not a folder of phrasebooks"):
        await start_edge(settings=with_books)


async def test_a_book_that_is_named_and_not_there_keeps_a_server_from_starting(
    start_edge: StartEdge, with_books: Settings, books: Path
) -> None:
    write(books, BOOK + "  - Hello there.\n")
    named = replace(with_books.phrasebook, books=("tests",))
    with pytest.raises(PhrasebookError, match=r"no book named 'tests'.* Did you mean 'test'"):
        await start_edge(settings=replace(with_books, phrasebook=named))


async def test_of_the_shipped_books_the_american_one_is_used_unless_others_are_named(
    start_edge: StartEdge, settings: Settings
) -> None:
    shipped = PhrasebookSettings()
    edge = await start_edge(settings=replace(settings, phrasebook=shipped))
    told = await (await edge.client.get(BOOKS)).json()
    assert [book["name"] for book in told["books"]] == ["telephone-en-us"]
    chosen = PhrasebookSettings(books=("telephone-it", "telephone-hi"))
    await edge.stop()
    edge = await start_edge(settings=replace(settings, phrasebook=chosen))
    told = await (await edge.client.get(BOOKS)).json()
    assert [book["name"] for book in told["books"]] == ["telephone-hi", "telephone-it"]
    await edge.stop()
    every = PhrasebookSettings(books=("all",))
    edge = await start_edge(settings=replace(settings, phrasebook=every))
    told = await (await edge.client.get(BOOKS)).json()
    assert len(told["books"]) == len(read_books(shipped_directory()).books)


async def test_phrases_are_hits_in_every_format_and_voice_and_are_made_once(
    start_edge: StartEdge, with_books: Settings, books: Path, barrier: Barrier
) -> None:
    formats = "[mp3, wav, pcm, {codec: pcm, sample_rate: 8000}]"
    write(
        books,
        f"name: test\nvoices: [af_bella, af_sky]\nspeeds: [1.0, 1.25]\nformats: {formats}\n"
        f"phrases:\n  - Hello there.\n  - {{text: '{barrier.text}', voices: [af_bella]}}\n",
    )
    edge = await start_edge(settings=with_books)
    await barrier.reached()  # The last of all phrases: the others are rendered.
    made = edge.syntheses()
    assert made["Hello there."] == 4
    for voice in ("af_bella", "af_sky"):
        for speed in (1.0, 1.25):
            for format in ("mp3", "wav", "pcm", "pcm_8000"):
                fields = {"voice": voice, "speed": speed, "response_format": format}
                assert (await edge.say("Hello there.", **fields)).outcome == HIT
    heard = await edge.say("Hello there.", response_format="pcm", sample_rate=8000)
    assert heard.outcome == HIT
    assert edge.syntheses() == made
    await barrier.release()


async def test_what_has_a_higher_priority_is_rendered_first(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    phrases = ["One.", "{text: Two., priority: 5}", "{text: Three., priority: -5}"]
    write(books, BOOK + "".join(f"  - {phrase}\n" for phrase in phrases), "a.yaml")
    write(books, BOOK.replace("test", "other") + "  - {text: Four., priority: 7}\n", "b.yaml")
    edge = await start_edge(settings=not_at_start)
    await warmed(edge)
    made = edge.log.read_text(encoding="utf-8").splitlines()
    assert made == ["Four.", "Two.", "One.", "Three."]


async def test_what_is_cached_already_is_not_made_again_at_the_next_start(
    start_edge: StartEdge, with_books: Settings, books: Path, barrier: Barrier
) -> None:
    write(books, BOOK + f"  - One.\n  - Two.\n  - {barrier.text}\n")
    edge = await start_edge(settings=with_books)
    await barrier.release()
    await all_are_hits(edge, ["One.", "Two."])
    await edge.stop()
    again = Barrier(barrier.path.with_name("again"))
    write(books, BOOK + f"  - One.\n  - Two.\n  - {again.text}\n  - Three.\n")
    edge = await start_edge(settings=with_books)
    await again.release()
    await settled(edge)
    await all_are_hits(edge, ["One.", "Two.", "Three."])
    made = edge.syntheses()
    assert [made[text] for text in ("One.", "Two.", "Three.")] == [1, 1, 1]


async def test_the_server_is_ready_once_the_engine_is_up(
    start_edge: StartEdge, with_books: Settings, books: Path, barrier: Barrier
) -> None:
    write(books, BOOK + f"  - {barrier.text}\n")
    edge = await start_edge(settings=with_books)
    await barrier.reached()
    assert (await edge.client.get("/health/ready")).status == 200
    await barrier.release()


async def test_the_server_is_ready_when_all_is_rendered_where_that_is_wanted(
    start_edge: StartEdge, with_books: Settings, books: Path, barrier: Barrier
) -> None:
    write(books, BOOK + f"  - Bad audio.\n  - {barrier.text}\n")
    edge = await start_edge(settings=replace(with_books, warm=WarmSettings(before_ready=True)))
    await barrier.reached()
    answer = await edge.client.get("/health/ready")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (await answer.json())["reason"] == "the phrasebooks are being rendered"
    assert (await edge.client.get("/health/live")).status == 200
    await barrier.release()
    async with asyncio.timeout(30):
        while (await edge.client.get("/health/ready")).status != 200:
            pass


async def test_live_requests_go_before_the_warm_up(
    start_edge: StartEdge, with_books: Settings, tmp_path: Path, barrier: Barrier
) -> None:
    begun = f"  - Hello there.\n  - {barrier.text}\n"
    write(tmp_path / "books", BOOK + begun + "  - Phrase.\n")
    one_may_wait = replace(with_books.engine, max_waiting=1)
    edge = await start_edge(settings=replace(with_books, engine=one_may_wait))
    await barrier.reached()
    held = Barrier(barrier.path.with_name("held"))
    holding = await edge.ask(f"Hello there. {held.text}", response_format="pcm")
    await barrier.release()
    # From here on a live reply has the engine, and the warm-up waits for its turn.
    await held.reached()
    while (await edge.say(barrier.text, response_format="pcm")).outcome != HIT:
        pass
    # Of these one is refused, which shows that the other waits for its turn.
    asked = {asyncio.create_task(edge.say(text)) for text in ("Live one.", "Live two.")}
    (refused,), (waiting,) = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result().status == 503
    await held.release()
    assert await holding.read()
    assert (await waiting).status == 200
    await edge.say("Phrase.", response_format="pcm")
    made = edge.log.read_text(encoding="utf-8").splitlines()
    assert [text for text in made if text in ("Live one.", "Live two.", "Phrase.")][1:] == [
        "Phrase."
    ]


# When it is said.


async def test_a_warm_up_tells_what_there_is_to_do_how_far_it_is_and_what_came_of_it(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One. Two.\n  - Bad audio.\n  - Three.\n")
    edge = await start_edge(settings=not_at_start)
    planned, *told, last = await lines_of(edge)
    [book] = planned["books"]
    assert planned["step"] == "planned"
    assert (book["takes"], book["missing"], book["clips"], book["files"]) == (3, 3, 4, 3)
    assert book["audio_s"] > 0 and book["size_bytes"] > 0 and planned["time_s"] > 0
    progress = [each for each in told if each["step"] == "progress"]
    assert [(each["done"], each["total"]) for each in progress] == [(1, 3), (2, 3), (3, 3)]
    [failed] = [each for each in told if each["step"] == "failed"]
    assert (failed["text"], failed["voice"], failed["line"]) == ("Bad audio.", "af_bella", 6)
    assert failed["why"] == "The script made this audio bad."
    assert (last["rendered"], last["cached"], last["failed"]) == (2, 0, 1)
    assert await states_of(edge) == {
        "One. Two.": "cached",
        "Bad audio.": "failed",
        "Three.": "cached",
    }
    assert (await warmed(edge))["cached"] == 2
    assert edge.syntheses() == {"One.": 1, "Two.": 1, "Three.": 1, "Bad audio.": 2}


async def test_a_dry_run_renders_nothing(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One.\n")
    edge = await start_edge(settings=not_at_start)
    [planned] = await lines_of(edge, dry_run=True)
    assert planned["books"][0]["missing"] == 1
    assert edge.syntheses() == {}


async def test_two_warm_ups_do_not_run_at_once(
    start_edge: StartEdge, not_at_start: Settings, books: Path, barrier: Barrier
) -> None:
    write(books, BOOK + f"  - One.\n  - {barrier.text}\n")
    edge = await start_edge(settings=not_at_start)
    running = await edge.client.post(WARM, json={})
    await barrier.reached()
    refused = await edge.client.post(WARM, json={})
    assert refused.status == 409
    error = (await refused.json())["error"]
    assert error["code"] == "warm_up_running" and "1 of 2 phrases done" in error["message"]
    told = await (await edge.client.get(BOOKS)).json()
    assert (told["running"]["done"], told["running"]["total"]) == (1, 2)
    await barrier.release()
    assert json.loads((await running.text()).splitlines()[-1])["rendered"] == 2
    assert (await warmed(edge))["cached"] == 2


async def test_a_warm_up_whose_asker_hangs_up_stops_and_the_next_goes_on_where_it_was(
    start_edge: StartEdge, not_at_start: Settings, books: Path, barrier: Barrier
) -> None:
    write(books, BOOK + f"  - One.\n  - {barrier.text}\n  - Two.\n")
    edge = await start_edge(settings=not_at_start)
    asking = await edge.client.post(WARM, json={})
    await barrier.reached()
    asking.close()
    async with asyncio.timeout(30):
        while (await (await edge.client.get(BOOKS)).json())["running"] is not None:
            pass
    await barrier.release()
    assert edge.syntheses()["Two."] == 0
    last = await warmed(edge)
    assert (last["cached"], last["failed"]) == (1, 0)
    assert edge.syntheses()["One."] == edge.syntheses()["Two."] == 1


async def test_what_is_damaged_is_rendered_again(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - This is a phrase that is so long that it has a file of its own.\n")
    edge = await start_edge(settings=not_at_start)
    assert (await warmed(edge))["rendered"] == 1
    pinned = not_at_start.cache.directory / "audio" / "pinned"
    [*files] = pinned.rglob("*.val")
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-1])
    assert (await warmed(edge))["rendered"] == 1
    assert (await warmed(edge))["cached"] == 1


async def test_a_phrase_that_finds_no_room_among_the_pinned_is_listed(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    small = replace(not_at_start.cache, pinned_bytes=1024**2)
    texts = [f"{'This is a long sentence that takes some room ' * 5}{i}." for i in range(20)]
    write(books, BOOK + "".join(f"  - {text}\n" for text in texts))
    edge = await start_edge(settings=replace(not_at_start, cache=small))
    *told, last = await lines_of(edge)
    failed = [each["why"] for each in told if each["step"] == "failed"]
    assert all("cache.pinned_bytes is used up" in why for why in failed)
    # Nothing more is made where nothing can be kept.
    assert last["error"]["code"] == "cache_unavailable" and len(failed) >= 5
    assert "cached" in (await states_of(edge)).values()
    assert edge.syntheses()[texts[-1]] == 0


async def test_what_no_book_names_any_more_is_dropped_when_that_is_asked_for(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One.\n  - Two. One.\n")
    edge = await start_edge(settings=not_at_start)
    await warmed(edge)
    write(books, BOOK + "  - One.\n")
    planned, *_, last = await lines_of(edge)
    assert (planned["unnamed"], last["pruned"]) == (2, 0)
    last = await warmed(edge, prune=True)
    assert (last["pruned"], last["cached"]) == (2, 1)
    assert (await lines_of(edge))[0]["unnamed"] == 0
    stats = await (await edge.client.get("/v1/admin/cache")).json()
    assert stats["stores"][0]["entries"] == 2  # "One.", the clip and the reply.


async def test_nothing_is_dropped_while_a_book_is_broken(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One.\n  - Two.\n")
    edge = await start_edge(settings=not_at_start)
    await warmed(edge)
    write(books, BOOK + "  - One.\n  - {\n")
    problem, _, last = await lines_of(edge, prune=True)
    assert problem["step"] == "problem" and problem["line"] is not None
    assert (last["pruned"], last["problems"], last["cached"]) == (0, 1, 2)
    assert last["not_pruned"].startswith("a phrasebook is broken")
    await all_are_hits(edge, ["One.", "Two."])


async def test_a_phrase_that_was_rendered_otherwise_is_stale(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One moment, [pause:1s] please.\n  - New.\n")
    edge = await start_edge(settings=not_at_start)
    await warmed(edge)
    write(books, BOOK + "  - One moment, [pause:2s] please.\n  - Newer.\n")
    assert (await edge.client.post(f"{BOOKS}/reload")).status == 200
    assert await states_of(edge) == {
        "One moment, [pause:2s] please.": "stale",
        "Newer.": "missing",
    }
    planned, *_ = await lines_of(edge, dry_run=True)
    [book] = planned["books"]
    assert (book["stale"], book["missing"], book["clips"]) == (1, 1, 1)


async def test_what_must_not_be_stored_is_not_rendered(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - Write to ann@example.com.\n")
    private = replace(not_at_start.cache, never_store=("emails",))
    edge = await start_edge(settings=replace(not_at_start, cache=private))
    _, failed, *_ = await lines_of(edge)
    assert "cache.never_store" in failed["why"]
    assert edge.syntheses() == {}


async def test_an_engine_that_comes_back_goes_on_with_the_warm_up(
    start_edge: StartEdge, not_at_start: Settings, books: Path, barrier: Barrier, tmp_path: Path
) -> None:
    comes_up = tmp_path / "comes-up"
    comes_up.touch()
    write(books, BOOK + f"  - {barrier.text}\n  - Two.\n")
    edge = await start_edge("--fail-to-start", str(comes_up), settings=not_at_start)
    asking = await edge.client.post(WARM, json={})
    await barrier.reached()
    comes_up.unlink()
    await kill_engine(edge)
    await barrier.release()
    async with asyncio.timeout(30):
        while (await (await edge.client.get("/health")).json())["status"] != "failed":
            pass
    comes_up.touch()
    await barrier.release()  # The phrase is tried again.
    last = json.loads((await asking.text()).splitlines()[-1])
    assert (last["step"], last["failed"]) == ("warmed", 0)


async def test_who_asked_for_a_warm_up_hears_of_it_while_a_phrase_waits(
    not_at_start: Settings,
    books: Path,
    barrier: Barrier,
    aiohttp_client: AiohttpClient,
) -> None:
    write(books, BOOK + f"  - {barrier.text}\n")
    parts = build_parts(not_at_start, (sys.executable, str(SCRIPTED_ENGINE)))
    await asyncio.to_thread(parts.shelf.open)
    app = web.Application(middlewares=[around(RequestLog())])
    admin = PhrasebookAdminApi(parts.shelf, parts.warm_up, None, alive_every_s=0.02)
    add_admin_routes(app, Access(None, "127.0.0.1"), admin.handlers())
    async with parts.running():
        client = await aiohttp_client(app)
        answer = await client.post(WARM, json={})
        await barrier.reached()
        for _ in range(3):
            step = json.loads(await answer.content.readline())
            assert step["step"] in ("planned", "progress")
        await barrier.release()
        assert json.loads((await answer.text()).splitlines()[-1])["rendered"] == 1


async def test_without_a_recogniser_nothing_is_rendered_to_be_verified(
    start_edge: StartEdge, not_at_start: Settings, books: Path, tmp_path: Path
) -> None:
    write(books, BOOK + "  - Thank you for calling.\n")
    nowhere = WarmSettings(at_start=False, on_change=False, verify_model=str(tmp_path / "no"))
    edge = await start_edge(settings=replace(not_at_start, warm=nowhere))
    planned, failed = await lines_of(edge, verify=True)
    assert planned["step"] == "planned"
    assert failed["error"]["code"] == "verifier_unavailable"
    assert "there is no folder" in failed["error"]["message"]
    assert edge.syntheses() == {}


async def test_a_phrase_that_kills_the_engine_does_not_end_the_warm_up(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - Crash.\n  - Hello there.\n")
    edge = await start_edge(settings=not_at_start)
    last = await warmed(edge)
    assert (last["rendered"], last["failed"]) == (1, 1)
    assert edge.syntheses()["Crash."] >= 2
    await all_are_hits(edge, ["Hello there."])


async def test_a_recogniser_hears_what_is_wrong_and_it_is_not_stored(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    # To the scripted engine every text is a tone: no recogniser can hear words in that.
    text = "Thank you for calling. How can I help you with your order today?"
    write(books, BOOK + f"  - {text}\n  - Okay.\n")
    edge = await start_edge(settings=not_at_start)
    *told, last = await lines_of(edge, verify=True)
    [failed] = [each for each in told if each["step"] == "failed"]
    assert failed["text"] == text and failed["why"].startswith("The recogniser heard")
    assert (last["rendered"], last["failed"]) == (1, 1)
    assert last["not_judged"] >= 1
    assert await states_of(edge) == {text: "failed", "Okay.": "cached"}
    assert (await edge.say("Okay.", response_format="pcm")).outcome == HIT


# When a book changes.


async def test_an_edited_book_is_noticed_and_rendered_without_a_restart(
    start_edge: StartEdge, with_books: Settings, books: Path, barrier: Barrier
) -> None:
    write(books, BOOK + f"  - One.\n  - {barrier.text}\n")
    edge = await start_edge(settings=with_books)
    await barrier.release()
    again = Barrier(barrier.path.with_name("again"))
    write(books, BOOK + f"  - One.\n  - Two.\n  - {again.text}\n")
    await again.reached()
    await all_are_hits(edge, ["One.", "Two."])
    await again.release()


async def test_an_edit_during_a_warm_up_is_in_use_at_once_and_rendered_after_it(
    start_edge: StartEdge, with_books: Settings, books: Path, barrier: Barrier
) -> None:
    write(books, BOOK + f"  - One.\n  - {barrier.text}\n")
    edge = await start_edge(settings=with_books)
    await barrier.reached()
    write(books, BOOK + "  - One.\n  - Two.\n")
    async with asyncio.timeout(30):
        while "Two." not in await states_of(edge):
            pass
    await barrier.release()
    async with asyncio.timeout(30):
        while (await states_of(edge))["Two."] != "cached":
            pass


async def test_what_a_request_had_reloaded_is_rendered_too(
    start_edge: StartEdge, with_books: Settings, books: Path, barrier: Barrier
) -> None:
    write(books, BOOK + f"  - One.\n  - {barrier.text}\n")
    edge = await start_edge(settings=with_books)
    await barrier.reached()
    write(books, BOOK + "  - One.\n  - Two.\n")
    assert (await edge.client.post(f"{BOOKS}/reload")).status == 200
    await barrier.release()
    async with asyncio.timeout(30):
        while (await states_of(edge))["Two."] != "cached":
            pass


async def test_a_book_that_another_one_includes_now_is_no_book_any_more(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One moment, [pause:1s] please.\n", "b.yaml")
    edge = await start_edge(settings=not_at_start)
    write(books, "phrases: [One moment please.]\n", "b.yaml")
    write(books, "include: [b.yaml]\n" + BOOK + "  - One.\n", "a.yaml")
    told = await (await edge.client.post(f"{BOOKS}/reload")).json()
    assert (told["taken_over"], told["kept"], told["problems"]) == (["test"], [], [])
    await edge.say("One moment, please.", response_format="pcm")
    assert edge.syntheses() == {"One moment, please.": 1}


async def test_a_folder_that_is_empty_for_a_moment_takes_no_book_along(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One.\n")
    edge = await start_edge(settings=not_at_start)
    (books / "book.yaml").unlink()
    answer = await edge.client.post(f"{BOOKS}/reload")
    assert answer.status == 422
    assert (await answer.json())["kept"] == ["test"]
    assert await states_of(edge) == {"One.": "missing"}


async def test_a_broken_edit_keeps_the_book_as_it_was(
    start_edge: StartEdge,
    not_at_start: Settings,
    books: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write(books, BOOK + "  - One.\n")
    write(books, BOOK.replace("test", "other") + "  - Two.\n", "other.yaml")
    edge = await start_edge(settings=not_at_start)
    write(books, BOOK + "  - ''\n  - {txt: Three.}\n")
    write(books, BOOK.replace("test", "other") + "  - Four.\n", "other.yaml")
    answer = await edge.client.post(f"{BOOKS}/reload")
    told = await answer.json()
    assert answer.status == 422
    assert told["error"]["code"] == "phrasebook_problems"
    assert (told["kept"], told["taken_over"]) == (["test"], ["other"])
    assert [problem["line"] for problem in told["problems"]] == [5, 6]
    assert "book.yaml:5" in caplog.text and "book.yaml:6" in caplog.text
    assert await states_of(edge) == {"One.": "missing"}
    assert await states_of(edge, "other") == {"Four.": "missing"}
    assert len((await (await edge.client.get(BOOKS)).json())["problems"]) == 2
    write(books, BOOK + "  - Three.\n")
    assert (await edge.client.post(f"{BOOKS}/reload")).status == 200
    assert await states_of(edge) == {"Three.": "missing"}


async def test_a_book_that_is_deleted_is_not_used_any_more(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One.\n")
    write(books, BOOK.replace("test", "other") + "  - Two.\n", "other.yaml")
    edge = await start_edge(settings=not_at_start)
    (books / "other.yaml").unlink()
    told = await (await edge.client.post(f"{BOOKS}/reload")).json()
    assert told["dropped"] == ["other"]
    answer = await edge.client.get(f"{BOOKS}/other")
    assert answer.status == 404
    assert (await answer.json())["error"]["code"] == "no_such_phrasebook"


async def test_a_new_book_does_not_take_the_name_of_one_in_use(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One.\n", "in-use.yaml")
    edge = await start_edge(settings=not_at_start)
    write(books, BOOK + "  - Two.\n", "a.yaml")
    told = await (await edge.client.post(f"{BOOKS}/reload")).json()
    [problem] = told["problems"]
    assert problem["path"].endswith("a.yaml") and "in-use.yaml" in problem["message"]
    assert (told["taken_over"], told["kept"]) == ([], [])
    assert await states_of(edge) == {"One.": "missing"}


async def test_two_books_that_say_the_same_differently_are_not_both_used(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One moment, [pause:1s] please.\n")
    edge = await start_edge(settings=not_at_start)
    other = BOOK.replace("test", "other") + "  - One moment, [pause:2s] please.\n"
    write(books, other, "other.yaml")
    [problem] = (await (await edge.client.post(f"{BOOKS}/reload")).json())["problems"]
    assert problem["path"].endswith("other.yaml") and problem["line"] == 5
    assert "the book test has af_bella say this otherwise" in problem["message"]


# How phrases are said.


async def test_a_pause_in_a_phrase_is_heard_where_its_words_are_asked_for(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - One moment, [pause:1.5s] please.\n")
    edge = await start_edge(settings=not_at_start)
    await warmed(edge)
    plain = await edge.say("One moment, please.", response_format="pcm")
    marked = await edge.say("One moment, [pause:1500ms] please.", response_format="pcm")
    assert plain.outcome == marked.outcome == HIT
    assert plain.body == marked.body
    assert longest_silence_s(plain.body) == pytest.approx(1.5, abs=0.01)
    other_voice = await edge.say("One moment, please.", response_format="pcm", voice="af_sky")
    assert longest_silence_s(other_voice.body) < 0.5
    assert edge.syntheses() == {"One moment,": 1, "please.": 1, "One moment, please.": 1}


async def test_a_pronunciation_is_heard_where_the_word_is_asked_for_within_a_new_reply_too(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + '  - "Welcome to [Kokoro](/kˈOkəɹO/)."\n')
    edge = await start_edge(settings=not_at_start)
    await warmed(edge)
    await all_are_hits(edge, ["Welcome to Kokoro.", "Welcome to [Kokoro](/kˈOkəɹO/)."])
    assert (await edge.say("Welcome to Kokoro. Hello.", response_format="pcm")).outcome == MISS
    assert edge.syntheses() == {"Welcome to [Kokoro](/kˈOkəɹO/).": 1, "Hello.": 1}


async def test_a_request_that_names_a_book_is_said_by_its_lexicon(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    lexicon = BOOK.replace("phrases:", "lexicon: {Zyxel: zˈIsɛl}\nphrases:")
    write(books, lexicon + "  - This is Zyxel.\n")
    edge = await start_edge(settings=not_at_start)
    await warmed(edge)
    await all_are_hits(edge, ["This is Zyxel."])
    assert (await edge.say("My Zyxel is broken.", phrasebook="test")).status == 200
    assert (await edge.say("My Zyxel is broken.")).outcome == MISS
    assert (await edge.say("Mi Zyxel.", phrasebook="test", voice="ef_dora")).status == 200
    assert edge.syntheses() == {
        "This is [Zyxel](/zˈIsɛl/).": 1,
        "My [Zyxel](/zˈIsɛl/) is broken.": 1,
        "My Zyxel is broken.": 1,
        "Mi Zyxel.": 1,
    }
    refused = await edge.say("My Zyxel is broken.", phrasebook="tset")
    assert refused.status == 400
    error = json.loads(refused.body)["error"]
    assert (error["code"], error["param"]) == ("phrasebook_not_found", "phrasebook")
    assert "Did you mean 'test'?" in error["message"]


async def test_a_recording_is_heard_in_place_of_the_voice_in_every_format_without_synthesis(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    tone(books / "ann" / "hello.wav", 440)
    hello = "  - {text: Hello from Ann. How are you?, recording: ann/hello.wav}\n"
    write(books, BOOK + hello + "  - {text: Bye., recording: ann/hello.wav}\n")
    edge = await start_edge(settings=not_at_start)
    # Also before it is rendered, and in formats that the book does not name.
    before = await edge.say("Hello from Ann. How are you?", response_format="wav")
    assert before.outcome == MISS
    assert (await warmed(edge))["rendered"] == 2
    for fields in ({"response_format": "pcm"}, {"response_format": "wav"}):
        heard = await edge.say("Hello from Ann. How are you?", **fields)
        assert heard.outcome == HIT
    pcm = np.frombuffer(heard.body[44:], dtype=np.int16)
    assert pitch_hz(pcm) == pytest.approx(440, abs=5)
    assert len(pcm) / 24_000 == pytest.approx(1.0, abs=0.2)
    assert edge.syntheses() == {}
    longer = await edge.say("One. Bye. Two.", response_format="pcm")
    assert longer.status == 200
    assert edge.syntheses() == {"One.": 1, "Two.": 1}


async def test_a_recording_that_is_replaced_is_heard_from_then_on_and_the_voice_when_it_is_gone(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    async def heard_hz() -> float:
        heard = await edge.say("Hello there.", response_format="pcm")
        return pitch_hz(np.frombuffer(heard.body, dtype=np.int16))

    tone(books / "hello.wav", 440)
    write(books, BOOK + "  - {text: Hello there., recording: hello.wav}\n")
    edge = await start_edge(settings=not_at_start)
    assert await heard_hz() == pytest.approx(440, abs=5)
    tone(books / "hello.wav", 880)
    assert (await warmed(edge))["rendered"] == 1
    assert await heard_hz() == pytest.approx(880, abs=5)
    write(books, BOOK + "  - Hello there.\n")
    assert (await warmed(edge))["rendered"] == 1
    assert edge.syntheses() == {"Hello there.": 1}
    assert (await edge.say("Hello there.", response_format="pcm")).outcome == HIT


# What is heard is counted.


async def test_a_book_is_proposed_from_what_callers_heard_and_the_counts_survive_a_restart(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - Hello there.\n")
    counting = replace(not_at_start, mine=MineSettings(enabled=True))
    edge = await start_edge(settings=counting)
    for _ in range(3):
        await edge.say("Hello there. Your order is on its way. My number is 555 0134 5678.")
    await edge.say("Your order is on its way.", voice="af_sky")
    await edge.stop()
    edge = await start_edge(settings=counting)
    await edge.say("Your order is on its way.")
    answer = await edge.client.get("/v1/admin/mine?min_requests=4")
    told = await answer.json()
    assert told["totals"]["requests"] == 5
    [phrase] = told["proposal"]["phrases"]
    assert (phrase["text"], phrase["requests"]) == ("Your order is on its way.", 4)
    assert "- Your order is on its way." in told["book"]
    rates = told["proposal"]["sentences"]
    assert rates["in_phrasebooks"] == pytest.approx(3 / 8)
    assert rates["proposed"] == pytest.approx(4 / 8)
    kept = (counting.cache.directory / "audio" / "heard").read_bytes()
    assert b"Your order" in kept and b"555" not in kept


async def test_what_is_to_leave_no_trace_is_not_counted(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - Hello there.\n")
    edge = await start_edge(settings=replace(not_at_start, mine=MineSettings(enabled=True)))
    body = {"input": "This is secret."}
    headers = {"Cache-Control": "no-store"}
    for _ in range(2):
        answer = await edge.client.post("/v1/audio/speech", json=body, headers=headers)
        assert answer.status == 200
    told = await (await edge.client.get("/v1/admin/mine?min_requests=1")).json()
    assert told["totals"]["requests"] == 0 and told["proposal"]["phrases"] == []


async def test_what_was_heard_goes_with_everything_else(
    start_edge: StartEdge, not_at_start: Settings, books: Path
) -> None:
    write(books, BOOK + "  - Hello there.\n")
    counting = replace(not_at_start, mine=MineSettings(enabled=True))
    edge = await start_edge(settings=counting)
    await edge.say("Your order is on its way.")
    answer = await edge.client.post("/v1/admin/cache/purge", json={"all": True})
    assert answer.status == 200 and await answer.read()
    told = await (await edge.client.get("/v1/admin/mine?min_requests=1")).json()
    assert told["totals"]["requests"] == 0
    kept = (counting.cache.directory / "audio" / "heard").read_bytes()
    assert b"Your order" not in kept


async def test_nothing_is_counted_unless_it_is_said(edge: Edge) -> None:
    await edge.say("Hello there.")
    answer = await edge.client.get("/v1/admin/mine")
    assert answer.status == 404
    assert "mine.enabled" in (await answer.json())["error"]["message"]


async def kill_engine(edge: Edge) -> None:
    app = edge.client.server.app  # type: ignore[attr-defined]
    [pid] = app[POOL].pids()
    os.kill(pid, signal.SIGKILL)


def tone(path: Path, pitch_hz: float) -> None:
    """A second of it, between silences, as a file at 16 kHz."""
    path.parent.mkdir(exist_ok=True, parents=True)
    times_s = np.arange(16_000) / 16_000
    silence = np.zeros(8_000)
    sound = 0.2 * np.sin(2 * np.pi * pitch_hz * times_s)
    soundfile.write(path, np.concatenate([silence, sound, silence]), 16_000)


def pitch_hz(pcm: np.ndarray) -> float:
    """The strongest frequency of 24 kHz samples."""
    spectrum = np.abs(np.fft.rfft(pcm.astype(np.float64)))
    return float(np.argmax(spectrum)) * 24_000 / len(pcm)


def longest_silence_s(pcm: bytes) -> float:
    """The longest run of zeros in 24 kHz samples."""
    samples = np.frombuffer(pcm, dtype=np.int16)
    edges = np.flatnonzero(np.diff((samples == 0).astype(np.int8), prepend=0, append=0))
    return int(np.diff(edges.reshape(-1, 2), axis=1).max()) / 24_000
