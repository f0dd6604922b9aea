"""The command `kokoro-edge`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from proxy import __version__
from proxy.commands import cache, phrasebook, warm
from proxy.commands.failure import EXIT_FAILED, EXIT_USAGE, CommandFailed
from proxy.commands.printed import printed
from proxy.layers import SettingsError, load, nearest
from proxy.settings import Option, Settings, options

_FETCH_KEYS = ("engine.weights", "cache.directory")


def main(
    arguments: Sequence[str] | None = None, engine_command: Sequence[str] | None = None
) -> int:
    """Run a command. Returns its exit code: 0 done, 1 failed, 2 wrongly called, 3 another does it.

    `engine_command` stands in for our engine process: see `synth.pool.EnginePool`.
    """
    parser = build_parser()
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        flag = unknown[0].partition("=")[0]
        if not flag.startswith("-"):
            parser.error(f"{flag!r} is one word too many")
        return _say(_unknown_flag(_name_of(given), flag), EXIT_USAGE)
    flags = {
        option.key: value
        for option in options()
        if (value := getattr(given, option.key, None)) is not None
    }
    try:
        settings = load(flags, os.environ, given.config)
    except SettingsError as error:
        return _say(str(error), EXIT_USAGE)
    try:
        if getattr(given, "fetch", False) and (code := _fetch_apart(settings, given.config)):
            return code
        match given.command:
            case "cache":
                return cache.run(given, settings)
            case "phrasebook":
                return phrasebook.run(given, settings, engine_command)
            case "warm":
                _log_to_stderr("WARNING", but_not="proxy.phrasebook")
                return warm.run(given, settings, flags, engine_command)
            case "voices":
                return printed(lambda: _voices(settings))
            case "fetch":
                return _fetch(settings)
        return _serve(settings, engine_command)
    except CommandFailed as failed:
        return _say(str(failed), failed.code)
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Of every command and flag."""
    parser = argparse.ArgumentParser(
        prog="kokoro-edge",
        allow_abbrev=False,
        description="A caching text-to-speech edge proxy for voice agents.",
        epilog="Every flag is a setting; it can be given in kokoro-edge.yaml or as an environment "
        "variable KOKORO_EDGE_GROUP_NAME, too. Flags beat environment beats file beats defaults.",
    )
    parser.add_argument("--version", action="version", version=f"kokoro-edge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help in (
        ("serve", "answer speech requests over HTTP"),
        ("fetch", "fetch the model's weights and voices now"),
        ("voices", "list the voices, and which are here"),
    ):
        command = commands.add_parser(name, help=help, allow_abbrev=False)
        if name == "serve":
            command.add_argument(
                "--fetch",
                action="store_true",
                help="fetch the weights first where they are missing",
            )
        _add_settings(command, _taken_by(name))
    _add_settings(warm.add_parser(commands), _taken_by("warm"))
    for group, parsers in (
        ("phrasebook", phrasebook.add_parsers(commands)),
        ("cache", cache.add_parsers(commands)),
    ):
        for name, command in parsers.items():
            _add_settings(command, _taken_by(f"{group} {name}"))
    return parser


def _add_settings(command: argparse.ArgumentParser, taken: Iterable[Option]) -> None:
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (default: kokoro-edge.yaml)"
    )
    for option in taken:
        command.add_argument(
            *reversed(option.flags),
            dest=option.key,
            metavar=option.name.upper(),
            help=f"{option.help} (default: {option.default_shown or 'none'})".replace("%", "%%"),
        )


def _name_of(given: argparse.Namespace) -> str:
    """`serve`, or `cache ls`."""
    inner = getattr(given, f"{given.command}_command", None)
    return str(given.command) if inner is None else f"{given.command} {inner}"


def _taken_by(command: str) -> list[Option]:
    """The settings that are flags of this command."""
    group, _, name = command.partition(" ")
    match group:
        case "serve":
            return list(options())
        case "warm":
            keys = warm.SETTINGS
        case "cache":
            keys = cache.settings_of(name)
        case "phrasebook":
            keys = phrasebook.settings_of(name)
        case _:
            keys = _FETCH_KEYS
    return [each for each in options() if each.key in keys]


def _own_flags(command: str) -> list[str]:
    """The flags of this command that are no settings."""
    group, _, name = command.partition(" ")
    match group:
        case "serve":
            return ["--fetch"]
        case "warm":
            return list(warm.FLAGS)
        case "cache":
            return cache.flags_of(name)
        case "phrasebook":
            return phrasebook.flags_of(name)
    return []


def _unknown_flag(command: str, flag: str) -> str:
    if flag == "--fetch" or any(flag in option.flags for option in options()):
        return f"{flag} is no flag of `kokoro-edge {command}`. It is one of `kokoro-edge serve`."
    known = [each for option in _taken_by(command) for each in option.flags]
    known += ["--config", "--help", *_own_flags(command)]
    return f"unknown flag {flag}.{nearest(flag, known)}"


def _log_to_stderr(level: str, but_not: str | None = None) -> None:
    """`but_not` is the package that tells by itself what it would log."""
    from proxy.line_formatter import LineFormatter

    handler = logging.StreamHandler()
    if but_not is not None:
        told = logging.Filter(but_not)
        handler.addFilter(lambda record: not told.filter(record))
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    # Looked up for every line otherwise, and not in the format.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _serve(settings: Settings, engine_command: Sequence[str] | None) -> int:
    from proxy.phrasebook.book import PhrasebookError
    from proxy.serve import serve
    from synth.weights import WeightsError

    _log_to_stderr(settings.log.level)
    try:
        serve(settings, engine_command)
    except PhrasebookError as error:
        for problem in error.problems:
            _say(str(problem), EXIT_USAGE)
        return EXIT_USAGE
    except (SettingsError, WeightsError) as error:
        return _say(str(error), EXIT_USAGE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"cannot serve: {where}{error.strerror or error}", EXIT_FAILED)
    except sqlite3.Error as error:
        where = f"{settings.cache.directory.expanduser() / 'audio'}: "
        return _say(f"cannot serve: {where}{error}", EXIT_FAILED)
    return 0


def _fetch_apart(settings: Settings, config: Path | None) -> int:
    """Fetch what is missing, in a process of its own.

    Turning the registries' weights into a checkpoint takes torch, which the server must not hold.
    Damaged files are not looked for: every engine process does that when it starts.
    """
    from synth import weights

    directory = settings.cache.directory.expanduser()
    try:
        if weights.installed(settings.engine.weights, directory) is not None:
            return 0
    except weights.WeightsError as error:
        return _say(str(error), EXIT_USAGE)
    command = [sys.executable, "-m", "proxy", "fetch"]
    command += ["--engine-weights", settings.engine.weights, "--cache-directory", str(directory)]
    command += [] if config is None else ["--config", str(config)]
    # Told to stop, it takes its child along: `run` kills it when anything is raised.
    before = signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    try:
        code = subprocess.run(command).returncode
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code


def _fetch(settings: Settings) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from synth import weights

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    # Without a terminal the steps are told line by line, and no bar is drawn.
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as bar:
        task = bar.add_task("weights", total=None)

        def report(step: weights.Progress) -> None:
            if step.what != bar.tasks[task].description:
                bar.console.print(step.what)
            bar.update(
                task, description=step.what, completed=step.done_bytes, total=step.total_bytes
            )

        try:
            found = weights.fetch(
                settings.engine.weights, settings.cache.directory.expanduser(), report
            )
        except weights.WeightsError as error:
            bar.stop()
            return _say(str(error), EXIT_FAILED)
        bar.remove_task(task)
    console.print(f"weights from {found.origin} are in {found.folder}, {len(found.voices)} voices")
    return 0


def _voices(settings: Settings) -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from synth import weights
    from synth.voices import DEFAULT_VOICE, VOICES

    try:
        found = weights.installed(settings.engine.weights, settings.cache.directory.expanduser())
    except weights.WeightsError as error:
        return _say(str(error), EXIT_FAILED)
    here = set(found.voices) if found else set()
    table = Table("voice", "name", "accent", "gender", "lang_code", "here")
    for voice in VOICES.values():
        if not voice.language.installed():
            # Escaped: rich takes what stands in brackets for a style.
            state = escape(f"needs kokoro-edge[{voice.language.extra}]")
        else:
            state = "yes" if voice.name in here else "no: run kokoro-edge fetch"
        name = f"{voice.name} (default)" if voice.name == DEFAULT_VOICE else voice.name
        table.add_row(name, voice.title, voice.accent, voice.gender, voice.language.code, state)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


def _say(message: str, code: int) -> int:
    print(f"kokoro-edge: {message}", file=sys.stderr)
    return code
