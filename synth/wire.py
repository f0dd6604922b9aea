"""How the HTTP process and an engine process talk: frames over the engine's stdin and stdout.

A frame is two lengths (unsigned 32-bit, big-endian), a JSON header and a binary body. No pickle:
a frame can carry nothing but text, numbers and samples.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np

from synth.engine import BadAudio, CannotSay, Clip, EngineError, Segment, Word
from synth.voices import Blend

Header = dict[str, Any]

_LENGTHS = struct.Struct(">II")

# What an engine process may answer with, by name. The rest of the tree is about processes, and is
# raised on this side of the pipe.
_ERRORS: dict[str, type[EngineError]] = {error.__name__: error for error in (CannotSay, BadAudio)}


def pack(header: Header, body: bytes = b"") -> bytes:
    """One frame."""
    head = json.dumps(header, ensure_ascii=False).encode()
    return _LENGTHS.pack(len(head), len(body)) + head + body


async def read_async(stream: asyncio.StreamReader) -> tuple[Header, bytes]:
    """Read one frame. Raises `asyncio.IncompleteReadError` where the stream ends."""
    head_length, body_length = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    header: Header = json.loads(await stream.readexactly(head_length))
    return header, await stream.readexactly(body_length)


def read(stream: BinaryIO) -> tuple[Header, bytes] | None:
    """Read one frame, or None where the stream ends, be it in the middle of a frame."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_length, body_length = _LENGTHS.unpack(lengths)
    head, body = stream.read(head_length), stream.read(body_length)
    if len(head) < head_length or len(body) < body_length:
        return None
    header: Header = json.loads(head)
    return header, body


def segment_to_json(segment: Segment) -> Header:
    return asdict(segment)


def segment_from_json(fields: Header) -> Segment:
    parts = fields.pop("blend")["parts"]
    return Segment(blend=Blend(tuple((name, weight) for name, weight in parts)), **fields)


def pack_clip(clip: Clip) -> bytes:
    return pack({"words": [asdict(word) for word in clip.words]}, clip.pcm.tobytes())


def pack_error(error: EngineError) -> bytes:
    return pack({"error": type(error).__name__, "message": str(error)})


def unpack_answer(header: Header, body: bytes) -> Clip:
    """Turn an engine process's answer into its clip, or raise the error that it names."""
    if "error" in header:
        raise _ERRORS.get(header["error"], EngineError)(header["message"])
    pcm = np.frombuffer(body, dtype=np.int16)
    return Clip(pcm, tuple(Word(**word) for word in header["words"]))


def pack_checked(unsayable: Sequence[str | None]) -> bytes:
    """For each segment that was asked about, why it cannot be said."""
    return pack({"unsayable": list(unsayable)})


def unpack_checked(header: Header, body: bytes) -> list[str | None]:
    if "error" in header:
        raise EngineError(header["message"])
    return list(header["unsayable"])
