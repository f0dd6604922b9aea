"""What a request's headers make of a cached answer: RFC 9110 (conditions, ranges) and RFC 9111
(directives). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import ETag, web

from proxy.speech.terms import LIVE, Terms

_DIRECTIVE = re.compile(r'([\w!#$%&\'*+.^`|~-]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,]*))?')
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)
_ANY = "*"


def terms_of(cache_control: Iterable[str]) -> Terms:
    """The terms that `Cache-Control` headers of a request set. Directives that a cache of complete
    replies cannot break, such as `no-transform`, and those that nobody has heard of are ignored."""
    given = {
        name.lower(): value.strip('"')
        for header in cache_control
        for name, value in _DIRECTIVE.findall(header)
    }
    if not given:
        return LIVE
    max_age_s: float | None = None
    if "max-age" in given:
        # What is no number is taken for the strictest one.
        max_age_s = float(given["max-age"]) if given["max-age"].isdecimal() else 0.0
    if "no-cache" in given:
        max_age_s = 0.0
    return Terms(
        store="no-store" not in given, max_age_s=max_age_s, make="only-if-cached" not in given
    )


def is_not_modified(request: web.Request, etag: str) -> bool:
    """Whether a GET or HEAD is answered by 304: the client has these bytes."""
    return _matches(request.if_none_match, etag)


def check_preconditions(request: web.Request, etag: str) -> None:
    """Raises HTTPPreconditionFailed: the request was for other bytes than these; on a POST, or for
    any but these."""
    if_match = request.if_match
    if if_match is not None and not _matches(if_match, etag, strong=True):
        raise web.HTTPPreconditionFailed()
    if request.method == "POST" and _matches(request.if_none_match, etag):
        raise web.HTTPPreconditionFailed()


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from `begin` up to, and without, `end`."""

    begin: int
    end: int


class NotSatisfiable(Exception):
    """No byte is in the range that was asked for."""


def part_of(request: web.Request, etag: str, size_bytes: int) -> Part | None:
    """The part that the request asks for; None: all of it.

    A range that is not understood counts as none, as does more than one: RFC 9110, 14.2, leaves
    both to the server. So does one for other bytes than these (`If-Range`).

    Raises:
        NotSatisfiable: it is beyond the end.
    """
    if_range = request.headers.get("If-Range")
    if if_range is not None and if_range.strip() != etag:
        return None
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        last = int(match[2])
        if last == 0 or size_bytes == 0:
            raise NotSatisfiable()
        return Part(max(0, size_bytes - last), size_bytes)
    begin = int(match[1])
    end = int(match[2]) + 1 if match[2] else size_bytes
    if match[2] and end <= begin:
        return None
    if begin >= size_bytes:
        raise NotSatisfiable()
    return Part(begin, min(end, size_bytes))


def _matches(tags: tuple[ETag, ...] | None, etag: str, strong: bool = False) -> bool:
    return any(
        tag.value == _ANY or (f'"{tag.value}"' == etag and not (strong and tag.is_weak))
        for tag in tags or ()
    )
