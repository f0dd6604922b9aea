"""What a cache holds, and the envelope it is written in. Pure.

An envelope tells what it is, whose key it was stored under and what its payload must hash to. A
reader checks all of it, so that a torn write, a flipped bit or a mixed-up row is never served.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import xxhash

_MAGIC = b"kedge"
_SCHEMA = 1
_HEAD = struct.Struct(">5sBII16s")
"""Magic, schema version, bytes of the description, bytes of the payload, digest of both."""


class CorruptEntry(Exception):
    """The envelope is not whole, or not the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A clip or a rendition."""

    key: str
    payload: bytes
    """A clip's FLAC, or a rendition's finished bytes."""
    about: dict[str, Any]
    """What is known of the payload, in JSON's types."""

    @property
    def size_bytes(self) -> int:
        return len(self.payload)


def pack(entry: Entry) -> bytes:
    described = json.dumps({"key": entry.key, "about": entry.about}).encode()
    body = described + entry.payload
    head = _HEAD.pack(
        _MAGIC, _SCHEMA, len(described), len(entry.payload), xxhash.xxh3_128_digest(body)
    )
    return head + body


def unpack(key: str, data: bytes) -> Entry:
    """Read back what `pack` wrote under `key`.

    Raises:
        CorruptEntry: anything about it is not as it was written.
    """
    if len(data) < _HEAD.size:
        raise CorruptEntry(f"{len(data)} bytes are too few for an entry")
    magic, schema, described_bytes, payload_bytes, checksum = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if magic != _MAGIC or schema != _SCHEMA:
        raise CorruptEntry("it is not an entry of this version")
    if len(body) != described_bytes + payload_bytes:
        raise CorruptEntry(
            f"{len(body)} bytes follow where {described_bytes + payload_bytes} should"
        )
    if xxhash.xxh3_128_digest(body) != checksum:
        raise CorruptEntry("its checksum does not match its content")
    match _description(bytes(body[:described_bytes])):
        case {"key": str(stored), "about": dict(about)}:
            if stored != key:
                raise CorruptEntry(f"it was stored under another key, {stored[:12]}…")
            return Entry(key, bytes(body[described_bytes:]), about)
    raise CorruptEntry("its description is not one of an entry")


def _description(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError as problem:
        raise CorruptEntry(f"its description is not JSON: {problem}") from None
