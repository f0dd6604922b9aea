"""`kokoro-edge warm`: render the phrasebooks, on the server that runs or by itself."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.commands.cache import address_of, announced_certificate, key_of, who_has
from proxy.commands.failure import EXIT_BUSY, EXIT_FAILED, EXIT_USAGE, CommandFailed
from proxy.commands.files import STANDARD, written
from proxy.commands.printed import counted, printed
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.phrasebook.steps import Report, Step
    from proxy.phrasebook.warm import Orders

SETTINGS: tuple[str, ...] = (
    "phrasebook.directory",
    "phrasebook.books",
    "engine.weights",
    "engine.device",
    "engine.processes",
    "engine.threads",
    "engine.pass_deadline_s",
    "cache.directory",
    "cache.disk_bytes",
    "cache.pinned_bytes",
    "cache.keep_text",
    "cache.never_store",
    "cache.never_store_patterns",
    "warm.verify_model",
)
"""Which settings are flags of `kokoro-edge warm`."""

FLAGS = ("--dry-run", "--prune", "--verify", "--report", "--url")
"""Those that are no settings."""

_INTERRUPTED = (
    "interrupted: what was rendered is kept, and the next `kokoro-edge warm` makes the rest"
)


def add_parser(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "warm", help="render the phrasebooks into the cache", allow_abbrev=False
    )
    parser.add_argument("--dry-run", action="store_true", help="say what there is to do, and end")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="delete what is kept for phrasebooks and named by none any more",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="have a recogniser listen to every new sentence before it is kept (extra 'verify')",
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write what was done to FILE (- for standard output), as JSON",
    )
    parser.add_argument(
        "--url",
        help="a server to ask (default: the one that has cache.directory; where none runs, this "
        "command does it by itself)",
    )
    return parser


def run(
    given: argparse.Namespace,
    settings: Settings,
    flags: Collection[str],
    engine_command: Sequence[str] | None = None,
) -> int:
    """Returns the exit code. `flags` are the settings that were given as such. `engine_command`
    stands in for our engine process: see `synth.pool.EnginePool`.

    Raises:
        CommandFailed: it cannot be done.
    """
    try:
        return printed(lambda: asyncio.run(_run(given, settings, flags, engine_command)))
    except KeyboardInterrupt:
        raise CommandFailed(_INTERRUPTED, 128 + signal.SIGINT) from None
    except asyncio.CancelledError:
        raise CommandFailed(_INTERRUPTED, 128 + signal.SIGTERM) from None


async def _run(
    given: argparse.Namespace,
    settings: Settings,
    flags: Collection[str],
    engine_command: Sequence[str] | None,
) -> int:
    from proxy.commands.warm_shown import Shown
    from proxy.phrasebook.steps import Report
    from proxy.phrasebook.warm import Orders

    orders = Orders(dry_run=given.dry_run, prune=given.prune, verify=given.verify)
    if given.report is not None:
        _check_target(given.report)
    _end_at_sigterm()
    report = Report()
    try:
        # What is told goes where the report does not.
        with Shown(to_stderr=given.report == STANDARD) as shown:
            asked = _steps(given.url, settings, flags, orders, engine_command)
            async with aclosing(asked) as steps:
                async for step in steps:
                    _note(step, report)
                    shown.show(step)
        if report.planned is None or (report.warmed is None and not orders.dry_run):
            raise CommandFailed("the warm-up ended before it was done")
    except (CommandFailed, OSError) as error:
        report.broke_off = str(error)
        raise
    except asyncio.CancelledError:
        report.broke_off = _INTERRUPTED
        raise
    finally:
        if given.report is not None:
            _write(report, given.report)
    well = report.warmed.well if report.warmed is not None else not report.problems
    return 0 if well else EXIT_FAILED


def _end_at_sigterm() -> None:
    """As at Ctrl-C: in order, and with its report. Service managers send it."""
    if threading.current_thread() is threading.main_thread():
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _steps(
    url: str | None,
    settings: Settings,
    flags: Collection[str],
    orders: Orders,
    engine_command: Sequence[str] | None,
) -> AsyncGenerator[Step, None]:
    """Of the server that is named, or has the cache; else of this process."""
    from proxy.cache.owner import CacheInUse

    certificate = announced_certificate(url, settings)
    if url is None:
        try:
            async with aclosing(_alone(settings, orders, engine_command)) as steps:
                async for step in steps:
                    yield step
            return
        except CacheInUse as in_use:
            url, certificate = address_of(in_use, EXIT_BUSY)
    if own := [key for key in flags if key != "cache.directory"]:
        flag = "--" + own[0].replace(".", "-").replace("_", "-")
        raise CommandFailed(
            f"the server at {url} does it, by its own settings: leave {flag} out here, and set it "
            "for the server",
            EXIT_USAGE,
        )
    async with aclosing(_there(url, key_of(settings), certificate, orders)) as steps:
        async for step in steps:
            yield step


async def _alone(
    settings: Settings, orders: Orders, engine_command: Sequence[str] | None
) -> AsyncGenerator[Step, None]:
    """Raises CacheInUse, before there is a step: somebody else has the cache."""
    from proxy.cache.disk import CacheUnavailable
    from proxy.cache.owner import CacheInUse
    from proxy.cache.store import STORAGE_FAULTS
    from proxy.parts import build_parts
    from proxy.phrasebook.book import PhrasebookError
    from proxy.phrasebook.steps import BookProblem
    from synth.engine import EngineError
    from synth.verify import VerifierUnavailable
    from synth.weights import WeightsError

    parts = build_parts(settings, engine_command)
    try:
        parts.shelf.open()
    except PhrasebookError as error:
        if (in_use := who_has(settings)) is not None:
            raise in_use from None
        for problem in error.problems:
            yield BookProblem(str(problem.path), problem.line, problem.message)
        raise CommandFailed(
            f"{counted(len(error.problems), 'problem')} in phrasebooks: nothing is rendered before "
            "there is none",
            EXIT_USAGE,
        ) from None
    try:
        async with (
            parts.running(nothing_is_made=orders.dry_run),
            aclosing(parts.warm_up.run(orders)) as steps,
        ):
            async for step in steps:
                yield step
    except (EngineError, CacheUnavailable, VerifierUnavailable, WeightsError) as error:
        raise CommandFailed(str(error)) from None
    except CacheInUse:
        raise
    except STORAGE_FAULTS as error:
        directory = settings.cache.directory.expanduser() / "audio"
        raise CommandFailed(f"the cache in {directory} cannot be used: {error}") from None


async def _there(
    url: str, admin_key: str | None, certificate: str | None, orders: Orders
) -> AsyncGenerator[Step, None]:
    from proxy.api.phrasebook_admin import WARM_PATH
    from proxy.commands.admin_client import open_client
    from proxy.phrasebook.steps import from_json

    body = {"dry_run": orders.dry_run, "prune": orders.prune, "verify": orders.verify}
    async with open_client(url, admin_key, certificate) as client:
        async with aclosing(client.lines("POST", WARM_PATH, json=body)) as lines:
            async for line in lines:
                try:
                    yield from_json(line)
                except ValueError:
                    raise client.broken_off(line) from None


def _note(step: Step, report: Report) -> None:
    from proxy.phrasebook.steps import BookProblem, Failed, Planned, Warmed

    match step:
        case Planned():
            report.planned = step
        case Warmed():
            report.warmed = step
        case Failed():
            report.failed.append(step)
        case BookProblem():
            report.problems.append(step)


def _check_target(name: str) -> None:
    """Before an hour of work, not after it."""
    path = Path(name)
    if name == STANDARD:
        return
    if not path.parent.is_dir():
        raise CommandFailed(f"cannot write {path}: there is no folder {path.parent}", EXIT_USAGE)
    if path.exists() and not path.is_file():
        raise CommandFailed(f"cannot write {path}: it is no file", EXIT_USAGE)
    if not os.access(path.parent, os.W_OK):
        raise CommandFailed(f"cannot write {path}: {path.parent} is not writable", EXIT_USAGE)


def _write(report: Report, name: str) -> None:
    from proxy.phrasebook.steps import report_to_json

    with written(name, force=True) as file:
        file.write(report_to_json(report))
    if name != STANDARD:
        print(f"report in {name}", file=sys.stderr)
