"""Every answer to what cannot be done, by status, from the table of errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from proxy.api.errors import HTTP_CODES, PROBLEMS, TOO_LONG
from proxy.api.openapi import JsonObject
from proxy.api.openapi.operation import headers_of
from proxy.api.openapi.parameters import RATE_LIMIT

_MEANINGS: Mapping[int, str] = {
    400: "Something is wrong with the request; the message says what to change.",
    401: "The key is missing (`code` is null then) or wrong.",
    403: "Not for whoever asks.",
    404: "There is no such thing.",
    405: "The address does not take this method.",
    408: "The request did not come in time.",
    409: "Not while something else is under way.",
    412: "The audio is not, or no longer, what the request's conditions ask for.",
    413: "The body is too large.",
    416: "The range is beyond the end.",
    429: "More than the key may ask for.",
    500: "The server failed. Its log tells why.",
    502: "The engine failed at this text.",
    503: "Not now.",
    504: "Only what is cached was asked for, and this is not.",
}

_HEADERS: Mapping[int, Sequence[str]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    416: ("Content-Range",),
    429: ("Retry-After", "retry-after-ms", *RATE_LIMIT),
    503: ("Retry-After",),
}

SPOKEN = (400, 408, 413, 502, 503, 504)
"""What anything that is spoken may come to."""


def responses(schema: JsonObject, common_headers: Sequence[str]) -> JsonObject:
    """The response objects, by their names in the document. `schema` is that of their body."""
    codes = defaultdict(set)
    for problem in PROBLEMS.values():
        codes[problem.status].add(problem.code)
    for status, code in HTTP_CODES.items():
        codes[status].add(code)
    codes[400].add(TOO_LONG)
    return {
        f"Refused{status}": {
            "description": " ".join(
                [meaning, _listed(sorted(filter(None, codes[status])))]
            ).strip(),
            "headers": headers_of((*common_headers, *_HEADERS.get(status, ()))),
            "content": {"application/json": {"schema": schema}},
        }
        for status, meaning in _MEANINGS.items()
    }


def _listed(codes: Sequence[str]) -> str:
    if not codes:
        return ""
    return f"`code` is {', '.join(f'`{code}`' for code in codes)}."
