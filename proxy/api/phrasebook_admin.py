"""`/v1/admin/warm` and `/v1/admin/phrasebooks`: render, look at and reload what is written down."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from proxy.api.access import ADMIN_PATH
from proxy.api.admin_routes import tell
from proxy.api.admin_schema import read_body, read_query
from proxy.api.answer import location_of
from proxy.api.api_keys import ApiKey
from proxy.api.errors import MiningOff, NoSuchPhrasebook, error_response
from proxy.api.middleware import ERROR_CODE, Handler
from proxy.phrasebook.book import Phrasebook, Problem
from proxy.phrasebook.mining.heard import Heard
from proxy.phrasebook.mining.mined import mine, mined_to_json
from proxy.phrasebook.mining.miner import Miner
from proxy.phrasebook.shelf import Shelf
from proxy.phrasebook.steps import Progress, to_json
from proxy.phrasebook.survey import Survey
from proxy.phrasebook.takes import Take
from proxy.phrasebook.warm import Orders, WarmUp

WARM_PATH = f"{ADMIN_PATH}/warm"
PHRASEBOOKS_PATH = f"{ADMIN_PATH}/phrasebooks"
MINE_PATH = f"{ADMIN_PATH}/mine"


class WarmRequest(BaseModel):
    """The body of `POST /v1/admin/warm`; none is an empty object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: bool = False
    prune: bool = False
    verify: bool = False

    def orders(self) -> Orders:
        return Orders(dry_run=self.dry_run, prune=self.prune, verify=self.verify)


class MineRequest(BaseModel):
    """The query of `GET /v1/admin/mine`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_requests: Annotated[int, Field(ge=1)] = 20
    max_phrases: Annotated[int, Field(ge=1)] | None = None
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "mined"


@dataclass(frozen=True, slots=True)
class PhrasebookAdminApi:
    """What `kokoro-edge warm` and the dashboard ask of a running server."""

    shelf: Shelf
    warm_up: WarmUp
    miner: Miner | None
    """None where `mine.enabled` is off."""
    alive_every_s: float = 15.0
    """Whoever asked for a warm-up hears from it at least that often."""
    signs: ApiKey | None = None
    """Signs the addresses that are told, where they are of no use otherwise."""

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """By method and path."""
        return {
            ("POST", WARM_PATH): self.warm,
            ("GET", PHRASEBOOKS_PATH): self.books,
            ("POST", f"{PHRASEBOOKS_PATH}/reload"): self.reload,
            ("GET", PHRASEBOOKS_PATH + "/{name}"): self.book,
            ("GET", MINE_PATH): self.mine,
        }

    async def warm(self, request: web.Request) -> web.StreamResponse:
        """It stops when whoever asked hangs up; what is rendered by then is kept."""
        orders = (await read_body(WarmRequest, request)).orders()

        async with contextlib.aclosing(self._lines(orders)) as told:
            return await tell(request, told)

    async def _lines(self, orders: Orders) -> AsyncGenerator[list[bytes], None]:
        """Never silent for long: between two steps there may be a phrase that waits behind many
        calls, or a check of all that is kept."""
        async with contextlib.aclosing(self.warm_up.run(orders)) as steps:
            while True:
                step = asyncio.ensure_future(anext(steps, None))
                try:
                    while not (await asyncio.wait({step}, timeout=self.alive_every_s))[0]:
                        yield [to_json(self.warm_up.progress or Progress(0, 0, 0, 0.0, None))]
                finally:
                    if not step.done():
                        step.cancel()
                        await asyncio.gather(step, return_exceptions=True)
                found = step.result()
                if found is None:
                    return
                yield [to_json(found)]

    async def books(self, request: web.Request) -> web.Response:
        survey = await self.warm_up.survey()
        takes = await self.warm_up.takes()
        running, last = self.warm_up.progress, self.warm_up.last
        books, problems = self.shelf.books, self.shelf.problems

        def told() -> web.Response:
            return _json(
                {
                    "directory": str(self.shelf.directory),
                    "books": [self._summary(book, takes, survey) for book in books],
                    "problems": _problems(problems),
                    "running": None if running is None else asdict(running),
                    "last": None if last is None else asdict(last),
                }
            )

        return await asyncio.to_thread(told)  # Some ten milliseconds for a large book.

    async def book(self, request: web.Request) -> web.Response:
        """Every phrase of one, with what has become of it."""
        name = request.match_info["name"]
        book = next((book for book in self.shelf.books if book.name == name), None)
        if book is None:
            raise NoSuchPhrasebook(name, [book.name for book in self.shelf.books])
        survey = await self.warm_up.survey()
        takes = await self.warm_up.takes([book])

        def told() -> web.Response:
            phrases = [self._phrase(take, survey) for take in takes]
            return _json({**self._summary(book, takes, survey), "phrases": phrases})

        return await asyncio.to_thread(told)

    async def reload(self, request: web.Request) -> web.Response:
        reloaded = await self.shelf.reload()
        body = {
            "taken_over": list(reloaded.taken_over),
            "dropped": list(reloaded.dropped),
            "kept": list(reloaded.kept),
            "problems": _problems(reloaded.problems),
        }
        if not reloaded.problems:
            return _json(body)
        request[ERROR_CODE] = "phrasebook_problems"
        count = len(reloaded.problems)
        refused = error_response(
            422,
            f"{count} {'thing is' if count == 1 else 'things are'} wrong with the phrasebooks. "
            "Those that are broken are used as they were before.",
            "invalid_request_error",
            "phrasebook_problems",
        )
        return _json({**json.loads(refused.text or "{}"), **body}, status=422)

    async def mine(self, request: web.Request) -> web.Response:
        """What `proxy.phrasebook.mining.mined` tells: the book that is proposed, and its worth."""
        asked = read_query(MineRequest, request)
        if self.miner is None:
            raise MiningOff
        heard = await self.miner.heard()
        # A copy: it is counted in meanwhile.
        copied, books = heard.to_bytes(), self.shelf.books

        def mined() -> web.Response:
            found = mine(
                Heard.from_bytes(copied), books, asked.min_requests, asked.max_phrases, asked.name
            )
            return _json(mined_to_json(found))

        return await asyncio.to_thread(mined)

    def _summary(
        self, book: Phrasebook, takes: Sequence[Take], survey: Survey
    ) -> dict[str, object]:
        states = Counter(self._state(take, survey) for take in takes if take.book is book)
        return {
            "name": book.name,
            "path": str(book.path),
            "phrases": len(book.phrases),
            "takes": sum(states.values()),
            **{state: states[state] for state in ("cached", "missing", "stale", "failed")},
        }

    def _phrase(self, take: Take, survey: Survey) -> dict[str, object]:
        phrase = take.phrase
        return {
            "id": phrase.id,
            "text": phrase.text,
            "voice": take.voice,
            "language": phrase.language,
            "speed": take.speed,
            "formats": list(phrase.formats),
            "tags": list(phrase.tags),
            "priority": phrase.priority,
            "recording": phrase.recording is not None,
            "path": str(phrase.path),
            "line": phrase.line,
            "state": self._state(take, survey),
            "why": take.problem or self._why(take),
            "addresses": {
                plan.format.name: location_of(plan.key.id, plan.format.name, self.signs)
                for plan in take.plans
            },
        }

    def _state(self, take: Take, survey: Survey) -> str:
        if survey.is_kept(take):
            return "cached"
        if take.problem or self._why(take):
            return "failed"
        return "stale" if survey.is_stale(take) else "missing"

    def _why(self, take: Take) -> str | None:
        return self.warm_up.failed.get((take.phrase.text, take.voice, take.speed))


def _problems(problems: Sequence[Problem]) -> list[dict[str, object]]:
    return [
        {"path": str(each.path), "line": each.line, "message": each.message} for each in problems
    ]


def _json(body: object, status: int = 200) -> web.Response:
    return web.json_response(
        body, status=status, dumps=lambda it: json.dumps(it, ensure_ascii=False)
    )
