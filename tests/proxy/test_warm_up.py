"""Phrasebooks: read, refused in one line, and rendered before anybody asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.phrasebook.book import PhrasebookError, read, read_all, shipped_directory
from proxy.settings import PhrasebookSettings, Settings
from proxy.speech.plan import Planner
from synth.audio.encode import FORMATS
from synth.weights import Weights, fetch
from tests.proxy.conftest import HIT, Barrier, Edge, StartEdge

BOOK = "name: test\nvoices: [af_bella]\nformats: [pcm]\nphrases:\n"


def write(directory: Path, content: str, name: str = "book.yaml") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(content, encoding="utf-8")
    return directory


def problem(path: Path) -> str:
    """What is said of this file: one line, which begins with its name."""
    with pytest.raises(PhrasebookError) as wrong:
        read(path)
    said = str(wrong.value)
    assert said.startswith(f"{path}: ") and "\n" not in said
    return said.removeprefix(f"{path}: ")


@pytest.fixture
def with_books(settings: Settings, tmp_path: Path) -> Settings:
    """Settings that render the phrasebooks of `tmp_path / "books"`."""
    return replace(settings, phrasebook=PhrasebookSettings(directory=tmp_path / "books"))


def planner(settings: Settings) -> Planner:
    planner = Planner()
    planner.weights = fetch(settings.engine.weights, settings.cache.directory)
    assert isinstance(planner.weights, Weights)
    return planner


def test_the_shipped_book_has_twenty_phrases_in_every_format() -> None:
    [book] = read_all(shipped_directory())
    assert book.name == "telephone-en"
    assert len(set(book.phrases)) == len(book.phrases) == 20
    assert set(book.formats) == set(FORMATS)
    assert book.voices == ("af_bella",)


def test_every_shipped_phrase_can_be_planned(settings: Settings) -> None:
    plans = [
        planner(settings).plan(wanted)
        for book in read_all(shipped_directory())
        for wanted in book.wanted()
    ]
    assert len({plan.key for plan in plans}) == len(plans) == 20 * len(FORMATS)


def test_what_is_said_first_is_rendered_first(tmp_path: Path) -> None:
    content = "name: test\nvoices: [af_bella, af_sky]\nformats: [mp3, pcm]\nphrases: [One., Two.]\n"
    wanted = list(read(write(tmp_path, content) / "book.yaml").wanted())
    assert [each.text for each in wanted] == ["One."] * 4 + ["Two."] * 4
    assert [(each.voice, each.format) for each in wanted[:4]] == [
        ("af_bella", "mp3"),
        ("af_bella", "pcm"),
        ("af_sky", "mp3"),
        ("af_sky", "pcm"),
    ]


def test_a_folder_of_books_is_read_in_order_of_names(tmp_path: Path) -> None:
    for name, suffix in (("b", "yml"), ("a", "yaml"), ("c", "yaml")):
        write(tmp_path, BOOK.replace("test", name) + "  - Hi.", f"{name}.{suffix}")
    (tmp_path / "notes.txt").write_text("not a book")
    assert [book.name for book in read_all(tmp_path)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (BOOK + "  - Hi.\nphrase: [Hello.]", "phrase: "),
        (BOOK, "phrases: "),
        (BOOK + "  []", "phrases: "),
        ("voices: [af_bella]\nformats: [pcm]\nphrases: [Hi.]", "name: "),
        (BOOK.replace("[pcm]", "[mp4]") + "  - Hi.", "there is no format 'mp4'"),
        (BOOK.replace("[pcm]", "[]") + "  - Hi.", "formats: "),
        (BOOK.replace("[af_bella]", "[]") + "  - Hi.", "voices: "),
        (BOOK.replace("[af_bella]", "af_bella") + "  - Hi.", "voices: must be a list: write [af_b"),
        (BOOK.replace("[pcm]", "pcm") + "  - Hi.", "formats: must be a list: write [pcm]"),
        (
            BOOK.replace("[af_bella]", "[af_bela]") + "  - Hi.",
            "voices: There is no voice 'af_bela'",
        ),
        (BOOK.replace("[af_bella]", "[af_bela]") + "  - Hi.", "Did you mean 'af_bella'"),
        (BOOK.replace("[af_bella]", "[af_bella(0)]") + "  - Hi.", "must be above 0"),
        (BOOK + "  Hi.", "phrases: must be a list"),
        (BOOK + "  - No", "phrases: entry 1 is read by YAML as False, "),
        (BOOK + "  - Hi.\n  - 5", "phrases: entry 2 is read by YAML as 5, "),
        (
            BOOK + "  - Note: call back",
            "as {'Note': 'call back'}, which is no text: put it in quotes",
        ),
        (BOOK + "  -", "phrases: entry 1 is read by YAML as None, "),
        ("name: [", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("- Hi.", "the file: "),
        ("", "the file: "),
    ],
)
def test_a_file_that_is_no_phrasebook_is_refused_with_its_name(
    tmp_path: Path, content: str, says: str
) -> None:
    assert says in problem(write(tmp_path, content) / "book.yaml")


def test_a_file_that_cannot_be_read_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("binary.yaml", "folder.yaml", "gone.yaml"):
        assert "cannot be read" in problem(tmp_path / name)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhrasebookError, match="is not a folder of phrasebooks"):
        read_all(tmp_path / "nowhere")


def test_a_folder_without_any_book_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a book")
    with pytest.raises(PhrasebookError, match="holds no phrasebook"):
        read_all(tmp_path)


async def test_a_server_with_a_bad_book_does_not_start(
    start_edge: StartEdge, with_books: Settings, tmp_path: Path
) -> None:
    write(tmp_path / "books", BOOK)
    with pytest.raises(PhrasebookError):
        await start_edge(settings=with_books)


async def test_the_shipped_phrases_are_hits_and_made_once(
    start_edge: StartEdge, with_books: Settings, tmp_path: Path, barrier: Barrier
) -> None:
    [shipped] = shipped_directory().glob("*.yaml")
    write(tmp_path / "books", shipped.read_text(encoding="utf-8"))
    write(tmp_path / "books", BOOK + f"  - {barrier.text}\n", "z-last.yaml")
    edge = await start_edge(settings=with_books)
    await barrier.reached()  # The last of all phrases: the others are rendered.
    made = edge.syntheses()
    assert set(made.values()) == {1}
    book = read(shipped)
    await all_are_hits(edge, book.phrases, book.formats)
    assert edge.syntheses() == made
    await barrier.release()


async def test_the_shipped_phrases_are_rendered_unless_it_is_said_otherwise(
    start_edge: StartEdge, settings: Settings
) -> None:
    edge = await start_edge(settings=replace(settings, phrasebook=PhrasebookSettings()))
    [book] = read_all(shipped_directory())
    async with asyncio.timeout(30):
        for wanted in book.wanted():
            while (await edge.say(wanted.text, response_format=wanted.format)).outcome != HIT:
                pass
    assert set(edge.syntheses().values()) == {1}


async def test_what_is_cached_already_is_not_made_again_at_the_next_start(
    start_edge: StartEdge, with_books: Settings, tmp_path: Path, barrier: Barrier
) -> None:
    write(tmp_path / "books", BOOK + f"  - One.\n  - Two.\n  - {barrier.text}\n")
    edge = await start_edge(settings=with_books)
    await barrier.release()
    await all_are_hits(edge, ["One.", "Two."], ["pcm"])
    await edge.stop()
    again = Barrier(barrier.path.with_name("again"))
    write(tmp_path / "books", BOOK + f"  - One.\n  - Two.\n  - Three.\n  - {again.text}\n")
    edge = await start_edge(settings=with_books)
    await again.release()
    await all_are_hits(edge, ["One.", "Two.", "Three."], ["pcm"])
    made = edge.syntheses()
    assert [made[text] for text in ("One.", "Two.", "Three.")] == [1, 1, 1]


async def test_a_phrase_that_fails_does_not_end_the_warm_up(
    start_edge: StartEdge, with_books: Settings, tmp_path: Path, barrier: Barrier
) -> None:
    write(
        tmp_path / "books",
        BOOK
        + "  - Bad audio.\n  - Cannot say.\n  - ''\n  - 你好\n  - Crash.\n  - Hello there.\n"
        + f"  - {barrier.text}\n",
    )
    edge = await start_edge(settings=with_books)
    await barrier.release()  # The warm-up has come to its last phrase.
    await all_are_hits(edge, ["Hello there."], ["pcm"])
    made = edge.syntheses()
    assert made["Hello there."] == made[barrier.text] == made["Bad audio."] == 1
    assert made["Crash."] >= 2
    assert made["Cannot say."] == 0


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


async def test_no_book_is_read_where_nothing_is_to_be_rendered(
    start_edge: StartEdge, with_books: Settings
) -> None:
    off = replace(with_books.phrasebook, warm_at_start=False)
    edge = await start_edge(settings=replace(with_books, phrasebook=off))
    assert (await edge.say("Hello there.")).status == 200
    assert edge.syntheses() == {"Hello there.": 1}


async def all_are_hits(edge: Edge, phrases: list[str] | tuple[str, ...], formats: object) -> None:
    assert isinstance(formats, list | tuple)
    for text in phrases:
        for format in formats:
            heard = await edge.say(text, response_format=format)
            assert (heard.status, heard.outcome) == (200, HIT), text
