"""`kokoro-edge phrasebook`: check, plan and propose what agents say."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.commands.failure import EXIT_FAILED, EXIT_USAGE, CommandFailed, plain
from proxy.commands.printed import counted, printed
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.phrasebook.book import Phrasebook, Problem

COMMANDS: Mapping[str, str] = {
    "check": "find every mistake in phrasebooks",
    "plan": "say what rendering them comes to",
    "phonemes": "print how a text is pronounced, for lexicons",
    "schema": "print the JSON Schema of a phrasebook, for editors",
    "mine": "propose a phrasebook from what callers heard",
}

_FLAGS: Mapping[str, tuple[str, ...]] = {
    "check": ("--quick",),
    "plan": ("--json", "--url"),
    "phonemes": ("--language",),
    "mine": ("--min-requests", "--max-phrases", "--name", "--output", "--force", "--url"),
}

_BOOKS = ("phrasebook.directory", "phrasebook.books")
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "check": (*_BOOKS, "engine.weights", "engine.device", "cache.directory"),
    "plan": (
        *_BOOKS,
        "engine.weights",
        "cache.directory",
        "cache.never_store",
        "cache.never_store_patterns",
    ),
    "phonemes": ("engine.weights", "cache.directory"),
    "mine": (*_BOOKS, "cache.directory"),
}

_MIN_REQUESTS = 20
_BOOK_NAME = re.compile("[A-Za-z0-9_-]{1,64}")


def add_parsers(commands: Any) -> dict[str, argparse.ArgumentParser]:
    """Add `phrasebook` to the commands. Returns the parser of each command that it has."""
    phrasebook = commands.add_parser(
        "phrasebook", help="look after what agents say", allow_abbrev=False
    )
    inner = phrasebook.add_subparsers(dest="phrasebook_command", required=True, metavar="COMMAND")
    parsers = {}
    for name, help in COMMANDS.items():
        parser = inner.add_parser(name, help=help, allow_abbrev=False)
        _add_arguments(name, parser)
        parsers[name] = parser
    return parsers


def settings_of(command: str) -> tuple[str, ...]:
    """Which settings are flags of `kokoro-edge phrasebook COMMAND`."""
    return _SETTINGS.get(command, ())


def flags_of(command: str) -> list[str]:
    """The flags of `kokoro-edge phrasebook COMMAND` that are no settings."""
    return list(_FLAGS.get(command, ()))


def run(
    given: argparse.Namespace, settings: Settings, engine_command: Sequence[str] | None = None
) -> int:
    """Returns the exit code. `engine_command` stands in for our engine process: see
    `synth.pool.EnginePool`.

    Raises:
        CommandFailed: it cannot be done.
    """
    return printed(lambda: _run(given, settings, engine_command))


def _run(
    given: argparse.Namespace, settings: Settings, engine_command: Sequence[str] | None
) -> int:
    match given.phrasebook_command:
        case "check":
            return _check(given, settings, engine_command)
        case "plan":
            return asyncio.run(_plan(given, settings))
        case "phonemes":
            return _phonemes(given, settings)
        case "mine":
            from proxy.commands import mine

            return asyncio.run(mine.run(given, settings))
        case _:
            return _schema()


def _add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    if name in ("check", "plan"):
        parser.add_argument(
            "path",
            nargs="?",
            type=Path,
            metavar="PATH",
            help="a phrasebook, or a folder of them (default: phrasebook.directory)",
        )
    if name == "check":
        parser.add_argument(
            "--quick",
            action="store_true",
            help="do not start the engine to ask it about what only it can tell",
        )
    if name == "phonemes":
        parser.add_argument("text", metavar="TEXT", help="what is said, such as a word")
        parser.add_argument(
            "--language", default="en-us", help="a code or tag, as in requests (default: en-us)"
        )
    if name == "plan":
        parser.add_argument("--json", action="store_true", help="one JSON object")
    if name == "mine":
        parser.add_argument(
            "--min-requests",
            type=_whole_number,
            default=_MIN_REQUESTS,
            metavar="N",
            help="heard in at least so many requests (default: %(default)s)",
        )
        parser.add_argument(
            "--max-phrases", type=_whole_number, metavar="N", help="the best N alone"
        )
        parser.add_argument(
            "--name",
            type=_book_name,
            default="mined",
            help="of the book that is proposed (default: %(default)s)",
        )
        parser.add_argument(
            "--output", metavar="FILE", help="write the book to FILE (default: standard output)"
        )
        parser.add_argument("--force", action="store_true", help="write over a file that exists")
    if name in ("plan", "mine"):
        parser.add_argument(
            "--url", help="a server to ask (default: the one that has cache.directory, if any)"
        )


def _whole_number(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is no number of 1 or more")
    return int(value)


def _book_name(value: str) -> str:
    if not _BOOK_NAME.fullmatch(value):
        raise argparse.ArgumentTypeError(
            f"{value!r} is no name of a book: it takes letters, digits, - and _, 64 at most"
        )
    return value


def _schema() -> int:
    from proxy.phrasebook.reading.schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


def _phonemes(given: argparse.Namespace, settings: Settings) -> int:
    """In a process of its own: G2P brings torch, which has no place in this one."""
    import subprocess

    from synth.voices import UnknownLanguage, parse_language
    from synth.weights import WeightsError, installed
    from synth.weights.sources import CONFIG_FILE

    try:
        language = parse_language(given.language)
        found = installed(settings.engine.weights, settings.cache.directory.expanduser())
    except UnknownLanguage as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None
    except WeightsError as error:
        raise CommandFailed(str(error)) from None
    if found is None:
        raise CommandFailed("the model is not here yet: run `kokoro-edge fetch`")
    command = [sys.executable, "-m", "synth.phonemize", "--config", str(found.folder / CONFIG_FILE)]
    command += ["--language", language.code, "--", given.text]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise CommandFailed(lines[-1] if lines else "it cannot be pronounced")
    print(done.stdout.strip())
    return 0


def _check(
    given: argparse.Namespace, settings: Settings, engine_command: Sequence[str] | None
) -> int:
    books, problems = _read(given.path, settings)
    if not given.quick and books:
        problems += asyncio.run(_ask_engine(books, settings, engine_command))
    for problem in sorted(problems, key=lambda it: (str(it.path), it.line or 0)):
        print(plain(str(problem)))
    phrases = sum(len(book.phrases) for book in books)
    checked = f"{counted(len(books), 'book')}, {counted(phrases, 'phrase')}"
    if problems:
        count = counted(len(problems), "problem")
        print(f"{count}; without any: {checked}" if books else count, file=sys.stderr)
        return EXIT_FAILED
    print(f"{checked}: nothing is wrong")
    return 0


def _read(path: Path | None, settings: Settings) -> tuple[list[Phrasebook], list[Problem]]:
    """The books of a file, of a folder, or of those that are set."""
    from proxy.phrasebook.reading.read import read_book
    from proxy.phrasebook.shelf import EVERY_BOOK, Shelf
    from proxy.speech.plan import Planner

    if path is not None and not path.exists():
        raise CommandFailed(f"there is no {path}", EXIT_USAGE)
    if path is not None and path.is_file():
        found = read_book(path, path.parent)
        return list(found.books), list(found.problems)
    if path is not None:
        shelf = Shelf(path, (EVERY_BOOK,), Planner())
    else:
        shelf = Shelf(settings.phrasebook.directory, settings.phrasebook.books, Planner())
    read = shelf.take_over()
    return list(shelf.books), list(read.problems)


async def _ask_engine(
    books: list[Phrasebook], settings: Settings, engine_command: Sequence[str] | None
) -> list[Problem]:
    """What only the engine's own G2P can tell: whether it has a sound for everything."""
    from proxy.parts import build_pool
    from proxy.phrasebook.unsayable import unsayable
    from synth.engine import EngineError

    pool = build_pool(settings, engine_command)
    pool.start()
    try:
        await pool.wait_until_loaded()
        return [problem async for problem in unsayable(books, pool)]
    except EngineError as error:
        raise CommandFailed(f"{error} --quick checks without the engine") from None
    finally:
        await pool.close()


async def _plan(given: argparse.Namespace, settings: Settings) -> int:
    from proxy.cache.private import NeverStored
    from proxy.cache.steps import Listed
    from proxy.commands.cache import open_source
    from proxy.commands.warm_shown import show_plan
    from proxy.parts import LAST_WARM_UP
    from proxy.phrasebook.cost import LastWarmUp
    from proxy.phrasebook.shelf import wordings_in
    from proxy.phrasebook.survey import Survey, plan_of
    from proxy.phrasebook.takes import takes_of
    from proxy.speech.plan import Planner
    from synth.weights import WeightsError, installed

    books, problems = _read(given.path, settings)
    for problem in problems:
        print(plain(str(problem)), file=sys.stderr)
    if not books:
        return EXIT_FAILED
    directory = settings.cache.directory.expanduser()
    planner = Planner(NeverStored(settings.cache.never_store, settings.cache.never_store_patterns))
    try:
        planner.weights = installed(settings.engine.weights, directory)
    except WeightsError as error:
        raise CommandFailed(str(error)) from None
    if planner.weights is None:
        raise CommandFailed("the model is not here yet: run `kokoro-edge fetch`")
    planner.wordings = wordings_in(books)
    takes = list(takes_of(books, planner))
    async with open_source(given.url, settings, make=False) as source:
        pinned = [
            step
            async for told in source.entries({"tier": "pinned"})
            for step in told
            if isinstance(step, Listed)
        ]
    survey = Survey(pinned)
    missing = [take for take in takes if not survey.is_kept(take)]
    last = LastWarmUp.load(directory / "audio" / LAST_WARM_UP)
    planned = plan_of(books, takes, missing, survey, last)
    if given.json:
        from proxy.phrasebook.steps import to_json

        print(to_json(planned).decode())
    else:
        show_plan(planned)
        for take in takes:
            if take.problem is not None:
                where = f"{take.phrase.path}:{take.phrase.line}"
                print(plain(f"{where}: {take.voice}: {take.problem}"), file=sys.stderr)
    return EXIT_FAILED if problems or any(take.problem for take in takes) else 0
