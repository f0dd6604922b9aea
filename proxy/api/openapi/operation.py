"""How an operation is described, and what becomes of that in the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import BaseModel

from proxy.api.openapi import JsonObject
from proxy.api.openapi.refined import refined

SchemaOf = Callable[[Any], JsonObject]
"""The schema of a type, or where it stands in the document."""


class Access(Enum):
    """Who may ask."""

    ANYBODY = "anybody"
    CALLER = "caller"
    """Whoever has a key, where the server gives out such."""
    VAPI = "vapi"
    """A caller who may send the key in a header of Vapi's."""
    ADMIN = "admin"


_REFUSED_ACCESS: Mapping[Access, Sequence[int]] = {
    Access.ANYBODY: (),
    Access.CALLER: (401, 403, 429),
    Access.VAPI: (401, 403, 429),
    Access.ADMIN: (401, 403),
}


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries."""

    type: Any = None
    """What pydantic reads its JSON into; None: it is not JSON."""
    media_type: str = "application/json"
    required: bool = True
    examples: Mapping[str, JsonObject] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to what can be done."""

    description: str
    type: Any = None
    """What its JSON is read into; None: it is not JSON."""
    media_types: Sequence[str] = ("application/json",)
    headers: Sequence[str] = ()
    """Names in `HEADERS`, beside those that every answer has."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of an address."""

    id: str
    """Names it for programs; nothing else has it."""
    summary: str
    answers: Mapping[int, Answer]
    refusals: Sequence[int] = ()
    """Statuses in `proxy.api.openapi.refusals`, beside those that its `access` brings."""
    tag: str = "speech"
    parameters: Sequence[str] = ()
    """Names in `PARAMETERS`, those in the path included."""
    query: type[BaseModel] | None = None
    """What its query is read into."""
    body: Body | None = None
    access: Access = Access.ANYBODY


def described(
    operation: Operation,
    schema_of: SchemaOf,
    common_headers: Sequence[str],
    security: Sequence[JsonObject],
) -> JsonObject:
    """The operation object (OpenAPI 3.1.1, 4.8.10)."""
    parameters: list[JsonObject] = [
        {"$ref": f"#/components/parameters/{name}"} for name in operation.parameters
    ]
    if operation.query is not None:
        parameters += _in_query(operation.query)
    document: JsonObject = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": list(security),
        "responses": {
            **{
                str(status): _answer(answer, schema_of, common_headers)
                for status, answer in operation.answers.items()
            },
            **{
                str(status): {"$ref": f"#/components/responses/Refused{status}"}
                for status in sorted({*operation.refusals, *_REFUSED_ACCESS[operation.access]})
            },
        },
    }
    if parameters:
        document["parameters"] = parameters
    if operation.body is not None:
        document["requestBody"] = _body(operation.body, schema_of)
    return document


def _answer(answer: Answer, schema_of: SchemaOf, common_headers: Sequence[str]) -> JsonObject:
    document: JsonObject = {
        "description": answer.description,
        "headers": headers_of((*common_headers, *answer.headers)),
    }
    if answer.media_types:
        content = {} if answer.type is None else {"schema": schema_of(answer.type)}
        document["content"] = dict.fromkeys(answer.media_types, content)
    return document


def headers_of(names: Sequence[str]) -> JsonObject:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _body(body: Body, schema_of: SchemaOf) -> JsonObject:
    content: JsonObject = {} if body.type is None else {"schema": schema_of(body.type)}
    if body.examples:
        content["examples"] = {name: {"value": each} for name, each in body.examples.items()}
    return {"required": body.required, "content": {body.media_type: content}}


def _in_query(model: type[BaseModel]) -> list[JsonObject]:
    """A parameter for each field. None of them is null in a query: it is left out."""
    parameters = []
    described = refined(model.__name__, model.model_json_schema())
    for name, schema in described["properties"].items():
        kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
        kind = {key: value for key, value in kinds[0].items() if key not in ("default", "title")}
        parameters.append({"name": name, "in": "query", "schema": kind})
    return parameters
