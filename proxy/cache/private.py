"""Texts that are never stored, whoever asks for them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

Named = Literal["card_numbers", "long_digit_runs", "emails"]

_BETWEEN_DIGITS = r"\s.,*_\u00ad\u200b-\u200f\u2060\ufeff\u2010-\u2015\u2212\uff0d-"
"""Blanks, points, commas, marks of Markdown, what is invisible, and dashes."""

_SPOKEN_DOT = r"(?:\s+dot\s+|\s*[(\[]dot[)\]]\s*)"
_LETTERS = r"[^\W\d_]{2}"
"""What a top-level domain begins with."""

# While a text is looked through, nobody else is answered. So wherever a search can begin, it must
# find out within a few characters, or those it has read must not be read again from the next place:
# of an address, only the end of what is before the `@` is looked at.
PATTERNS: Mapping[Named, re.Pattern[str]] = {
    "card_numbers": re.compile(rf"(?<!\d)(?:\d[{_BETWEEN_DIGITS}]{{0,5}}){{12,18}}\d(?!\d)"),
    "long_digit_runs": re.compile(rf"(?:\d[/()（）／{_BETWEEN_DIGITS}]{{0,5}}){{6}}\d"),
    "emails": re.compile(
        rf"[@＠]\s{{0,3}}[\w-]+(?:(?:\s?\.\s?|{_SPOKEN_DOT})[\w-]+)*"
        rf"(?:\s?\.\s?|{_SPOKEN_DOT}){_LETTERS}"
        r"|\w(?:\s+at\s+|\s*[(\[]at[)\]]\s*)"
        rf"(?:[\w.-]*[\w-]\.{_LETTERS}"
        rf"|(?:[\w.-]+\s+){{0,3}}[\w.-]+(?:{_SPOKEN_DOT}[\w.-]+)*{_SPOKEN_DOT}{_LETTERS})",
        re.IGNORECASE,
    ),
}
"""By the names that `cache.never_store` takes. 13 to 19 digits are a card number; 7 or more, with
whatever people put between groups of them, are a long run: of a telephone or an account, and of a
sum or a date as well, since nothing tells them apart. An address is found by its domain, behind an
`@` or an `at`."""


class NeverStored:
    """Whether a text holds something that must not be stored."""

    def __init__(self, named: Iterable[Named] = (), others: Iterable[re.Pattern[str]] = ()) -> None:
        self._patterns = (*(PATTERNS[name] for name in named), *others)

    def matches(self, *texts: str) -> bool:
        return any(pattern.search(text) for pattern in self._patterns for text in texts)
