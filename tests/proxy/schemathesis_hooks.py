"""What schemathesis cannot know of this server: how its types of content are read and written, how
its operations hang together, and which errors are about meaning."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

MEANINGS = {
    *("voice_not_found", "language_not_found", "phrasebook_not_found", "cannot_say"),
    *("nothing_to_say", "not_an_archive", "verifier_unavailable"),
}
"""Codes of errors that no schema can foresee."""

FORMAT = {"response_format", "sample_rate", "bitrate_kbps"}
"""Each may be right by itself and not go with the others."""


def _empty_tar() -> bytes:
    file = io.BytesIO()
    tarfile.open(fileobj=file, mode="w").close()
    return file.getvalue()


schemathesis.openapi.media_type(
    "application/x-tar", st.one_of(st.binary(max_size=2048), st.just(_empty_tar()))
)


@schemathesis.serializer("application/x-tar")
def as_it_is(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.deserializer("application/x-ndjson")
def lines(ctx: schemathesis.DeserializationContext, response: schemathesis.Response) -> list[Any]:
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def before_load_schema(ctx: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """A reply that was spoken is fetched again: OpenAPI has no expression for a part of a header,
    so that the document itself cannot say it."""
    spoken = raw_schema["paths"]["/v1/audio/speech"]["post"]["responses"]["200"]
    location = "$response.header.Content-Location"
    parameters = {
        "id": location + r"#regex:/([0-9a-f]+)\.",
        "ext": location + r"#regex:\.([a-z0-9]+)$",
    }
    spoken["links"] = {
        name: {"operationId": name, "parameters": parameters} for name in ("getClip", "headClip")
    }


@schemathesis.check
def what_is_right_in_form_is_refused_for_its_meaning_alone(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    if response.status_code != 400 or case.meta is None:
        return
    if case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    error = json.loads(response.content)["error"]
    assert error["code"] in MEANINGS or error["param"] in FORMAT, error
