"""`kokoro-edge phrasebook mine`: propose a phrasebook from what callers heard."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from proxy.commands.cache import announced_certificate, key_of, who_has
from proxy.commands.failure import CommandFailed
from proxy.commands.files import STANDARD, written
from proxy.commands.printed import counted
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.phrasebook.mining.mined import Mined
    from proxy.phrasebook.mining.proposal import Rates


async def run(given: argparse.Namespace, settings: Settings) -> int:
    """Returns the exit code. Raises CommandFailed: it cannot be done."""
    url, certificate = given.url, announced_certificate(given.url, settings)
    if not url:
        url, certificate = _server_of(settings)
    if url is None:
        mined = await asyncio.to_thread(_mine_here, given, settings)
    else:
        mined = await _mine_there(url, certificate, given, settings)
    if not mined.totals.requests:
        raise CommandFailed("nothing was counted yet: let the server take calls first")
    _tell(mined, given.min_requests)
    if not mined.proposal.phrases:
        print("there is nothing to propose yet", file=sys.stderr)
        return 0
    if given.output in (None, STANDARD):
        sys.stdout.write(mined.book)
        return 0
    with written(given.output, given.force) as file:
        file.write(mined.book.encode())
    print(f"wrote {given.output}: look through it before you use it", file=sys.stderr)
    return 0


def _server_of(settings: Settings) -> tuple[str | None, str | None]:
    """The server that has the cache, where one runs: it knows what was heard a moment ago. And its
    certificate, where it has one."""
    found = who_has(settings)
    if found is None or found.owner is None:
        return None, None
    return found.owner.url, found.owner.certificate


def _mine_here(given: argparse.Namespace, settings: Settings) -> Mined:
    from proxy.phrasebook.mining.heard import Heard
    from proxy.phrasebook.mining.mined import mine
    from proxy.phrasebook.mining.miner import HEARD
    from proxy.phrasebook.shelf import Shelf
    from proxy.speech.plan import Planner

    path = settings.cache.directory.expanduser() / "audio" / HEARD
    try:
        heard = Heard.load(path)
    except FileNotFoundError:
        raise CommandFailed(
            "nothing was counted yet: set mine.enabled for the server, and let it take calls"
        ) from None
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{path}: {error}") from None
    shelf = Shelf(settings.phrasebook.directory, settings.phrasebook.books, Planner())
    for problem in shelf.take_over().problems:
        print(f"{problem} (what this book holds may be proposed again)", file=sys.stderr)
    return mine(heard, shelf.books, given.min_requests, given.max_phrases, given.name)


async def _mine_there(
    url: str, certificate: str | None, given: argparse.Namespace, settings: Settings
) -> Mined:
    from proxy.api.phrasebook_admin import MINE_PATH
    from proxy.commands.admin_client import open_client
    from proxy.phrasebook.mining.mined import mined_from_json

    query = {"min_requests": str(given.min_requests), "name": given.name}
    if given.max_phrases is not None:
        query["max_phrases"] = str(given.max_phrases)
    async with open_client(url, key_of(settings), certificate) as client:
        async with client.ask("GET", MINE_PATH, params=query) as answer:
            body = await answer.read()
            try:
                return mined_from_json(body)
            except ValueError:
                raise client.broken_off(body) from None


def _tell(mined: Mined, min_requests: int) -> None:
    """To standard error: the book itself may go to standard output."""
    from proxy.commands.warm_shown import duration
    from proxy.phrasebook.mining.proposal import REASONS

    totals, proposal = mined.totals, mined.proposal
    saved_s = sum(phrase.saved_s for phrase in proposal.phrases)
    lines = [
        f"heard: {counted(totals.requests, 'request')}, {counted(totals.sentences, 'sentence')}, "
        f"{counted(totals.characters, 'character')}",
        f"proposed: {counted(len(proposal.phrases), 'phrase')}, each heard in "
        f"{counted(min_requests, 'request')} or more, {duration(saved_s)} of speech",
        _rates("sentences ", proposal.sentences),
        _rates("characters", proposal.characters),
    ]
    lines += [
        f"left out: {counted(left.sentences, 'sentence')} ({counted(left.requests, 'request')}) "
        f"{REASONS[left.reason]}"
        for left in proposal.left_out
    ]
    if mined.max_error:
        lines.append(
            f"counts may be too low by up to {mined.max_error}: mine.max_sentences was not enough "
            "to tell all of them apart"
        )
    print("\n".join(lines), file=sys.stderr)


def _rates(what: str, rates: Rates) -> str:
    would = rates.in_phrasebooks + rates.proposed
    return (
        f"{what}: {rates.in_phrasebooks:.1%} were in phrasebooks, {rates.missed:.1%} had to be "
        f"made; with this book at least {would:.1%} would have been in phrasebooks"
    )
