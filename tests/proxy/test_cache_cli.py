"""`kokoro-edge cache`: on a directory, and through a server that has it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from diskcache.core import MODE_PICKLE
from pydantic import SecretStr

from proxy.app import DISK
from proxy.cache.owner import Ownership
from proxy.cache.steps import Stats, from_json
from proxy.settings import AuthSettings, Settings
from synth import weights
from tests.faults.server import SCRIPTED_SERVER, Log, Server
from tests.proxy.caches import (
    clip,
    damage,
    flipped,
    ids,
    ids_in,
    rendition,
    stock,
)
from tests.proxy.commands import Command, Done, announce, assert_one_line, environment_with
from tests.proxy.conftest import HIT, MISS, Edge, StartEdge
from tests.proxy.storage import StoreFolder

COMMAND = Path(sys.executable).with_name("kokoro-edge")
KEY = "a key for tests"


Run = Callable[..., Awaitable[Done]]
"""`await run(*arguments, **environment)`: `kokoro-edge cache`, in an empty folder."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The cache directory of the commands, and of the server where there is one."""
    return tmp_path / "cache"


@pytest.fixture
def run(
    tmp_path: Path,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Run:
    command = Command(tmp_path, directory, monkeypatch, capsysbinary)

    async def run(*arguments: str, stdin: bytes = b"", **environment: str) -> Done:
        return await command("cache", *arguments, stdin=stdin, environment=environment)

    return run


@pytest.fixture
def shell(tmp_path: Path, directory: Path) -> Callable[[str], Done]:
    """`shell(script)`: what a shell makes of it, `$edge` being the command as it is installed."""

    def shell(script: str, **environment: str) -> Done:
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            timeout=60,
            cwd=tmp_path,
            env=environment_with(directory, edge=str(COMMAND), **environment),
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    return shell


def folder_in(directory: Path) -> StoreFolder:
    return StoreFolder(directory / "audio" / "traffic")


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def block(directory: Path) -> None:
    directory.mkdir()
    (directory / "audio").write_text("in the way")


async def test_without_a_cache_there_is_nothing_and_nothing_is_made(
    run: Run, directory: Path
) -> None:
    for arguments in (("stats",), ("ls",), ("verify", "--repair"), ("purge", "--all")):
        done = await run(*arguments)
        assert done.code == 0
        assert done.err == f"there is no cache in {directory / 'audio'} yet\n"
    [line] = (await run("stats", "--json")).json_lines()
    assert [store["entries"] for store in line["stores"]] == [0, 0]
    assert (await run("ls", "--json")).out == ""
    assert_one_line(await run("export", "a.tar"), 1, "there is no cache in ", "nothing to export")
    assert names_in(directory.parent) == set()


async def test_stats_show_what_there_is(run: Run, directory: Path) -> None:
    stock(
        directory,
        clip("One."),
        rendition("One.", voice="af_bella+af_sky", age_s=7500),
        pinned=[rendition("Pinned.")],
    )
    shown = await run("stats")
    assert (shown.code, shown.err) == (0, "")
    for part in ("pinned", "traffic", "rendition", "af_bella+af_sky", "4.3 GB", " 2h ", "kB"):
        assert part in shown.out
    told = await run("stats", "--json")
    found = from_json(told.out.encode())
    assert isinstance(found, Stats)
    assert [store.entries for store in found.stores] == [1, 2]


async def test_entries_are_listed_with_their_whole_ids(run: Run, directory: Path) -> None:
    entries = [clip("One."), rendition("Two.", voice="af_sky"), rendition("Three.", age_s=90_000)]
    stock(directory, *entries)
    shown = await run("ls")
    assert (shown.code, shown.err) == (0, "")
    assert set(re.findall(r"\b[0-9a-f]{32}\b", shown.out)) == ids(*entries)
    assert "1d" in shown.out and "flac" in shown.out and "af_sky" in shown.out
    assert "text" not in shown.out
    for arguments, listed in (
        (("--voice", "af_sky"), [entries[1]]),
        (("--kind", "clip"), [entries[0]]),
        (("--older-than", "1d"), [entries[2]]),
        (("--older-than", "1.5d"), []),
        (("--text", "Two. Three."), entries[1:]),
        (("--tier", "pinned"), []),
    ):
        lines = (await run("ls", "--json", *arguments)).json_lines()
        assert {line["id"] for line in lines} == ids(*listed), arguments


async def test_text_is_shown_where_there_is_any_and_cannot_command_the_terminal(
    run: Run, directory: Path, shell: Callable[..., Done]
) -> None:
    stock(directory, clip("One.", text="Olá [bold]\x1b[31m."), clip("Two."))
    shown = await run("ls")
    assert "text" in shown.out
    assert "Olá [bold]�[31m." in shown.out
    assert "\x1b" not in shown.out
    narrow = shell("$edge cache ls && $edge cache ls --json", PYTHONIOENCODING="ascii")
    assert (narrow.code, narrow.err) == (0, "")
    assert "Ol? [bold]" in narrow.out


async def test_what_is_wrong_is_told_and_repaired(run: Run, directory: Path) -> None:
    whole, bent = clip("Whole."), clip("Bent.", seconds=2.0)
    stock(directory, whole, bent)
    folder = folder_in(directory)
    damage(folder, bent)
    folder.plant("e" * 32, MODE_PICKLE, b"cposix\nsystem\n(S'touch exploded'\ntR.")
    found = await run("verify")
    assert (found.code, found.err) == (1, "")
    *problems, summary = found.out.splitlines()
    assert sorted(problems) == sorted(
        [
            f"traffic: {bent.key.id}: its payload does not match its checksum",
            f"traffic: {'e' * 32}: it is a pickle",
        ]
    )
    assert summary.startswith("checked 3 entries: 2 problems, 0 repaired")
    assert "--repair" in summary
    repaired = await run("verify", "--repair")
    assert repaired.code == 0
    assert repaired.out.count("(repaired)") == 2
    assert repaired.out.splitlines()[-1] == "checked 3 entries: 2 problems, 2 repaired"
    assert ids_in(directory) == ids(whole)
    again = await run("verify")
    assert (again.code, again.out) == (0, "checked 1 entry: nothing is wrong\n")
    assert not list(directory.parent.rglob("exploded"))


async def test_a_text_is_purged_though_no_text_is_kept(run: Run, directory: Path) -> None:
    gone = [clip("My name is Ann."), rendition("Hello.", "My name is Ann.")]
    kept = [clip("Hello."), rendition("Hello.", "Goodbye.")]
    stock(directory, *gone, *kept)
    done = await run("purge", "--text", "my name is Ann.")
    assert done.out.startswith("deleted 0 entries")
    done = await run("purge", "--text", "**My name is Ann.** 😀")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"deleted 2 entries \(.+\)\n", done.out)
    assert ids_in(directory) == ids(*kept)


async def test_pinned_entries_are_purged_too_and_that_is_said(run: Run, directory: Path) -> None:
    stock(directory, clip("One.", voice="af_sky"), clip("Two."), pinned=[rendition("P.")])
    done = await run("purge", "--voice", "af_bella", "--older-than", "0s")
    assert "deleted 2 entries" in done.out
    assert "1 of them pinned" in done.out
    assert "deleted 1 entry" in (await run("purge", "--all")).out
    assert ids_in(directory) == set()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("purge",), "--all"),
        (("purge", "--all", "--voice", "af_sky"), "--all takes no other"),
        (("purge", "--voice", "af_bela"), "af_bella"),
        (("purge", "--text", "..."), "no letters"),
        (("ls", "--text", ""), "no letters"),
        (("ls", "--jsn"), "unknown flag --jsn. The nearest is --json."),
        (("purge", "--older", "3d"), "The nearest is --older-than."),
        (("stats", "--port", "1"), "--port is no flag of `kokoro-edge cache stats`"),
        (("stats", "--url", "nowhere"), "nowhere is no address of a server"),
        (("stats", "--url", "ftp://127.0.0.1"), "is no address of a server"),
        (("stats", "--url", "http://127.0.0.1:99999"), "is no address of a server"),
        (("stats", "--cache-disk-bytes", "much"), "cache.disk_bytes"),
    ],
)
async def test_a_wrong_call_is_one_line(run: Run, arguments: tuple[str, ...], says: str) -> None:
    assert_one_line(await run(*arguments), 2, says)


@pytest.mark.parametrize(
    "arguments",
    [(), ("dance",), ("ls", "--older-than", "3 weeks"), ("ls", "--kind", "song"), ("export",)],
)
async def test_a_wrong_call_is_told_how_to_call(run: Run, arguments: tuple[str, ...]) -> None:
    done = await run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: kokoro-edge cache")


async def test_what_one_directory_exports_another_takes(
    run: Run, directory: Path, tmp_path: Path
) -> None:
    entries, pinned = [clip("One."), clip("Long.", seconds=2.0)], rendition("P.", text="P.")
    stock(directory, *entries, pinned=[pinned])
    done = await run("export", "cache.tar")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("wrote 3 entries to cache.tar, ")
    other = {"KOKORO_EDGE_CACHE_DIRECTORY": str(tmp_path / "other")}
    done = await run("import", "cache.tar", **other)
    assert (done.code, done.out, done.err) == (0, "took 3 entries\n", "")
    assert ids_in(tmp_path / "other") == ids(*entries, pinned)
    done = await run("import", "cache.tar", **other)
    assert (done.code, done.out) == (0, "took 0 entries, 3 here already\n")
    assert "text" not in json.loads((await run("ls", "--json", "--tier", "pinned", **other)).out)


def test_an_archive_goes_through_a_pipe(
    directory: Path, tmp_path: Path, shell: Callable[..., Done]
) -> None:
    stock(directory, clip("One.", seconds=1.0), clip("Two."))
    done = shell("$edge cache export - | $edge cache import - --cache-directory other")
    assert (done.code, done.out) == (0, "took 2 entries\n")
    assert done.err.startswith("wrote 2 entries to standard output, ")
    assert ids_in(tmp_path / "other") == ids_in(directory)


def test_whoever_stops_reading_gets_no_traceback(
    directory: Path, shell: Callable[..., Done]
) -> None:
    stock(directory, *(clip(f"{number}.", seconds=2.0) for number in range(20)))
    done = shell("$edge cache export - | true; $edge cache ls --json | true")
    assert done.err == ""


async def test_a_file_that_exists_is_written_over_only_on_demand(
    run: Run, directory: Path, tmp_path: Path
) -> None:
    stock(directory, clip("One."))
    target = tmp_path / "cache.tar"
    target.write_text("precious")
    assert_one_line(await run("export", "cache.tar"), 1, "cache.tar exists already", "--force")
    assert target.read_text() == "precious"
    assert (await run("export", "cache.tar", "--force")).code == 0
    assert target.read_bytes().startswith(b"kokoro-edge-cache.json")
    assert target.stat().st_mode & 0o777 == 0o600
    (tmp_path / "folder").mkdir()
    assert_one_line(await run("export", "folder", "--force"), 1, "folder is no file")
    assert_one_line(await run("export", "none/x.tar"), 1, "cannot write none/x.tar: No such file")
    assert names_in(tmp_path) == {"cache", "cache.tar", "folder"}


def test_a_disk_that_is_full_leaves_no_file(
    directory: Path, tmp_path: Path, shell: Callable[..., Done]
) -> None:
    stock(directory, *(clip(f"{number}.", seconds=2.0) for number in range(20)))
    # As on a full disk, no file can be written to beyond 512 KiB.
    done = shell("ulimit -f 512; trap '' XFSZ; $edge cache export cache.tar")
    assert_one_line(done, 1, "cannot write cache.tar: File too large")
    assert names_in(tmp_path) == {"cache"}


async def test_what_cannot_be_imported_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no tar")
    assert_one_line(await run("import", "text.tar"), 1, "This is no archive that")
    assert_one_line(await run("import", "-", stdin=b""), 1, "This is no archive that")
    assert_one_line(await run("import", "gone.tar"), 1, "cannot read gone.tar: No such file")
    assert_one_line(await run("import", "."), 1, "cannot read .: Is a directory")


async def test_damage_to_an_archive_is_told_and_the_rest_taken(
    run: Run, directory: Path, tmp_path: Path
) -> None:
    stock(directory, clip("One."), clip("Two."))
    archive = tmp_path / "cache.tar"
    await run("export", "cache.tar")
    data = archive.read_bytes()
    archive.write_bytes(flipped(data, data.rindex(b"fLaC") + 50))
    done = await run("import", "cache.tar", KOKORO_EDGE_CACHE_DIRECTORY=str(tmp_path / "other"))
    assert done.code == 1
    problem, summary = done.out.splitlines()
    assert "left out: its payload does not match its checksum" in problem
    assert summary == "took 1 entry, 1 damaged or not taken"


async def test_a_cache_that_cannot_be_used_is_one_line(
    run: Run, directory: Path, tmp_path: Path
) -> None:
    block(directory)
    assert_one_line(await run("import", "-"), 1, "cannot be used: ", str(directory))
    assert (await run("stats")).code == 0


async def test_a_cache_in_use_by_no_server_is_one_line(run: Run, directory: Path) -> None:
    stock(directory, clip("One."))
    owner = Ownership(directory / "audio")
    owner.take()
    for arguments in (("stats",), ("purge", "--all")):
        done = await run(*arguments)
        assert_one_line(done, 1, f"is in use by process {os.getpid()}", "--url")
    owner.release()
    assert ids_in(directory) == ids(clip("One."))


async def test_a_server_that_has_the_cache_is_asked(
    edge: Edge, run: Run, directory: Path, tmp_path: Path
) -> None:
    await edge.say("My name is Ann. Goodbye.")
    await edge.say("Goodbye.")
    url = await announce(edge)
    shown = await run("stats")
    assert (shown.code, shown.err) == (0, "")
    assert f"the server at {url}" in shown.out
    assert "memory" in shown.out and "misses" in shown.out
    listed = (await run("ls", "--json")).json_lines()
    assert len(listed) == 4
    shown = await run("ls")
    assert all(line["id"] in shown.out for line in listed)
    assert (await run("verify")).out == "checked 4 entries: nothing is wrong\n"
    done = await run("export", "cache.tar")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("wrote the cache to cache.tar, ")
    done = await run("purge", "--text", "My name is Ann.")
    assert done.out.startswith("deleted 2 entries")
    assert (await edge.say("Goodbye.")).outcome == HIT
    assert (await edge.say("My name is Ann. Goodbye.")).outcome == MISS
    assert (await run("purge", "--all")).out.startswith("deleted 4 entries")
    done = await run("import", "cache.tar")
    assert (done.code, done.out, done.err) == (0, "took 4 entries\n", "")
    assert {line["id"] for line in (await run("ls", "--json")).json_lines()} == {
        line["id"] for line in listed
    }
    assert (await edge.say("My name is Ann. Goodbye.")).outcome == HIT


async def test_through_a_server_what_is_wrong_is_told_and_repaired(
    edge: Edge, run: Run, directory: Path
) -> None:
    await edge.say("One.")
    await announce(edge)
    [id] = [line["id"] for line in (await run("ls", "--json", "--kind", "clip")).json_lines()]
    server = edge.client.server
    assert isinstance(server, TestServer)
    entry = await server.app[DISK].run(lambda: server.app[DISK].traffic.read(id))
    assert entry is not None
    await asyncio.to_thread(damage, folder_in(directory), entry)
    found = await run("verify")
    assert found.code == 1
    assert f"traffic: {id}: its payload does not match its checksum\n" in found.out
    repaired = await run("verify", "--repair")
    assert (repaired.code, repaired.err) == (0, "")
    assert "1 problem, 1 repaired" in repaired.out


async def test_a_server_can_be_named(edge: Edge, run: Run, tmp_path: Path) -> None:
    await edge.say("One.")
    elsewhere = {"KOKORO_EDGE_CACHE_DIRECTORY": str(tmp_path / "elsewhere")}
    for end in ("", "/", "/v1", "/v1/"):
        url = f"http://127.0.0.1:{edge.client.port}{end}"
        assert len((await run("ls", "--json", "--url", url, **elsewhere)).json_lines()) == 2
    assert not (tmp_path / "elsewhere").exists()


async def test_the_key_comes_from_the_settings(
    start_edge: StartEdge, settings: Settings, run: Run, tmp_path: Path
) -> None:
    server = replace(settings.server, admin_key=SecretStr(KEY))
    edge = await start_edge(settings=replace(settings, server=server), ready=False)
    await announce(edge)
    assert_one_line(await run("stats"), 1, "wants its key", "KOKORO_EDGE_SERVER_ADMIN_KEY")
    for wrong in ("another key", "ein schlüssel"):
        done = await run("stats", KOKORO_EDGE_SERVER_ADMIN_KEY=wrong)
        assert_one_line(done, 1, "wants its key")
        assert wrong not in done.err
    assert (await run("stats", KOKORO_EDGE_SERVER_ADMIN_KEY=KEY)).code == 0
    (tmp_path / "kokoro-edge.yaml").write_text(f"server: {{admin_key: {KEY}}}")
    assert (await run("stats")).code == 0


async def test_a_server_that_others_can_reach_says_what_it_needs(
    start_edge: StartEdge, settings: Settings, run: Run
) -> None:
    server = replace(settings.server, host="0.0.0.0")
    await announce(await start_edge(settings=replace(settings, server=server), ready=False))
    assert_one_line(await run("ls"), 1, "refused: ", "server.admin_key")


async def test_a_server_with_api_keys_says_that_commands_need_another(
    start_edge: StartEdge, settings: Settings, run: Run
) -> None:
    auth = AuthSettings(keys={"desk": SecretStr("desk-key-0123456789")})
    await announce(await start_edge(settings=replace(settings, auth=auth), ready=False))
    says = ("refused: ", "set server.admin_key for the server, and for the commands")
    assert_one_line(await run("ls"), 1, *says)
    assert_one_line(await run("ls", KOKORO_EDGE_SERVER_ADMIN_KEY="desk-key-0123456789"), 1, *says)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that says this to whoever asks, and hangs up."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(body: bytes, head: bytes = b"200 OK", ends: bool = True) -> bytes:
    """An answer in one chunk, with or without its end."""
    chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    end = b"0\r\n\r\n" if ends else b""
    return b"HTTP/1.1 %s\r\nTransfer-Encoding: chunked\r\n\r\n%s%s" % (head, chunk, end)


PROGRESS = b'{"step": "progress", "done": 1, "total": 2}\n'
FAULT = b'{"error": {"message": "The disk is gone.", "type": "", "param": null, "code": ""}}\n'


@pytest.mark.parametrize(
    ("arguments", "answer", "says"),
    [
        (("stats",), b"", "broke off"),
        (("stats",), b"SSH-2.0-OpenSSH_9.2\r\n", "broke off"),
        (("stats",), http(b"<html>Hello</html>"), "broke off: it answered something else"),
        (("stats",), http(b"<html>Not here</html>", b"404 Not Found"), "is no kokoro-edge"),
        (("stats",), http(b"", b"302 Found\r\nLocation: http://x.example/"), "is no kokoro-edge"),
        (("stats",), http(FAULT, b"503 Sorry"), "refused: The disk is gone"),
        (("stats",), http(PROGRESS), "ended its answer"),
        (("ls", "--json"), http(FAULT), "broke off: The disk is gone"),
        (("verify",), http(PROGRESS + FAULT), "broke off: The disk is gone"),
        (("verify",), http(PROGRESS), "ended its answer"),
        (("verify",), http(PROGRESS, ends=False), "broke off"),
        (("purge", "--all"), http(b'{"step": "dance"}\n'), "something else"),
        (("export", "cache.tar"), http(b"half an archive", ends=False), "broke off"),
        (("import", "-"), http(PROGRESS, ends=False), "broke off"),
    ],
)
async def test_a_server_that_answers_wrongly_is_one_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], answer: bytes, says: str
) -> None:
    async with answering(answer) as url:
        assert_one_line(await run(*arguments, "--url", url), 1, url, says)
    assert names_in(tmp_path) == set()


async def test_a_server_that_is_gone_is_one_line(run: Run) -> None:
    async with answering(b"") as url:
        pass
    done = await run("verify", "--url", url)
    assert_one_line(done, 1, f"cannot reach the server at {url}: Connection refused", "running?")
    done = await run("verify", "--url", "http://nowhere.invalid:8000")
    assert_one_line(done, 1, "cannot reach the server at http://nowhere.invalid:8000")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_a_server_that_runs_is_found_by_the_directory_alone(
    run: Run, directory: Path, weights_folder: Path, host: str
) -> None:
    weights.fetch(str(weights_folder), directory)
    start = partial(
        subprocess.Popen[str],
        [
            *(sys.executable, SCRIPTED_SERVER, f"server.host={host}", "server.port=0"),
            *(f"engine.weights={weights_folder}", "warm.at_start=false"),
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_with(directory, KOKORO_EDGE_SERVER_ADMIN_KEY=KEY),
    )
    with await asyncio.to_thread(start) as process:
        assert process.stderr is not None
        server = Server(process, Log(process.stderr), directory)
        try:
            await asyncio.to_thread(server.wait_until_ready)
            port = server.url.rpartition(":")[2]
            shown = await run("stats", KOKORO_EDGE_SERVER_ADMIN_KEY=KEY)
            assert shown.code == 0
            assert f"the server at http://127.0.0.1:{port}" in shown.out
            refused = await run("stats")
            assert (refused.code, refused.out) == (1, "")
            assert "wants its key" in refused.err
        finally:
            await asyncio.to_thread(server.stop)
    assert str(directory) in (await run("stats")).out
