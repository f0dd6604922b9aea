"""Keys: two requests share one exactly when they must sound the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import xxhash

from synth.engine import Segment

_SEED_BITS = 63


def digest(*fields: str) -> str:
    """xxh3-128 over the fields, each with its length in front: 32 hex digits.

    The lengths keep ("ab", "c") and ("a", "bc") apart, whatever the fields hold.
    """
    hasher = xxhash.xxh3_128()
    for field in fields:
        data = field.encode()
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()


def clip_key(fingerprint: Sequence[str], segment: Segment) -> str:
    """The key of one segment's audio. The segment's seed is not part of it but follows from it."""
    return digest(
        "clip",
        *fingerprint,
        segment.text,
        str(segment.blend),
        segment.language,
        f"{segment.speed:.2f}",
    )


def seed_of(key: str) -> int:
    """The seed for the clip of this key: 0 <= seed < 2**63."""
    return int(key, 16) % (1 << _SEED_BITS)


def rendition_key(clips: Iterable[tuple[str, float]], *encoding: str) -> str:
    """The key of a finished reply.

    `clips` are the clips' keys in order, each with the pause after it in seconds; `encoding` is all
    that decides which bytes are made of the same samples: codec, rate, bitrate, versions.
    """
    joined = (field for key, pause_s in clips for field in (key, f"{pause_s:.3f}"))
    return digest("rendition", *joined, "encoding", *encoding)
