"""The JSON that is answered, where no type of the code itself describes it. What has a default may
be left out; fields may be added."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from proxy.phrasebook.steps import Progress, Warmed


class _Told(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Server(_Told):
    """The server."""

    name: Literal["kokoro-edge"]
    version: str
    model: str
    voices: list[str]


class Health(_Told):
    """How the server is. It answers, so what is cached can be had."""

    status: Literal["ok", "loading", "failed"]
    """Of the engine."""
    model_loaded: bool
    device: str | None
    """What the model runs on; null before it is known."""
    problem: str = ""
    """Why the engine did not start, where it did not."""
    phrasebook_problems: int = 0
    """How many things are wrong with the phrasebooks, where there are such."""
    fallback: dict[str, str] = {}
    """How the providers are that speak in the engine's place, where there are such."""


class Ready(_Told):
    """Calls should come."""

    status: Literal["ready"]


class NotReady(_Told):
    """Calls should not come yet."""

    status: Literal["not ready"]
    reason: str


class Model(_Told):
    """A model, as OpenAI's API has it."""

    id: str
    object: Literal["model"]
    created: int
    """In seconds since 1970."""
    owned_by: str


class Named(_Told):
    """A thing by its name."""

    id: str


class Models(_Told):
    """All models, of which there is one."""

    object: Literal["list"]
    data: list[Model]
    models: list[Named]
    """The same once more, as Open WebUI reads them."""


class Voice(_Told):
    """One of the model's voices."""

    id: str
    name: str
    """For people."""
    language: str
    """BCP 47."""
    accent: str
    gender: Literal["female", "male"]
    installed: bool
    """Whether what its language needs is on this server."""


class Voices(_Told):
    """All voices."""

    voices: list[Voice]
    aliases: dict[str, str]
    """Other names by which requests may call a voice."""


class Error(_Told):
    """What is wrong, in OpenAI's words."""

    message: str
    """For people: what was wrong, and what to do."""
    type: str
    """`invalid_request_error`, `server_error` and the like."""
    param: str | None
    """The field that was wrong, where it was one."""
    code: str | None
    """For programs."""


class Refusal(_Told):
    """The answer to whatever cannot be done."""

    error: Error


class Mistake(_Told):
    """A mistake in a phrasebook."""

    path: str
    line: int | None
    message: str


class _Book(_Told):
    name: str
    path: str
    takes: int
    """Phrases, each once for every voice and speed; the sum of the four below."""
    cached: int
    missing: int
    stale: int
    failed: int


class Book(_Book):
    """A phrasebook in use, and how much of it is rendered."""

    phrases: int


class Books(_Told):
    """All phrasebooks in use."""

    directory: str
    books: list[Book]
    problems: list[Mistake]
    running: Progress | None
    """The warm-up under way."""
    last: Warmed | None
    """How the last one ended, since the server started."""


class BookPhrase(_Told):
    """A phrase in one voice and speed."""

    id: str | None
    """What the book calls it, where it does."""
    text: str
    voice: str
    language: str | None
    speed: float
    formats: list[str]
    tags: list[str]
    priority: int
    recording: bool
    path: str
    line: int
    state: Literal["cached", "missing", "stale", "failed"]
    why: str | None
    """It failed."""
    addresses: dict[str, str]
    """Where it can be fetched, by format."""


class BookInFull(_Book):
    """A phrasebook with its phrases."""

    phrases: list[BookPhrase]


class Reloaded(_Told):
    """What became of the books in the folder."""

    taken_over: list[str]
    dropped: list[str]
    kept: list[str]
    problems: list[Mistake]


class NotReloaded(Reloaded, Refusal):
    """Some books are broken, and used as they were before."""


class UnknownField(_Told):
    """A field that requests had."""

    name: str
    requests: int


class UnknownFields(_Told):
    """Fields that requests had and nothing here knows, the most frequent first."""

    unknown_fields: list[UnknownField]


class KeyCount(_Told):
    """What came with one API key."""

    name: str
    requests: int
    """Those that were let in."""
    limited: int
    """Those that came too often."""


class KeyCounts(_Told):
    """What came with the API keys there are."""

    keys: list[KeyCount]
    refused: int
    """Requests with a key that is none of them, or without."""


class Document(_Told):
    """An OpenAPI document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
