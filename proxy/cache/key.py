"""Keys: two requests share one exactly when they must sound the same. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import xxhash

from synth.engine import Segment

_SEED_BITS = 63
_CHECK_BYTES = 16


class Key(NamedTuple):
    """What an entry is found by, and what proves that it is the one that was meant."""

    id: str
    """xxh3-128 of the fields, 32 hex digits: what entries are stored and addressed under."""
    check: str
    """BLAKE2b-128 of the same fields, 32 hex digits. xxh3 is fast, and texts with the same hash can
    be constructed; an entry whose `check` is another's is a miss."""

    def __str__(self) -> str:
        return self.id


def digest(*fields: str) -> Key:
    """Hash the fields, each with its length in front.

    The lengths keep ("ab", "c") and ("a", "bc") apart, whatever the fields hold.
    """
    data = b"".join(
        part
        for encoded in (field.encode() for field in fields)
        for part in (len(encoded).to_bytes(8, "big"), encoded)
    )
    check = hashlib.blake2b(data, digest_size=_CHECK_BYTES).hexdigest()
    return Key(xxhash.xxh3_128_hexdigest(data), check)


def clip_key(fingerprint: Sequence[str], segment: Segment) -> Key:
    """The key of one segment's audio. The segment's seed is not part of it but follows from it."""
    return digest(
        "clip",
        *fingerprint,
        segment.text,
        str(segment.blend),
        segment.language,
        f"{segment.speed:.2f}",
    )


def recording_key(recording: str, segment: Segment) -> Key:
    """The key of a recording, by its digest, that is heard in place of a segment."""
    return digest("recording", recording, segment.text, str(segment.blend), segment.language)


def seed_of(key: Key) -> int:
    """The seed for the clip of this key: 0 <= seed < 2**63."""
    return int(key.id, 16) % (1 << _SEED_BITS)


def rendition_key(clips: Iterable[tuple[Key, float]], *encoding: str) -> Key:
    """The key of a finished reply.

    `clips` are the clips' keys in order, each with the pause after it in seconds; `encoding` is all
    that decides which bytes are made of the same samples: codec, rate, bitrate, versions.
    """
    joined = (field for key, pause_s in clips for field in (*key, f"{pause_s:.3f}"))
    return digest("rendition", *joined, "encoding", *encoding)


def text_digest(text: str) -> str:
    """Stands for a segment's text where entries are looked up by what they say: 32 hex digits."""
    return digest("text", text).check
