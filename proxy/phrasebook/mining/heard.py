"""What the server has been asked to say, in counts that take little room whatever comes.

Sentences are counted by a frequent-items sketch of Apache DataSketches. It holds a bounded number
of them; when it is full it lets go of those heard least, and from then on each count is a range:
so many times at least, and at most so many.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NamedTuple, Self

import xxhash
from datasketches import frequent_items_error_type, frequent_strings_sketch

MAX_SENTENCES = 16_384
"""Some megabytes. Of what assistants say, a quarter of it loses a fifth of the phrases' worth, and
four times as much gains a tenth."""

_MAGIC = b"kokoro-edge heard 1\n"
"""What it is, and the version of what follows."""
_CHECKSUM_BYTES = 16
_SEPARATOR = "\x1f"
"""Between the fields of a sentence; the text, in which it could occur, comes last."""
_NEVER_COUNTED = ""


class Sentence(NamedTuple):
    """A sentence as somebody hears it. Two that are equal are one clip."""

    text: str
    """Normalised."""
    voice: str
    """The blend in its canonical spelling."""
    language: str
    """A code in `synth.voices.LANGUAGES`."""
    speed: float
    """Two decimals count."""


class Asked(NamedTuple):
    """A sentence of a request, and where its sound came from."""

    sentence: Sentence
    in_phrasebook: bool
    missed: bool
    """The engine had to make it."""


class Counted(NamedTuple):
    """In how many requests a sentence was heard."""

    sentence: Sentence
    at_least: int
    at_most: int


@dataclass(slots=True)
class Totals:
    """What was asked for since counting began, exactly. A sentence that a request has twice counts
    twice."""

    requests: int = 0
    sentences: int = 0
    characters: int = 0
    sentences_in_phrasebooks: int = 0
    characters_in_phrasebooks: int = 0
    sentences_missed: int = 0
    """The engine had to make them."""
    characters_missed: int = 0


_NUMBERS = struct.Struct(f">{1 + len(fields(Totals))}Q")
"""The error, then the totals."""


class Heard:
    """In how many requests each sentence was heard that no phrasebook holds. Not thread-safe."""

    def __init__(self, max_sentences: int = MAX_SENTENCES) -> None:
        """`max_sentences` are counted without error. Held are up to twice as many, or 6."""
        if max_sentences < 1:
            raise ValueError(f"max_sentences must be 1 or more, not {max_sentences}")
        # The sketch lets go when three quarters of its places, a power of 2, are taken.
        places = -(-max_sentences * 4 // 3)
        self._sketch = frequent_strings_sketch(max(3, (places - 1).bit_length()))
        # A sketch that has let go of everything it held is written as one that never held any.
        self._unwritten_error = 0
        self.totals = Totals()

    def note(self, request: Iterable[Asked]) -> None:
        """One request, with all of its sentences: some microseconds."""
        totals = self.totals
        totals.requests += 1
        unknown = set()
        for sentence, in_phrasebook, missed in request:
            characters = len(sentence.text)
            totals.sentences += 1
            totals.characters += characters
            if missed:
                totals.sentences_missed += 1
                totals.characters_missed += characters
            if in_phrasebook:
                totals.sentences_in_phrasebooks += 1
                totals.characters_in_phrasebooks += characters
            else:
                unknown.add(sentence)
        for sentence in unknown:
            self._sketch.update(_packed(sentence))

    @property
    def max_error(self) -> int:
        """By how much a count can be too low, and in how many requests a sentence that is not among
        the counted may have been heard."""
        return self._unwritten_error + _error_of(self._sketch)

    def counted(self) -> list[Counted]:
        """What is held, heard most first."""
        # Without a threshold: everything that is held.
        rows = self._sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES)
        found = [
            Counted(_unpacked(packed), at_least, at_most + self._unwritten_error)
            for packed, _, at_least, at_most in rows
        ]
        return sorted(found, key=lambda counted: (-counted.at_least, counted.sentence))

    def to_bytes(self) -> bytes:
        numbers = _NUMBERS.pack(self.max_error, *astuple(self.totals))
        body = numbers + bytes(self._sketch.serialize())
        return _MAGIC + xxhash.xxh3_128_digest(body) + body

    @classmethod
    def from_bytes(cls, data: bytes, max_sentences: int = MAX_SENTENCES) -> Self:
        """What `to_bytes` returned, whatever number of sentences it had room for.

        Raises:
            ValueError: it is damaged, of another version, or something else.
        """
        heard = cls(max_sentences)
        begin = len(_MAGIC) + _CHECKSUM_BYTES
        checksum, body = data[len(_MAGIC) : begin], data[begin:]
        if not data.startswith(_MAGIC):
            raise ValueError("this is no count of what was heard, or one of another version")
        if checksum != xxhash.xxh3_128_digest(body):
            raise ValueError("the count of what was heard is damaged")
        try:
            max_error, *totals = _NUMBERS.unpack_from(body)
            sketch = frequent_strings_sketch.deserialize(body[_NUMBERS.size :])
            heard.totals = Totals(*totals)
            heard._unwritten_error = max_error - _error_of(sketch)
            heard._sketch.merge(sketch)
            heard.counted()
        except (struct.error, IndexError, RuntimeError) as error:
            raise ValueError(f"the count of what was heard cannot be read: {error}") from None
        return heard

    @classmethod
    def load(cls, path: Path, max_sentences: int = MAX_SENTENCES) -> Self:
        """Blocking.

        Raises:
            OSError: it is not there, or cannot be read.
            ValueError: see `from_bytes`.
        """
        return cls.from_bytes(path.read_bytes(), max_sentences)


def _error_of(sketch: frequent_strings_sketch) -> int:
    return int(sketch.get_upper_bound(_NEVER_COUNTED))


def _packed(sentence: Sentence) -> str:
    text, voice, language, speed = sentence
    return f"{voice}{_SEPARATOR}{language}{_SEPARATOR}{speed:.2f}{_SEPARATOR}{text}"


def _unpacked(packed: str) -> Sentence:
    """Raises ValueError: it is not what `_packed` returns."""
    voice, language, speed, text = packed.split(_SEPARATOR, 3)
    return Sentence(text, voice, language, float(speed))
