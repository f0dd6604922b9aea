"""`kokoro-edge cache`: look after what has been said, whether a server runs or not."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.commands.failure import EXIT_FAILED, EXIT_USAGE, CommandFailed
from proxy.commands.printed import printed
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.cache.owner import CacheInUse
    from proxy.commands.source import Filters, Source

_COMMANDS: Mapping[str, str] = {
    "stats": "count what the cache holds",
    "ls": "list the entries",
    "verify": "check every entry",
    "purge": "delete everything, or what is of a voice, an age or a text",
    "export": "write the entries to a tar that another machine can take",
    "import": "take the entries of such a tar",
}

_FILTERS: Mapping[str, tuple[str, ...]] = {
    "ls": ("kind", "voice", "tier", "older_than", "text"),
    "purge": ("voice", "tier", "older_than", "text"),
    "export": ("kind", "voice", "tier", "older_than", "text"),
}

_FLAGS: Mapping[str, tuple[str, ...]] = {
    "stats": ("--json",),
    "ls": ("--json",),
    "verify": ("--repair",),
    "purge": ("--all",),
    "export": ("--force",),
}
"""Beside filters and settings."""

_SETTINGS = ("cache.directory", "cache.disk_bytes", "cache.pinned_bytes")
_IMPORT_SETTINGS = (*_SETTINGS, "cache.ttl_s", "cache.keep_text")

_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])")
_AGE_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def add_parsers(commands: Any) -> dict[str, argparse.ArgumentParser]:
    """Add `cache` to the commands. Returns the parser of each command that it has."""
    cache = commands.add_parser("cache", help="look after what has been said", allow_abbrev=False)
    inner = cache.add_subparsers(dest="cache_command", required=True, metavar="COMMAND")
    parsers = {}
    for name, help in _COMMANDS.items():
        parser = inner.add_parser(name, help=help, allow_abbrev=False)
        _add_arguments(name, parser)
        parser.add_argument(
            "--url",
            help="a server to ask (default: the one that has cache.directory; where none runs, the "
            "directory itself is looked after)",
        )
        parsers[name] = parser
    return parsers


def settings_of(command: str) -> tuple[str, ...]:
    """Which settings are flags of `kokoro-edge cache COMMAND`."""
    return _IMPORT_SETTINGS if command == "import" else _SETTINGS


def flags_of(command: str) -> list[str]:
    """The flags of `kokoro-edge cache COMMAND` that are no settings."""
    filters = [f"--{name.replace('_', '-')}" for name in _FILTERS.get(command, ())]
    return ["--url", *_FLAGS.get(command, ()), *filters]


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Returns the exit code. Raises CommandFailed: it cannot be done."""
    import asyncio

    return printed(lambda: asyncio.run(_run(given, settings)))


def _add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    filters = _FILTERS.get(name, ())
    if name in ("stats", "ls"):
        parser.add_argument("--json", action="store_true", help="one JSON object a line")
    if name == "verify":
        parser.add_argument(
            "--repair", action="store_true", help="delete what is damaged, so that it is made again"
        )
    if name == "purge":
        parser.add_argument("--all", action="store_true", help="everything there is")
    if name in ("export", "import"):
        parser.add_argument("file", metavar="FILE", help="the tar; - is standard input or output")
    if name == "export":
        parser.add_argument("--force", action="store_true", help="write over a file that exists")
    if "kind" in filters:
        parser.add_argument("--kind", choices=("clip", "rendition"), help="only these")
    if "voice" in filters:
        parser.add_argument("--voice", help="only of this voice, blends that contain it included")
    if "tier" in filters:
        parser.add_argument("--tier", choices=("pinned", "traffic"), help="only of this tier")
    if "older_than" in filters:
        parser.add_argument(
            "--older-than", type=_age_s, metavar="AGE", help="only older: 30d, 12h, 90m or 3600s"
        )
    if "text" in filters:
        parser.add_argument("--text", help="only what says a sentence of this text")


def _age_s(value: str) -> float:
    match = _AGE.fullmatch(value)
    if match is None:
        raise argparse.ArgumentTypeError(f"{value!r} is no age: write 30d, 12h, 90m or 3600s")
    return float(match[1]) * _AGE_UNITS_S[match[2]]


async def _run(given: argparse.Namespace, settings: Settings) -> int:
    from proxy.commands import cache_commands

    command = given.cache_command
    filters = _read_filters(given)
    if command == "purge":
        _check_purge(filters, given.all)
    async with open_source(given.url, settings, make=command == "import") as source:
        if not source.is_there:
            note = f"there is no {source.where.removeprefix('the ')} yet"
            if command == "export":
                raise CommandFailed(f"{note}: nothing to export")
            print(note, file=sys.stderr)
        match command:
            case "stats":
                return await cache_commands.stats(source, given.json)
            case "ls":
                return await cache_commands.ls(source, filters, given.json)
            case "verify":
                return await cache_commands.verify(source, given.repair)
            case "purge":
                return await cache_commands.purge(source, filters)
            case "export":
                return await cache_commands.export_archive(source, filters, given.file, given.force)
            case _:
                return await cache_commands.import_archive(source, given.file)


def _read_filters(given: argparse.Namespace) -> Filters:
    from proxy.cache.selection import NothingToSay, select
    from synth.voices import UnknownVoice

    names = {"older_than": "older_than_s"}
    found: Any = {
        names.get(name, name): value
        for name in _FILTERS.get(given.cache_command, ())
        if (value := getattr(given, name)) is not None
    }
    filters: Filters = found
    try:
        select(**filters)
    except (UnknownVoice, NothingToSay) as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None
    return filters


def _check_purge(filters: Filters, everything: bool) -> None:
    if not filters and not everything:
        raise CommandFailed(
            "say what to purge: --voice, --tier, --older-than, --text, or --all of it", EXIT_USAGE
        )
    if filters and everything:
        raise CommandFailed("--all takes no other condition beside it", EXIT_USAGE)


@asynccontextmanager
async def open_source(url: str | None, settings: Settings, make: bool) -> AsyncIterator[Source]:
    """The server that is named; else the directory; else the server that has it."""
    from proxy.cache.owner import CacheInUse
    from proxy.commands.here import open_here

    certificate = announced_certificate(url, settings)
    with ExitStack() as held:
        if url is None:
            try:
                yield held.enter_context(open_here(settings.cache, make))
                return
            except CacheInUse as in_use:
                url, certificate = address_of(in_use)
        from proxy.commands.admin_client import open_client
        from proxy.commands.there import There

        async with open_client(url, key_of(settings), certificate) as client:
            yield There(client)


def who_has(settings: Settings) -> CacheInUse | None:
    """Who has the directory at this moment, where somebody has. Nothing is made."""
    from proxy.cache.owner import CacheInUse, Ownership

    directory = settings.cache.directory.expanduser() / "audio"
    if not directory.is_dir():
        return None
    owner = Ownership(directory)
    try:
        owner.take()
    except CacheInUse as found:
        return found
    owner.release()
    return None


def announced_certificate(url: str | None, settings: Settings) -> str | None:
    """The certificate of the server that is named, where it is the one on this machine that has
    the directory: nobody else can vouch for one on a loopback address. See `Owner`.

    The directory's lock is not taken, which a server that starts at this moment would miss.
    """
    from proxy.cache.owner import read_owner

    owner = read_owner(settings.cache.directory.expanduser() / "audio")
    if url is None or owner is None or owner.url is None:
        return None
    try:
        named, told = _place_of(url), _place_of(owner.url)
    except ValueError:
        return None
    return owner.certificate if named is not None and named == told else None


def _place_of(url: str) -> tuple[str, int | None] | None:
    """Scheme and port, where the host is this machine. Raises ValueError: it is no address."""
    from proxy.api.access import is_loopback

    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return (parts.scheme, port) if is_loopback(parts.hostname or "") else None


def address_of(in_use: CacheInUse, otherwise: int = EXIT_FAILED) -> tuple[str, str | None]:
    """Where the server is that has the cache, and its certificate where it has one: see `Owner`.

    Raises:
        CommandFailed: it is no server, or not yet; the exit code is `otherwise`.
    """
    if in_use.owner is not None and in_use.owner.url is not None:
        return in_use.owner.url, in_use.owner.certificate
    raise CommandFailed(
        f"{in_use.args[0].partition(': ')[0]}, which tells no address: name the server with --url, "
        "or wait until that process is done",
        otherwise,
    )


def key_of(settings: Settings) -> str | None:
    key = settings.server.admin_key
    return None if key is None else key.get_secret_value()
