"""What is asked for under `/v1/admin`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Discriminator

from proxy.api.access import ADMIN_PATH
from proxy.api.admin_schema import Filters, PurgeRequest, VerifyRequest
from proxy.api.cache_admin import CACHE_PATH
from proxy.api.keys_admin import KEYS_PATH
from proxy.api.openapi import replies
from proxy.api.openapi.operation import Access, Answer, Body, Operation
from proxy.api.phrasebook_admin import (
    MINE_PATH,
    PHRASEBOOKS_PATH,
    WARM_PATH,
    MineRequest,
    WarmRequest,
)
from proxy.cache import steps as cache_steps
from proxy.phrasebook import steps as phrasebook_steps
from proxy.phrasebook.mining.mined import Mined

# One a line. What fails after the first line ends with the error as a line.
_CacheSteps = list[Annotated[cache_steps.Step, Discriminator("step")] | replies.Refusal]
_WarmSteps = list[Annotated[phrasebook_steps.Step, Discriminator("step")] | replies.Refusal]

_LINES = ("application/x-ndjson",)
_TAR = "application/x-tar"

ADMINISTRATION: Mapping[tuple[str, str], Operation] = {
    ("GET", CACHE_PATH): Operation(
        "getCache",
        "What the cache holds",
        {200: Answer("Sizes and counts.", cache_steps.Stats)},
        (503,),
        tag="cache",
        access=Access.ADMIN,
    ),
    ("GET", f"{CACHE_PATH}/entries"): Operation(
        "listEntries",
        "The entries of the cache",
        {200: Answer("One a line.", _CacheSteps, media_types=_LINES)},
        (400, 503),
        tag="cache",
        query=Filters,
        access=Access.ADMIN,
    ),
    ("POST", f"{CACHE_PATH}/verify"): Operation(
        "verifyCache",
        "Read and check every entry",
        {200: Answer("What is found, a line each.", _CacheSteps, media_types=_LINES)},
        (400, 408, 413, 503),
        tag="cache",
        body=Body(VerifyRequest, required=False, examples={"look": {"repair": False}}),
        access=Access.ADMIN,
    ),
    ("POST", f"{CACHE_PATH}/purge"): Operation(
        "purgeCache",
        "Delete entries",
        {200: Answer("How far it is, line by line.", _CacheSteps, media_types=_LINES)},
        (400, 408, 413, 503),
        tag="cache",
        body=Body(PurgeRequest, examples={"all": {"all": True}, "voice": {"voice": "af_bella"}}),
        access=Access.ADMIN,
    ),
    ("GET", f"{CACHE_PATH}/export"): Operation(
        "exportCache",
        "The entries as an archive",
        {200: Answer("A tar.", media_types=(_TAR,), headers=("Content-Disposition",))},
        (400, 503),
        tag="cache",
        query=Filters,
        access=Access.ADMIN,
    ),
    ("POST", f"{CACHE_PATH}/import"): Operation(
        "importCache",
        "Take the entries of an archive",
        {200: Answer("How far it is, line by line.", _CacheSteps, media_types=_LINES)},
        (400, 408, 503),
        tag="cache",
        body=Body(media_type=_TAR),
        access=Access.ADMIN,
    ),
    ("POST", WARM_PATH): Operation(
        "warm",
        "Render what is missing of the phrasebooks",
        {200: Answer("What is done, line by line.", _WarmSteps, media_types=_LINES)},
        (400, 408, 409, 413, 503),
        tag="phrasebooks",
        body=Body(WarmRequest, required=False, examples={"plan": {"dry_run": True}}),
        access=Access.ADMIN,
    ),
    ("GET", PHRASEBOOKS_PATH): Operation(
        "listPhrasebooks",
        "The phrasebooks in use",
        {200: Answer("All of them, and the warm-up.", replies.Books)},
        (503,),
        tag="phrasebooks",
        access=Access.ADMIN,
    ),
    ("POST", f"{PHRASEBOOKS_PATH}/reload"): Operation(
        "reloadPhrasebooks",
        "Read the phrasebooks again",
        {
            200: Answer("What became of them.", replies.Reloaded),
            422: Answer("Some are broken.", replies.NotReloaded),
        },
        (503,),
        tag="phrasebooks",
        access=Access.ADMIN,
    ),
    ("GET", PHRASEBOOKS_PATH + "/{name}"): Operation(
        "getPhrasebook",
        "A phrasebook and its phrases",
        {200: Answer("All of it.", replies.BookInFull)},
        (404, 503),
        tag="phrasebooks",
        parameters=("book",),
        access=Access.ADMIN,
    ),
    ("GET", MINE_PATH): Operation(
        "mine",
        "A phrasebook made of what callers heard",
        {200: Answer("The book, and what it is worth.", Mined)},
        (400, 404, 503),
        tag="phrasebooks",
        query=MineRequest,
        access=Access.ADMIN,
    ),
    ("GET", KEYS_PATH): Operation(
        "listKeys",
        "What came with which API key",
        {200: Answer("Counts since the server started.", replies.KeyCounts)},
        tag="speech",
        access=Access.ADMIN,
    ),
    ("GET", f"{ADMIN_PATH}/unknown-fields"): Operation(
        "listUnknownFields",
        "Fields of speech requests that were ignored",
        {200: Answer("How many requests had each.", replies.UnknownFields)},
        tag="speech",
        access=Access.ADMIN,
    ),
}
