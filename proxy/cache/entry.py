"""What a cache holds, and the envelope it is written in. Pure.

An envelope tells what it is, whose key it was stored under and what its payload must hash to. A
reader checks all of it, so that a torn write, a flipped bit or a mixed-up row is never served.
"""

from __future__ import annotations

import struct
import time
from dataclasses import field
from typing import Literal, NamedTuple

import pydantic
import xxhash
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from proxy.cache.key import Key

Kind = Literal["clip", "rendition"]

_MAGIC = b"kedge"
_SCHEMA = 2
_HEAD = struct.Struct(">5sBII16s")
"""Magic, schema version, bytes of the description, bytes of the payload, digest of the
description, which holds that of the payload."""

_STRICT = pydantic.ConfigDict(extra="forbid")


class CorruptEntry(Exception):
    """The envelope is not whole, or not the one that was asked for."""


class WordSpan(NamedTuple):
    """When a word is heard, and which characters of the segment's text it is.

    Not the word itself: text is kept beside the audio only where the operator says so.
    """

    begin: int
    end: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class About:
    """What is known of a payload, without its text."""

    kind: Kind
    format: str
    """Of a rendition: the name of a `synth.audio.formats.Format`. Of a clip: `flac`."""
    voice: str
    """The blend in its canonical spelling; with a `provider`, its name and its voice's."""
    language: str
    speed: float
    duration_s: float
    says: tuple[str, ...]
    """`proxy.cache.key.text_digest` of every segment, in order."""
    text: str | None = None
    """Only where `cache.keep_text` is on."""
    words: tuple[WordSpan, ...] = ()
    """Of a clip, where the language's G2P keeps words."""
    provider: str | None = None
    """Of a rendition that another server spoke in the engine's place: that server's name."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class _Description:
    """The part of an envelope that is JSON."""

    key: Key
    digest: str
    stored_at_s: float
    about: About
    expires_at_s: float | None = None


_DESCRIPTION = TypeAdapter(_Description)


class _WeaklyReferable:
    """Pydantic's dataclass has slots, but no `weakref_slot`."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class Entry(_WeaklyReferable):
    """A clip or a rendition."""

    key: Key
    payload: bytes
    """A clip's FLAC, or a rendition's finished bytes."""
    about: About
    stored_at_s: float = field(default_factory=time.time)
    """In seconds since 1970."""
    expires_at_s: float | None = None
    """From when on it is not served any more; None: never."""
    digest: str = ""
    """xxh3-128 of the payload, 32 hex digits."""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", xxhash.xxh3_128_hexdigest(self.payload))

    @property
    def size_bytes(self) -> int:
        return len(self.payload)

    @property
    def etag(self) -> str:
        """A strong one, with its quotes: of the bytes, not of the request for them."""
        return f'"{self.digest}"'

    def age_s(self) -> float:
        return max(0.0, time.time() - self.stored_at_s)

    def expired(self) -> bool:
        return self.expires_at_s is not None and time.time() >= self.expires_at_s


def pack(entry: Entry) -> bytes:
    described = _DESCRIPTION.dump_json(
        _Description(
            key=entry.key,
            digest=entry.digest,
            stored_at_s=entry.stored_at_s,
            expires_at_s=entry.expires_at_s,
            about=entry.about,
        ),
        exclude_none=True,
    )
    checksum = xxhash.xxh3_128_digest(described)
    head = _HEAD.pack(_MAGIC, _SCHEMA, len(described), len(entry.payload), checksum)
    return head + described + entry.payload


def unpack(data: bytes, id: str | None = None) -> Entry:
    """Read back what `pack` wrote, under `id` where that is given.

    Raises:
        CorruptEntry: anything about it is not as it was written.
    """
    if len(data) < _HEAD.size:
        raise CorruptEntry(f"{len(data)} bytes are too few for an entry")
    magic, schema, described_bytes, payload_bytes, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC or schema != _SCHEMA:
        raise CorruptEntry("it is not an entry of this version")
    body = memoryview(data)[_HEAD.size :]
    if len(body) != described_bytes + payload_bytes:
        raise CorruptEntry(
            f"{len(body)} bytes follow where {described_bytes + payload_bytes} should"
        )
    described, payload = body[:described_bytes], body[described_bytes:]
    if xxhash.xxh3_128_digest(described) != checksum:
        raise CorruptEntry("its description does not match its checksum")
    try:
        found = _DESCRIPTION.validate_json(bytes(described))
    except pydantic.ValidationError as problem:
        raise CorruptEntry(
            f"its description is not one of an entry: {problem.errors()[0]['msg']}"
        ) from None
    if xxhash.xxh3_128_hexdigest(payload) != found.digest:
        raise CorruptEntry("its payload does not match its checksum")
    if id is not None and found.key.id != id:
        raise CorruptEntry(f"it was stored under another key, {found.key.id[:12]}…")
    return Entry(
        found.key,
        bytes(payload),
        found.about,
        found.stored_at_s,
        found.expires_at_s,
        found.digest,
    )
