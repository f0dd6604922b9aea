"""`kokoro-edge phrasebook`: check, plan, schema and mine, with a server and without one."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from proxy.cache.owner import Ownership
from proxy.phrasebook.mining.heard import Asked, Heard, Sentence
from proxy.phrasebook.mining.miner import HEARD
from proxy.phrasebook.reading.schema import json_schema
from proxy.settings import MineSettings, PhrasebookSettings, Settings, WarmSettings
from proxy.whole_file import write_whole
from synth import weights
from tests.proxy.commands import Command, announce, assert_one_line, environment_with
from tests.proxy.conftest import StartEdge
from tests.proxy.phrasebooks import HEAD, PHRASES, write
from tests.proxy.test_cli import COMMAND

BROKEN = (
    HEAD.replace("test", "broken").replace("af_bella", "af_bela")
    + "phrases:\n  - Hello.\n  - txt: One moment.\n"
)
"""A mistake in the second line, and one in the sixth."""


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """The folder that the settings name: a book of two phrases."""
    return write(tmp_path / "books", {"book.yaml": PHRASES + "  - Hello.\n  - One moment.\n"})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def run(
    tmp_path: Path,
    directory: Path,
    books: Path,
    weights_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Command:
    environment = {
        "KOKORO_EDGE_ENGINE_WEIGHTS": str(weights_folder),
        "KOKORO_EDGE_PHRASEBOOK_DIRECTORY": str(books),
    }
    return Command(tmp_path, directory, monkeypatch, capsysbinary, environment)


@pytest.fixture
def with_model(directory: Path, weights_folder: Path) -> None:
    """The model is here."""
    weights.fetch(str(weights_folder), directory)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def hear(directory: Path, texts: dict[str, int]) -> None:
    """Leave what a server counted: each text in so many requests."""
    heard = Heard()
    for text, requests in texts.items():
        for _ in range(requests):
            heard.note([Asked(Sentence(text, "af_bella", "a", 1.0), False, True)])
    (directory / "audio").mkdir(parents=True)
    write_whole(directory / "audio" / HEARD, heard.to_bytes())


async def test_books_with_which_nothing_is_wrong_pass(run: Command) -> None:
    done = await run("phrasebook", "check")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(": 1 book, 2 phrases, nothing is wrong\n")


async def test_every_problem_is_told_with_its_line(run: Command, books: Path) -> None:
    write(books, {"broken.yaml": BROKEN, "one.yaml": HEAD.replace("test", "one") + "phrases: 1\n"})
    done = await run("phrasebook", "check", "--quick")
    assert done.code == 1
    places = [line.partition(": ")[0] for line in done.out.splitlines()]
    assert places == [f"{books}/broken.yaml:2", f"{books}/broken.yaml:6", f"{books}/one.yaml:4"]
    assert "af_bella" in done.out and "txt" in done.out
    assert done.err == "3 problems; nothing is wrong with 1 book, 2 phrases\n"
    alone = await run("phrasebook", "check", "--quick", str(books / "one.yaml"))
    assert (alone.code, alone.err) == (1, "1 problem\n")


async def test_what_only_the_engine_can_tell_is_asked_of_it(run: Command, books: Path) -> None:
    write(books, {"book.yaml": PHRASES + "  - Hello.\n  - Cannot say ∑.\n"})
    done = await run("phrasebook", "check")
    assert done.code == 1
    assert done.out.startswith(f"{books}/book.yaml:6: ")
    assert "no way to say" in done.out
    assert done.err == "1 problem\n"
    quick = await run("phrasebook", "check", "--quick")
    assert (quick.code, quick.err) == (0, "")


async def test_without_an_engine_the_quick_check_is_pointed_out(run: Command) -> None:
    done = await run("phrasebook", "check", engine=("--fail-to-start",))
    assert_one_line(done, 1, "It was told to fail", "--quick checks without the engine")
    done = await run("phrasebook", "check", "--quick", engine=("--fail-to-start",))
    assert done.code == 0


async def test_a_file_a_folder_or_what_is_set_is_checked(
    run: Command, books: Path, tmp_path: Path
) -> None:
    other = PHRASES.replace("test", "other") + "  - Goodbye.\n"
    folder = write(tmp_path / "others", {"a.yaml": other, "b.yaml": PHRASES + "  - Hello.\n"})
    for path, said in (("others/a.yaml", "1 book, 1 phrase"), ("others", "2 books, 2 phrases")):
        done = await run("phrasebook", "check", "--quick", path)
        assert done.out.endswith(f": {said}, nothing is wrong\n")
    (tmp_path / "kokoro-edge.yaml").write_text(
        f"phrasebook: {{directory: {folder}, books: [other]}}"
    )
    done = await run(
        "phrasebook", "check", "--quick", environment={"KOKORO_EDGE_PHRASEBOOK_DIRECTORY": ""}
    )
    assert done.out.endswith(": 1 book, 1 phrase, nothing is wrong\n")
    done = await run("phrasebook", "check", "--quick", "--phrasebook-books", "tset")
    assert (done.code, done.err) == (1, "1 problem\n")
    assert "holds no book named 'tset'" in done.out
    done = await run("phrasebook", "check", "--quick", "--phrasebook-directory", str(folder))
    assert done.code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "nowhere"), "there is no nowhere"),
        (("plan", "nowhere.yaml"), "there is no nowhere.yaml"),
        (("check", "--quik"), "unknown flag --quik. The nearest is --quick."),
        (("plan", "--jsn"), "The nearest is --json."),
        (("mine", "--min-request", "3"), "The nearest is --min-requests."),
        (("check", "--port", "1"), "--port is no flag of `kokoro-edge phrasebook check`"),
        (("mine", "--url", "nowhere"), "nowhere is no address of a server"),
        (("plan", "--url", "nowhere"), "nowhere is no address of a server"),
    ],
)
async def test_a_wrong_call_is_one_line(
    run: Command, with_model: None, arguments: tuple[str, ...], says: str
) -> None:
    assert_one_line(await run("phrasebook", *arguments), 2, says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "COMMAND"),
        (("sing",), "sing"),
        (("check", "a", "b"), "one word too many"),
        (("mine", "--min-requests", "0"), "no number of 1 or more"),
        (("mine", "--name", "my book"), "'my book' is no name of a book"),
        (("mine", "--name", ""), "is no name of a book"),
        (("mine", "--name", "n" * 65), "is no name of a book"),
        (("mine", "--name", "../book"), "is no name of a book"),
    ],
)
async def test_a_wrong_call_is_told_how_to_call(
    run: Command, arguments: tuple[str, ...], says: str
) -> None:
    done = await run("phrasebook", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: kokoro-edge")
    assert says in done.err.splitlines()[-1]


async def test_a_plan_counts_what_there_is_to_do(run: Command, with_model: None) -> None:
    done = await run("phrasebook", "plan")
    assert (done.code, done.err) == (0, "")
    assert "to render: 2 clips, 2 files, about " in done.out and "a guess" in done.out
    told = await run("phrasebook", "plan", "--json")
    assert (told.code, told.err) == (0, "")
    [plan] = told.json_lines()
    [book] = plan["books"]
    assert (book["name"], book["takes"], book["cached"], book["missing"]) == ("test", 2, 0, 2)
    assert (book["clips"], book["files"]) == (2, 2)
    assert (await run("warm")).code == 0
    assert "everything is cached" in (await run("phrasebook", "plan")).out


async def test_a_plan_tells_what_cannot_be_rendered(
    run: Command, with_model: None, books: Path
) -> None:
    card = "4111 1111 1111 1111"
    write(books, {"book.yaml": PHRASES + f"  - Your card is {card}.\n"})
    done = await run("phrasebook", "plan", "--cache-never-store", "card_numbers")
    assert done.code == 1
    assert "nothing can be rendered of what is missing" in done.out
    assert done.err.startswith(f"{books}/book.yaml:5: af_bella: ")
    assert "cache.never_store" in done.err


async def test_a_plan_of_broken_books_is_of_the_others(
    run: Command, with_model: None, books: Path
) -> None:
    write(books, {"broken.yaml": BROKEN})
    done = await run("phrasebook", "plan", "--json")
    assert done.code == 1
    assert [book["name"] for book in json.loads(done.out)["books"]] == ["test"]
    assert [line.partition(": ")[0] for line in done.err.splitlines()] == [
        f"{books}/broken.yaml:2",
        f"{books}/broken.yaml:6",
    ]
    done = await run("phrasebook", "plan", str(books / "broken.yaml"))
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 2)


async def test_a_plan_needs_the_model(run: Command) -> None:
    assert_one_line(
        await run("phrasebook", "plan"), 1, "the model is not here", "kokoro-edge fetch"
    )
    done = await run("phrasebook", "plan", "--engine-weights", "nowhere")
    assert_one_line(done, 1, "'nowhere' is no source of weights")


async def test_a_plan_knows_what_a_server_has(
    start_edge: StartEdge, settings: Settings, run: Command, books: Path, tmp_path: Path
) -> None:
    with_books = replace(
        settings,
        phrasebook=PhrasebookSettings(directory=books),
        warm=WarmSettings(at_start=False, on_change=False),
    )
    edge = await start_edge(settings=with_books)
    url = await announce(edge)
    assert json.loads((await run("phrasebook", "plan", "--json")).out)["books"][0]["missing"] == 2
    assert (await run("warm")).code == 0
    write(books, {"book.yaml": PHRASES + "  - Hello.\n  - One moment.\n  - Goodbye.\n"})
    for arguments in ((), ("--url", url)):
        done = await run("phrasebook", "plan", "--json", *arguments)
        [book] = json.loads(done.out)["books"]
        assert (done.code, book["takes"], book["cached"], book["clips"]) == (0, 3, 2, 1)
    done = await run("phrasebook", "plan")
    assert "to render: 1 clip, 1 file, about " in done.out


async def test_the_schema_is_printed_as_it_is(run: Command) -> None:
    done = await run("phrasebook", "schema")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == json_schema()


def test_whoever_stops_reading_gets_no_message(directory: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} phrasebook schema | true; {COMMAND} voices | true"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment_with(directory),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_what_was_counted_is_mined_without_a_server(
    run: Command, directory: Path, tmp_path: Path
) -> None:
    hear(directory, {"Hello.": 30, "Is there anything else?": 30, "Hold on, Ann.": 2})
    done = await run("phrasebook", "mine", "--name", "from-calls")
    assert done.code == 0
    book = yaml.safe_load(done.out)
    assert book["name"] == "from-calls"
    assert "Is there anything else?" in done.out
    # The one is in a book already, the other was hardly ever heard.
    assert "Hello." not in done.out and "Ann" not in done.out
    assert "heard: 62 requests, 62 sentences" in done.err
    assert "proposed: 1 phrase, each heard in 20 requests or more" in done.err
    assert (await run("phrasebook", "mine", "--output", "-")).out.startswith(done.out[:2])
    written = await run("phrasebook", "mine", "--output", "mined.yaml")
    assert (written.code, written.out) == (0, "")
    assert written.err.endswith("wrote mined.yaml: look through it before you use it\n")
    checked = await run("phrasebook", "check", "--quick", "mined.yaml")
    assert checked.out.endswith(": 1 book, 1 phrase, nothing is wrong\n")


async def test_a_book_that_exists_is_written_over_only_on_demand(
    run: Command, directory: Path, tmp_path: Path
) -> None:
    hear(directory, {"Is there anything else?": 30})
    target = write(tmp_path, {"mined.yaml": "precious"}) / "mined.yaml"
    done = await run("phrasebook", "mine", "--output", "mined.yaml")
    assert (done.code, done.out) == (1, "")
    assert "mined.yaml exists already: name another file, or say --force" in done.err
    assert target.read_text() == "precious"
    done = await run("phrasebook", "mine", "--output", "mined.yaml", "--force")
    assert done.code == 0
    assert "Is there anything else?" in target.read_text()


async def test_where_nothing_was_counted_there_is_nothing_to_mine(
    run: Command, directory: Path
) -> None:
    done = await run("phrasebook", "mine")
    assert_one_line(done, 1, "nothing was counted yet", "mine.enabled")
    assert names_in(directory.parent) == {"books"}
    hear(directory, {"Hello there.": 3})
    done = await run("phrasebook", "mine")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith("there is nothing to propose yet\n")
    (directory / "audio" / HEARD).write_bytes(b"damaged")
    assert_one_line(await run("phrasebook", "mine"), 1, f"{directory}/audio/{HEARD}: ")


async def test_what_is_in_broken_books_may_be_proposed_again_and_they_are_told(
    run: Command, directory: Path, books: Path
) -> None:
    hear(directory, {"Is there anything else?": 30})
    write(books, {"broken.yaml": BROKEN})
    done = await run("phrasebook", "mine")
    assert done.code == 0
    assert "Is there anything else?" in done.out
    assert done.err.startswith(f"{books}/broken.yaml:2: ")
    assert "may be proposed again" in done.err


async def test_a_server_that_counts_is_asked_what_it_heard(
    start_edge: StartEdge, settings: Settings, run: Command, books: Path
) -> None:
    counting = replace(
        settings,
        phrasebook=PhrasebookSettings(directory=books),
        mine=MineSettings(enabled=True),
    )
    edge = await start_edge(settings=counting)
    url = await announce(edge)
    assert_one_line(await run("phrasebook", "mine"), 1, "nothing was counted yet")
    for text in ("Hello.", "Is there anything else?"):
        for _ in range(3):
            await edge.say(text)
    for arguments in ((), ("--url", url)):
        done = await run("phrasebook", "mine", "--min-requests", "3", *arguments)
        assert done.code == 0
        assert "Is there anything else?" in done.out and "Hello." not in done.out
        assert "heard: 6 requests, 6 sentences" in done.err


async def test_a_server_that_does_not_count_says_what_to_set(
    start_edge: StartEdge, settings: Settings, run: Command, books: Path
) -> None:
    edge = await start_edge(
        settings=replace(settings, phrasebook=PhrasebookSettings(directory=books)), ready=False
    )
    url = await announce(edge)
    assert_one_line(await run("phrasebook", "mine"), 1, url, "mine.enabled")


async def test_counts_are_read_while_another_command_has_the_cache(
    run: Command, directory: Path
) -> None:
    hear(directory, {"Is there anything else?": 30})
    owner = Ownership(directory / "audio")
    owner.take()
    done = await run("phrasebook", "mine")
    owner.release()
    assert done.code == 0
    assert "Is there anything else?" in done.out


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ["check", "plan", "schema", "mine"]),
        (("check",), ["PATH", "--quick", "--phrasebook-directory", "--phrasebook-books"]),
        (("plan",), ["PATH", "--json", "--url", "--cache-directory", "--engine-weights"]),
        (("schema",), ["--config"]),
        (
            ("mine",),
            ["--min-requests", "--max-phrases", "--name", "--output", "--force", "--url"],
        ),
    ],
)
async def test_help_names_every_command_and_flag(
    run: Command, arguments: tuple[str, ...], names: list[str]
) -> None:
    done = await run("phrasebook", *arguments, "--help")
    assert (done.code, done.err) == (0, "")
    assert [name for name in names if name not in done.out] == []
