"""What came of each client and case, for the end of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

CASES = {
    "whole": "a reply read at once is all of it",
    "streamed": "audio comes while the rest is made",
    "sse": "server-sent events",
    "formats": "every response_format it knows",
    "odd": "a voice object, empty instructions, unknown fields, any model",
    "429": "it waits as Retry-After says, and gets its reply",
    "503": "the same, where the engine is busy",
    "death": "a reply that breaks off is an error to it, and is not kept",
    "voices": "OpenAI's 13 voices",
    "rate": "audio at 8 kHz, by the name of the model or by the address",
    "default": "as it comes, with nothing set",
    "pcm": "response_format pcm",
    "tts-1": "the models that are not asked for events",
    "merged": "sentences sent as one are those that were said one by one",
    "custom": "the vendor's own protocol",
    "whisper": "the OpenAI vendor of jambonz",
    "GET": "a reply's address",
    "304": "what it keeps is not sent again",
    "wav": "a header it can read",
    "ulaw": "mu-law at 8 kHz",
    "sln16": "samples by the name of their rate",
    "key": "its secret counts as the key",
    "probes": "what it asks before it speaks",
}

_RANK = ("ok", "skip", "FAIL")


@dataclass
class Matrix:
    """Clients by cases."""

    _cells: dict[tuple[str, str], str] = field(default_factory=dict)
    _reasons: dict[str, str] = field(default_factory=dict)
    """By client: why it was skipped."""

    def add(self, client: str, case: str, result: str, reason: str = "") -> None:
        """`result` is `ok`, `skip` or `FAIL`; of several for one case the worst counts."""
        before = self._cells.get((client, case), "ok")
        self._cells[client, case] = max(before, result, key=_RANK.index)
        if reason:
            self._reasons[client] = reason

    def lines(self) -> Sequence[str]:
        """A table in Markdown, and what was skipped."""
        clients = list(dict.fromkeys(client for client, _ in self._cells))
        cases = [case for case in CASES if any(case == of for _, of in self._cells)]
        if not clients:
            return []
        width = max(len(client) for client in clients)
        rows = [_row("client".ljust(width), [case.rjust(4) for case in cases])]
        rows.append(_row("-" * width, ["-" * max(4, len(case)) for case in cases]))
        for client in clients:
            cells = [self._cells.get((client, case), "").rjust(max(4, len(case))) for case in cases]
            rows.append(_row(client.ljust(width), cells))
        rows += [f"SKIPPED: {reason}" for reason in self._reasons.values()]
        return rows


def _row(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"
