"""What is asked of `/v1/admin/cache`, in bodies and queries. Unknown fields are errors."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal, Self, TypeVar

import pydantic
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from proxy.api.errors import BadRequest
from proxy.api.patience import whole_body
from proxy.api.schema import MAX_INPUT_CHARS
from proxy.cache.entry import Kind
from proxy.cache.selection import Selection, select
from proxy.cache.store import Tier

_Age = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Voice = Annotated[str, Field(max_length=256)]
_Text = Annotated[str, Field(max_length=MAX_INPUT_CHARS)]

_CONFIG = ConfigDict(frozen=True, extra="forbid")


class VerifyRequest(BaseModel):
    model_config = _CONFIG

    repair: bool = False


class Filters(BaseModel):
    """Of `entries` and `export`, in the query."""

    model_config = _CONFIG

    kind: Kind | None = None
    voice: _Voice | None = None
    tier: Tier | None = None
    older_than_s: _Age | None = None
    text: _Text | None = None

    async def selection(self) -> Selection:
        """Raises UnknownVoice, NothingToSay: see `select`."""
        return await asyncio.to_thread(select, **self.model_dump())


_CHOICES = ("voice", "tier", "older_than_s", "text")

_NULL = {"type": "null"}

_ALL_OR_SOME: dict[str, Any] = {
    "oneOf": [
        {
            "required": ["all"],
            "properties": {"all": {"const": True}, **dict.fromkeys(_CHOICES, _NULL)},
        },
        {
            "properties": {"all": _NULL},
            "anyOf": [
                {"required": [name], "properties": {name: {"not": _NULL}}} for name in _CHOICES
            ],
        },
    ]
}
"""What `PurgeRequest._says_what` checks, as JSON Schema."""


class PurgeRequest(BaseModel):
    """Either everything, or what all of the other fields are true of."""

    model_config = ConfigDict(**_CONFIG, json_schema_extra=_ALL_OR_SOME)

    all: Literal[True] | None = None
    voice: _Voice | None = None
    tier: Tier | None = None
    older_than_s: _Age | None = None
    text: _Text | None = None

    @pydantic.model_validator(mode="after")
    def _says_what(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if not given:
            raise ValueError("say what to purge: 'all', 'voice', 'tier', 'older_than_s' or 'text'")
        if self.all and len(given) > 1:
            raise ValueError("'all' takes no other field beside it")
        return self

    async def selection(self) -> Selection:
        """Raises UnknownVoice, NothingToSay: see `select`."""
        return await asyncio.to_thread(select, **self.model_dump(exclude={"all"}))


M = TypeVar("M", bound=BaseModel)


async def read_body(model: type[M], request: web.Request) -> M:
    """Raises BadRequest: it is not JSON, or not what it must be. No body is an empty object."""
    body = await whole_body(request)
    try:
        return model.model_validate_json(body or b"{}", strict=True)
    except pydantic.ValidationError as invalid:
        raise _explained(invalid.errors()[0], model) from None


def read_query(model: type[M], request: web.Request) -> M:
    """Raises BadRequest: it is not what it must be."""
    try:
        return model.model_validate(dict(request.query))
    except pydantic.ValidationError as invalid:
        raise _explained(invalid.errors()[0], model) from None


def _explained(error: Any, model: type[BaseModel]) -> BadRequest:
    field = str(error["loc"][0])[:80] if error["loc"] else None
    match error["type"]:
        case "json_invalid":
            return BadRequest(f"The body is not valid JSON: {error['ctx']['error']}.")
        case "extra_forbidden":
            known = ", ".join(model.model_fields)
            return BadRequest(f"There is no field '{field}' here; there are {known}.", field)
        case "value_error":
            return BadRequest(f"The body is wrong: {error['ctx']['error']}.")
    if field is None:
        return BadRequest("The body must be a JSON object.")
    return BadRequest(f"'{field}' is wrong: {error['msg']}.", field)
