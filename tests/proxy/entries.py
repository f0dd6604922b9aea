"""Entries of which only what a test is about has to be said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.cache.entry import About, Entry
from proxy.cache.key import digest, text_digest

PAYLOAD = b"\x00\x01sound\xff"


def entry_of(name: str, payload: bytes = PAYLOAD, **about: Any) -> Entry:
    """A clip that says `name`, under the key of that name. `about` is what differs in `About`."""
    known = About(
        kind="clip",
        format="flac",
        voice="af_bella",
        language="a",
        speed=1.0,
        duration_s=1.5,
        says=(text_digest(name),),
    )
    return Entry(digest(name), payload, replace(known, **about))
