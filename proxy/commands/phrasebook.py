"""`kokoro-edge phrasebook`: check, plan and propose what agents say."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proxy.commands.printed import printed
from proxy.settings import Settings

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
            from proxy.commands import check

            return check.run(given, settings, engine_command)
        case "plan":
            from proxy.commands import plan

            return asyncio.run(plan.run(given, settings))
        case "phonemes":
            from proxy.commands import phonemes

            return phonemes.run(given, settings)
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
