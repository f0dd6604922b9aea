"""`kokoro-edge warm`: on the server that has the cache, on one that is named, and by itself."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.cache.owner import Ownership
from proxy.commands import warm
from proxy.settings import PhrasebookSettings, Settings, WarmSettings
from synth import weights
from tests.faults.server import SCRIPTED_SERVER, Log, Server
from tests.proxy.commands import (
    SCRIPTED_COMMAND,
    Command,
    announce,
    assert_one_line,
    environment_with,
)
from tests.proxy.conftest import HIT, Barrier, Edge, StartEdge
from tests.proxy.phrasebooks import PHRASES, write

KEY = "a key for tests"
TEXTS = ("Hello.", "One moment.", "Goodbye.")


def book_of(*texts: str) -> str:
    """Its phrases begin in the fifth line."""
    return PHRASES + "".join(f"  - {text}\n" for text in texts)


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """The folder of phrasebooks, for the command and for the server."""
    return write(tmp_path / "books", {"book.yaml": book_of(*TEXTS)})


@pytest.fixture
def directory(tmp_path: Path, weights_folder: Path) -> Path:
    """The cache directory of both. The model is there."""
    weights.fetch(str(weights_folder), tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def environment(tmp_path: Path, books: Path, weights_folder: Path) -> dict[str, str]:
    """What is set for the command."""
    return {
        "KOKORO_EDGE_ENGINE_WEIGHTS": str(weights_folder),
        "KOKORO_EDGE_PHRASEBOOK_DIRECTORY": str(books),
        "SCRIPTED_ENGINE_LOG": str(tmp_path / "syntheses.log"),
    }


@pytest.fixture
def run(
    tmp_path: Path,
    directory: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Command:
    return Command(tmp_path, directory, monkeypatch, capsysbinary, environment)


@pytest.fixture
def with_books(settings: Settings, books: Path) -> Settings:
    """Of a server that renders the books when it is told to, and not before."""
    return replace(
        settings,
        phrasebook=PhrasebookSettings(directory=books),
        warm=WarmSettings(at_start=False, on_change=False),
    )


@pytest.fixture
async def edge(start_edge: StartEdge, with_books: Settings) -> Edge:
    """A server whose cache directory tells where it is."""
    edge = await start_edge(settings=with_books)
    await announce(edge)
    return edge


@dataclass(frozen=True, slots=True)
class Begun:
    """A command that runs."""

    process: subprocess.Popen[str]
    log: Log

    def end(self) -> tuple[int, str]:
        """Wait for its end. Its exit code, and what it wrote to standard output."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(60)
        self.log.join()
        return code, out


Begin = Callable[..., Begun]
"""`begin(*arguments)`: `kokoro-edge` in a process of its own."""


@pytest.fixture
def begin(tmp_path: Path, directory: Path, environment: dict[str, str]) -> Iterator[Begin]:
    begun: list[Begun] = []

    def begin(*arguments: str) -> Begun:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPTED_COMMAND), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment_with(directory, **environment),
        )
        assert process.stderr is not None
        begun.append(Begun(process, Log(process.stderr)))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.communicate()


def syntheses(folder: Path) -> Counter[str]:
    """How often the engine began to make each sentence, whoever's engine it was."""
    log = folder / "syntheses.log"
    return Counter(log.read_text(encoding="utf-8").splitlines()) if log.exists() else Counter()


def report_in(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


async def test_alone_it_renders_what_is_missing_and_nothing_twice(
    run: Command, tmp_path: Path, books: Path
) -> None:
    done = await run("warm")
    assert done.code == 0
    assert "to render: 3 clips, 3 files, about " in done.out
    assert done.out.splitlines()[-1].startswith("rendered 3 phrases in ")
    assert done.out.endswith("0 were cached already\n")
    write(books, {"book.yaml": book_of(*TEXTS, "You are next.")})
    done = await run("warm")
    assert done.code == 0
    assert "to render: 1 clip, 1 file, about " in done.out
    assert "rendered 1 phrase in " in done.out
    done = await run("warm")
    assert (done.code, done.err) == (0, "")
    assert "everything is cached\n" in done.out
    assert "rendered 0 phrases in " in done.out
    assert syntheses(tmp_path) == dict.fromkeys((*TEXTS, "You are next."), 1)


async def test_alone_a_dry_run_renders_nothing(run: Command, tmp_path: Path) -> None:
    done = await run("warm", "--dry-run", "--report", "report.json")
    assert (done.code, done.err) == (0, "report in report.json\n")
    assert "to render: 3 clips, 3 files" in done.out
    assert "rendered" not in done.out
    assert syntheses(tmp_path) == {}
    report = report_in(tmp_path)
    assert report["planned"]["books"][0]["missing"] == 3
    assert report["warmed"] is None and report["broke_off"] is None


async def test_what_no_book_names_any_more_is_pruned_on_demand(
    run: Command, books: Path, tmp_path: Path
) -> None:
    assert (await run("warm")).code == 0
    write(books, {"book.yaml": book_of("Hello.", "One moment.")})
    kept = await run("warm")
    assert "named by no phrasebook any more: 2 entries (" in kept.out
    assert "pruned" not in kept.out
    assert "2 entries" in (await run("warm", "--prune", "--dry-run")).out
    done = await run("warm", "--prune", "--report", "report.json")
    assert done.code == 0
    assert "; pruned 2 entries (" in done.out
    assert report_in(tmp_path)["warmed"]["pruned"] == 2
    done = await run("warm", "--prune")
    assert "named by no" not in done.out and "pruned" not in done.out


async def test_a_phrase_that_fails_is_told_and_the_rest_rendered(
    run: Command, books: Path, tmp_path: Path
) -> None:
    write(books, {"book.yaml": book_of("Hello.", "Bad audio.", "Goodbye.")})
    done = await run("warm", "--report", "report.json")
    assert done.code == 1
    told = f"failed: {books}/book.yaml:6: 'Bad audio.' by af_bella: The script made this audio bad."
    assert told in done.err.splitlines()
    assert "rendered 2 phrases in " in done.out and done.out.endswith(", 1 failed\n")
    report = report_in(tmp_path)
    [failed] = report["failed"]
    assert (failed["line"], failed["text"], failed["voice"]) == (6, "Bad audio.", "af_bella")
    assert (report["warmed"]["rendered"], report["warmed"]["failed"]) == (2, 1)
    assert report["broke_off"] is None and report["problems"] == []
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600


async def test_a_report_may_go_to_standard_output(run: Command) -> None:
    done = await run("warm", "--report", "-")
    assert done.code == 0
    assert json.loads(done.out)["warmed"]["rendered"] == 3
    assert "to render: 3 clips" in done.err and "rendered 3 phrases" in done.err


async def test_alone_every_problem_of_the_books_is_told_and_the_sound_ones_are_rendered(
    run: Command, books: Path, tmp_path: Path
) -> None:
    broken = book_of("Hello.").replace("test", "broken").replace("af_bella", "af_bela")
    write(books, {"broken.yaml": broken + "  - txt: One moment.\n"})
    write(books, {"sound.yaml": book_of("Goodbye.").replace("test", "sound")})
    done = await run("warm", "--report", "report.json")
    assert done.code == 1
    assert "rendered 3 phrases" in done.out and "2 problems in phrasebooks" in done.out
    first, second = [line for line in done.err.splitlines() if "broken.yaml" in line]
    assert first.startswith(f"{books}/broken.yaml:2: ") and "af_bella" in first
    assert second.startswith(f"{books}/broken.yaml:6: ")
    assert [problem["line"] for problem in report_in(tmp_path)["problems"]] == [2, 6]
    assert report_in(tmp_path)["warmed"]["rendered"] == 3
    assert syntheses(tmp_path)["Goodbye."] == 1


async def test_alone_a_cache_without_room_ends_it_in_one_line(
    run: Command, books: Path, tmp_path: Path
) -> None:
    long = [f"{'This is a long sentence that takes some room ' * 5}{i}." for i in range(20)]
    write(books, {"long.yaml": book_of(*long).replace("test", "long")})
    done = await run("warm", "--report", "report.json", "--cache-pinned-bytes", "1MiB")
    assert done.code == 1
    assert "5 phrases in a row could not be kept" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert "cache.pinned_bytes is used up" in report_in(tmp_path)["broke_off"]


async def test_alone_a_folder_without_books_is_told(run: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = await run("warm", "--phrasebook-directory", str(tmp_path / "empty"))
    assert done.code == 2
    assert "holds no phrasebook" in done.err
    assert syntheses(tmp_path) == {}


async def test_an_engine_that_does_not_start_is_told(run: Command, tmp_path: Path) -> None:
    done = await run("warm", "--report", "report.json", engine=("--fail-to-start",))
    assert done.code == 1
    assert "to render: 3 clips" in done.out and "rendered" not in done.out
    assert "kokoro-edge: The engine could not start" in done.err.splitlines()[-1]
    assert "It was told to fail." in done.err
    assert "It was told to fail." in report_in(tmp_path)["broke_off"]


async def test_a_recogniser_that_cannot_start_is_told_before_anything_is_rendered(
    run: Command, tmp_path: Path
) -> None:
    done = await run("warm", "--verify", "--warm-verify-model", str(tmp_path / "none"))
    assert done.code == 1
    assert done.err.startswith("kokoro-edge: ") and len(done.err.splitlines()) == 1
    assert syntheses(tmp_path) == {}


async def test_a_cache_that_cannot_be_used_is_one_line(run: Command, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "audio").write_text("in the way")
    done = await run("warm", "--cache-directory", "other")
    assert_one_line(done, 1, "the cache in other/audio cannot be used: ")


async def test_a_cache_that_another_process_has_is_told_by_its_own_code(
    run: Command, directory: Path, tmp_path: Path
) -> None:
    owner = Ownership(directory / "audio")
    owner.take()
    done = await run("warm", "--report", "report.json")
    owner.release()
    assert done.code == 3
    [report, told] = done.err.splitlines()
    assert report == "report in report.json"
    assert f"in use by process {os.getpid()}" in told and "--url" in told
    assert report_in(tmp_path)["broke_off"] in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dry-ru",), "unknown flag --dry-ru. The nearest is --dry-run."),
        (("--repot", "a"), "The nearest is --report."),
        (("--port", "1"), "--port is no flag of `kokoro-edge warm`"),
        (("--warm-at-start", "false"), "--warm-at-start is no flag of `kokoro-edge warm`"),
        (("--url", "nowhere"), "nowhere is no address of a server"),
        (("--engine-processes", "none"), "engine.processes"),
        (
            ("--report", "none/report.json"),
            "cannot write none/report.json: there is no folder none",
        ),
        (("--report", "books"), "cannot write books: it is no file"),
    ],
)
async def test_a_wrong_call_is_one_line(
    run: Command, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert_one_line(await run("warm", *arguments), 2, says)
    assert syntheses(tmp_path) == {}


async def test_a_word_that_is_no_source_of_weights_is_one_line(
    begin: Begin, tmp_path: Path
) -> None:
    begun = begin("warm", "--engine-weights", "nowhere")
    code, out = await asyncio.to_thread(begun.end)
    assert (code, out) == (1, "")
    assert begun.log.count("^kokoro-edge: 'nowhere' is no source of weights") == 1
    assert begun.log.count("") == 1


async def test_the_server_that_has_the_cache_does_it(
    edge: Edge, run: Command, directory: Path, tmp_path: Path
) -> None:
    planned = await run("warm", "--dry-run")
    assert planned.code == 0
    assert "to render: 3 clips" in planned.out and edge.syntheses() == {}
    done = await run("warm", "--cache-directory", str(directory), "--report", "report.json")
    assert done.code == 0
    assert "rendered 3 phrases in " in done.out
    assert report_in(tmp_path)["warmed"]["rendered"] == 3
    for text in TEXTS:
        assert (await edge.say(text, voice="af_bella", response_format="pcm")).outcome == HIT
    assert edge.syntheses() == dict.fromkeys(TEXTS, 1)


async def test_a_server_can_be_named(edge: Edge, run: Command, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{edge.client.port}/v1"
    elsewhere = {"KOKORO_EDGE_CACHE_DIRECTORY": str(tmp_path / "elsewhere")}
    done = await run("warm", "--url", url, environment=elsewhere)
    assert done.code == 0
    assert "rendered 3 phrases in " in done.out
    assert not await asyncio.to_thread((tmp_path / "elsewhere").exists)


async def test_the_key_comes_from_the_settings(
    start_edge: StartEdge, with_books: Settings, run: Command
) -> None:
    server = replace(with_books.server, admin_key=SecretStr(KEY))
    await announce(await start_edge(settings=replace(with_books, server=server)))
    for wrong in ({}, {"KOKORO_EDGE_SERVER_ADMIN_KEY": "another key"}):
        done = await run("warm", environment=wrong)
        assert_one_line(done, 1, "wants its key", "KOKORO_EDGE_SERVER_ADMIN_KEY")
    done = await run("warm", environment={"KOKORO_EDGE_SERVER_ADMIN_KEY": KEY})
    assert done.code == 0
    assert "rendered 3 phrases in " in done.out


async def test_settings_of_a_server_are_not_taken_as_flags_beside_it(
    edge: Edge, run: Command, books: Path
) -> None:
    url = f"http://127.0.0.1:{edge.client.port}"
    for flags in (
        ("--phrasebook-directory", str(books)),
        ("--cache-pinned-bytes", "1GB"),
        ("--engine-processes", "2", "--url", url),
    ):
        done = await run("warm", *flags)
        assert_one_line(done, 2, f"the server at {url} does it", f"leave {flags[0]} out here")


async def test_two_warm_ups_do_not_run_at_once_on_a_server(
    edge: Edge, run: Command, books: Path, barrier: Barrier
) -> None:
    write(books, {"book.yaml": book_of(barrier.text)})
    other = asyncio.create_task(edge.client.post("/v1/admin/warm", json={}))
    await barrier.reached()
    done = await run("warm")
    assert_one_line(done, 3, "A warm-up is running already, with 0 of 1 phrases done")
    await barrier.release()
    assert '"rendered":1' in await (await other).text()
    assert (await run("warm")).code == 0


async def test_a_server_tells_of_its_broken_books_and_renders_the_rest(
    edge: Edge, run: Command, books: Path, tmp_path: Path
) -> None:
    write(books, {"broken.yaml": "name: broken\nvoices: [af_bella]\nphrases: 1\n"})
    done = await run("warm", "--report", "report.json")
    assert done.code == 1
    assert done.err.startswith(f"{books}/broken.yaml:3: ")
    assert "rendered 3 phrases in " in done.out and "1 problem in phrasebooks" in done.out
    [problem] = report_in(tmp_path)["problems"]
    assert problem["line"] == 3
    assert (await run("warm", "--dry-run")).code == 1


async def test_a_phrase_that_fails_on_a_server_is_told(
    edge: Edge, run: Command, books: Path
) -> None:
    write(books, {"book.yaml": book_of("Hello.", "Bad audio.")})
    done = await run("warm")
    assert done.code == 1
    assert f"failed: {books}/book.yaml:6: 'Bad audio.' by af_bella: " in done.err


async def test_a_server_prunes_on_demand(edge: Edge, run: Command, books: Path) -> None:
    assert (await run("warm")).code == 0
    write(books, {"book.yaml": book_of("Hello.", "One moment.")})
    done = await run("warm", "--prune")
    assert done.code == 0
    assert "; pruned 2 entries (" in done.out


async def test_a_server_that_is_gone_is_one_line(edge: Edge, run: Command) -> None:
    url = f"http://127.0.0.1:{edge.client.port}"
    await edge.stop()
    done = await run("warm", "--url", url)
    assert_one_line(done, 1, f"cannot reach the server at {url}: Connection refused", "running?")


async def test_a_server_that_is_killed_breaks_off_and_the_command_alone_makes_the_rest(
    run: Command,
    books: Path,
    directory: Path,
    environment: dict[str, str],
    barrier: Barrier,
    tmp_path: Path,
) -> None:
    write(books, {"book.yaml": book_of("Hello.", "One moment.", barrier.text, "Goodbye.")})
    start = partial(
        subprocess.Popen[str],
        [sys.executable, str(SCRIPTED_SERVER), "server.port=0", "warm.at_start=false"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_with(directory, **environment),
    )
    with await asyncio.to_thread(start) as process:
        assert process.stderr is not None
        server = Server(process, Log(process.stderr), tmp_path / "syntheses.log")
        try:
            await asyncio.to_thread(server.wait_until_ready)
            warming = asyncio.create_task(run("warm", "--report", "report.json"))
            await barrier.reached()
        finally:
            await asyncio.to_thread(server.stop, signal.SIGKILL)
        done = await warming
    assert done.code == 1
    assert "to render: 4 clips" in done.out and "rendered" not in done.out
    assert f"the server at {server.url} broke off: " in done.err.splitlines()[-1]
    report = report_in(tmp_path)
    assert report["planned"]["books"][0]["takes"] == 4
    assert report["warmed"] is None and "broke off" in report["broke_off"]
    await barrier.release()
    again = asyncio.create_task(run("warm"))
    await barrier.release()
    done = await again
    assert done.code == 0
    assert "rendered 2 phrases in " in done.out and "2 were cached already" in done.out
    assert syntheses(tmp_path) == {
        "Hello.": 1,
        "One moment.": 1,
        barrier.text: 2,
        "Goodbye.": 1,
    }


async def test_killed_alone_and_run_again_it_makes_only_the_rest(
    begin: Begin, run: Command, books: Path, barrier: Barrier, tmp_path: Path
) -> None:
    write(books, {"book.yaml": book_of("Hello.", "One moment.", barrier.text, "Goodbye.")})
    begun = begin("warm")
    await barrier.reached()
    begun.process.kill()
    code, _ = await asyncio.to_thread(begun.end)
    assert code == -signal.SIGKILL
    await barrier.release()
    assert syntheses(tmp_path) == dict.fromkeys(("Hello.", "One moment.", barrier.text), 1)
    again = asyncio.create_task(run("warm"))
    await barrier.release()
    done = await again
    assert done.code == 0
    assert "rendered 2 phrases in " in done.out and "2 were cached already" in done.out
    assert syntheses(tmp_path) == {
        "Hello.": 1,
        "One moment.": 1,
        barrier.text: 2,
        "Goodbye.": 1,
    }


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_alone_it_says_so_and_keeps_what_was_rendered(
    begin: Begin, run: Command, books: Path, barrier: Barrier, tmp_path: Path, how: signal.Signals
) -> None:
    write(books, {"book.yaml": book_of("Hello.", barrier.text)})
    begun = begin("warm", "--report", "report.json")
    await barrier.reached()
    begun.process.send_signal(how)
    code, out = await asyncio.to_thread(begun.end)
    assert code == 128 + how
    assert "to render: 2 clips" in out and "rendered" not in out
    assert begun.log.count("^kokoro-edge: interrupted: what was rendered is kept") == 1
    assert begun.log.count("Traceback") == 0
    assert report_in(tmp_path)["broke_off"].startswith("interrupted: ")
    await barrier.release()
    again = asyncio.create_task(run("warm"))
    await barrier.release()
    assert "rendered 1 phrase in " in (await again).out
    assert syntheses(tmp_path)["Hello."] == 1


async def test_interrupted_it_has_the_server_stop_too(
    edge: Edge, begin: Begin, run: Command, books: Path, barrier: Barrier
) -> None:
    write(books, {"book.yaml": book_of("Hello.", barrier.text, "Goodbye.")})
    begun = begin("warm")
    await barrier.reached()
    begun.process.send_signal(signal.SIGINT)
    code, _ = await asyncio.to_thread(begun.end)
    assert code == 130
    assert begun.log.count("^kokoro-edge: interrupted: ") == 1
    async with asyncio.timeout(30):
        while (await (await edge.client.get("/v1/admin/phrasebooks")).json())["running"]:
            pass
    await barrier.release()
    assert "Goodbye." not in edge.syntheses()
    assert edge.syntheses()["Hello."] == 1


async def test_without_a_terminal_progress_is_told_in_lines(run: Command) -> None:
    done = await run("warm")
    [line] = done.err.splitlines()
    assert line.startswith("1 of 3 phrases, ")
    assert " phrases/s, " in line and line.endswith(" left")
    assert "\x1b" not in done.out + done.err


def test_on_a_terminal_progress_is_a_bar(
    directory: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(SCRIPTED_COMMAND), "warm"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        cwd=tmp_path,
        env=environment_with(directory, **environment, TERM="xterm", COLUMNS="120"),
    ) as process:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # As reading ends once nobody has the other end any more.
            while piece := os.read(screen, 65_536):
                shown += piece
        os.close(screen)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 0
    drawn = shown.decode()
    assert "rendering" in drawn and "━" in drawn and "3/3" in drawn and "phrases/s" in drawn
    assert "1 of 3 phrases" not in drawn
    assert b"rendered 3 phrases in " in out and b"\x1b" not in out


def test_whoever_stops_reading_gets_no_message(
    directory: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {SCRIPTED_COMMAND} warm --dry-run | true"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment_with(directory, **environment),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_help_names_every_command_and_flag(run: Command) -> None:
    done = await run("--help")
    for command in ("serve", "fetch", "voices", "warm", "phrasebook", "cache"):
        assert f"\n    {command}" in done.out
    done = await run("warm", "--help")
    assert (done.code, done.err) == (0, "")
    settings = ["--" + key.replace(".", "-").replace("_", "-") for key in warm.SETTINGS]
    for flag in (*warm.FLAGS, *settings, "--config"):
        assert f"\n  {flag} " in done.out
