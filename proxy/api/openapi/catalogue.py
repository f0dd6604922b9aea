"""What is asked about the server."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.api.openapi import replies
from proxy.api.openapi.operation import Access, Answer, Operation


def _refusals(parameters: tuple[str, ...]) -> tuple[int, ...]:
    """A rate that is none is refused, and what is no number is no address."""
    return (400, 404) if parameters else ()


def _root(id: str, parameters: tuple[str, ...] = ()) -> Operation:
    return Operation(
        id,
        "What this server is",
        {200: Answer("The server.", replies.Server)},
        _refusals(parameters),
        tag="catalogue",
        parameters=parameters,
    )


def _health(id: str) -> Operation:
    return Operation(
        id, "Whether the server is alive", {200: Answer("It is.", replies.Health)}, tag="catalogue"
    )


def _listed(
    id: str, summary: str, answer: Answer, parameters: tuple[str, ...], refusals: tuple[int, ...]
) -> Operation:
    return Operation(
        id,
        summary,
        {200: answer},
        refusals,
        tag="catalogue",
        parameters=parameters,
        access=Access.CALLER,
    )


def _of_base(
    base: str, suffix: str = "", parameters: tuple[str, ...] = ()
) -> Mapping[tuple[str, str], Operation]:
    """What there is at every base address of OpenAI's API."""
    models = Answer("One.", replies.Models)
    model = Answer("The one model, by the name that was asked for.", replies.Model)
    voices = Answer("All voices.", replies.Voices)
    refusals = _refusals(parameters)
    return {
        ("GET", base): _root(f"getBase{suffix}", parameters),
        ("GET", f"{base}/"): _root(f"getBaseSlash{suffix}", parameters),
        ("GET", f"{base}/models"): _listed(
            f"listModels{suffix}", "The models there are", models, parameters, refusals
        ),
        ("GET", f"{base}/models/{{model}}"): _listed(
            f"getModel{suffix}", "A model", model, (*parameters, "model"), refusals
        ),
        ("GET", f"{base}/audio/models"): _listed(
            f"listAudioModels{suffix}", "The models there are", models, parameters, refusals
        ),
        ("GET", f"{base}/audio/voices"): _listed(
            f"listVoices{suffix}", "The voices there are", voices, parameters, refusals
        ),
    }


CATALOGUE: Mapping[tuple[str, str], Operation] = {
    ("GET", "/"): _root("getRoot"),
    ("GET", "/health"): _health("getHealth"),
    ("GET", "/health/live"): _health("getLive"),
    ("GET", "/health/ready"): Operation(
        "getReady",
        "Whether calls should come",
        {
            200: Answer("They should.", replies.Ready),
            503: Answer("Not yet.", replies.NotReady, headers=("Retry-After",)),
        },
        tag="catalogue",
    ),
    ("GET", "/openapi.json"): Operation(
        "getOpenApi",
        "This document",
        {200: Answer("OpenAPI 3.1.", replies.Document)},
        tag="catalogue",
    ),
    **_of_base("/v1"),
    **_of_base("/v1/rate/{base_rate_hz}", "AtRate", ("base_rate",)),
}
