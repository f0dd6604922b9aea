"""Split normalised text into segments: what the model says in one breath, and what is cached."""

from __future__ import annotations

import regex
from sentencex import segment as split_sentences

from synth.text.normalise import has_speech
from synth.voices import Language

MAX_SEGMENT_CHARS = 300
"""Longer sentences are split at clauses: the model takes 510 phonemes, and a caller's first sound
waits for the whole of the first segment."""

_CLAUSE_END = regex.compile(r"(?<=[;:,—–、，；：])\s+|(?<=[、，；：])|\s+(?=[—–])")
_BLANK = regex.compile(r"\s+")


def split(text: str, language: Language) -> list[str]:
    """The segments of `text`, in order; pieces with nothing to say are left out.

    `text` is as `normalise` returns it. A line break always ends a segment, as in `KPipeline`.
    """
    tag = language.tag.partition("-")[0]
    return [
        piece
        for line in text.split("\n")
        for sentence in split_sentences(tag, line)
        for piece in _shorten(sentence.strip())
        if has_speech(piece)
    ]


def _shorten(sentence: str) -> list[str]:
    """Cut a long sentence at clauses, a long clause at blanks, a long word anywhere."""
    pieces = [sentence]
    for seam in (_CLAUSE_END, _BLANK, None):
        pieces = [
            shorter
            for piece in pieces
            for shorter in ([piece] if len(piece) <= MAX_SEGMENT_CHARS else _cut(piece, seam))
        ]
    return pieces


def _cut(text: str, seam: regex.Pattern[str] | None) -> list[str]:
    """Cut at every seam, then put neighbours together again while they fit."""
    if seam is None:
        return [text[i : i + MAX_SEGMENT_CHARS] for i in range(0, len(text), MAX_SEGMENT_CHARS)]
    cuts = [match.end() for match in seam.finditer(text)]
    pieces: list[str] = []
    start = end = 0
    for cut in [*cuts, len(text)]:
        if cut - start > MAX_SEGMENT_CHARS and end > start:
            pieces.append(text[start:end].strip())
            start = end
        end = cut
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]
