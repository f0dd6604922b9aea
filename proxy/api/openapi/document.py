"""The OpenAPI document, made of nothing but the code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter

from proxy import __version__
from proxy.api.gate import VAPI_SECRET
from proxy.api.openapi import JsonObject
from proxy.api.openapi.operation import Access, Operation, described
from proxy.api.openapi.operations import OPERATIONS
from proxy.api.openapi.parameters import EVERY_ANSWER, HEADERS, PARAMETERS
from proxy.api.openapi.refined import refined
from proxy.api.openapi.refusals import responses
from proxy.api.openapi.replies import Refusal
from proxy.api.openapi.served import Keys

_ABOUT = (
    "OpenAI's speech API, answered from a cache wherever it can be. Every address that takes GET "
    "takes HEAD. Another method than those told here is a 405, and another address a 404."
)

_TAGS = {
    "speech": "Text in, audio out.",
    "catalogue": "What there is.",
    "webhooks": "Speech in the words of voice platforms.",
    "cache": "Looking after what is kept.",
    "phrasebooks": "What agents say, written down beforehand.",
}

_BEARER: JsonObject = {"type": "http", "scheme": "bearer"}

_SCHEMES: Mapping[str, JsonObject] = {
    "apiKey": {
        **_BEARER,
        "description": "A key of a caller's own, where the server gives out such.",
    },
    "vapiSecret": {
        "type": "apiKey",
        "in": "header",
        "name": VAPI_SECRET,
        "description": "The same key, as Vapi sends it.",
    },
    "adminKey": {**_BEARER, "description": "The server's `server.admin_key`."},
}

_ASKED = {
    Access.CALLER: ("apiKey",),
    Access.VAPI: ("vapiSecret", "apiKey"),
    Access.ADMIN: ("adminKey",),
}
"""Any one of these."""


def build_document(keys: Keys) -> JsonObject:
    """OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1.html)."""
    refs, schemas = _schemas(OPERATIONS.values())
    paths: dict[str, JsonObject] = {}
    for (method, path), operation in OPERATIONS.items():
        security = _security(operation.access, keys)
        paths.setdefault(path, {})[method.lower()] = described(
            operation, lambda kind: refs[kind], EVERY_ANSWER, security
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kokoro-edge",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # The server that the document came from, by whatever name that was.
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": what} for name, what in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": dict(PARAMETERS),
            "headers": dict(HEADERS),
            "responses": responses(refs[Refusal], EVERY_ANSWER),
            "securitySchemes": dict(_SCHEMES),
        },
    }


def _security(access: Access, keys: Keys) -> list[JsonObject]:
    if access not in _ASKED:
        return []
    needed = keys.admin if access is Access.ADMIN else keys.callers
    asked: list[JsonObject] = [{name: []} for name in _ASKED[access]]
    # An empty requirement says that it goes without, too.
    return asked if needed else [*asked, {}]


def _schemas(operations: Iterable[Operation]) -> tuple[Mapping[Any, JsonObject], JsonObject]:
    """Of every type that is named: what to say in its place, and the schemas that this names."""
    kinds: dict[Any, None] = {Refusal: None}
    for operation in operations:
        found = [answer.type for answer in operation.answers.values()]
        found.append(operation.body and operation.body.type)
        kinds.update(dict.fromkeys(kind for kind in found if kind is not None))
    refs, defined = TypeAdapter.json_schemas(
        [(kind, "validation", TypeAdapter(kind)) for kind in kinds],
        ref_template="#/components/schemas/{model}",
    )
    schemas = {name: refined(name, schema) for name, schema in defined["$defs"].items()}
    return {kind: schema for (kind, _), schema in refs.items()}, schemas
