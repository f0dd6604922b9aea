"""Find the numbers and names in a sentence: what differs from one caller to the next. Pure.

A number is whatever has digits: an amount, a time, a date, a telephone number, a room such as 12B;
and three or more English digits in words, as `synth.text.readings` spells out codes.

A name, in languages with capitals, is a capitalised word or a run of them that does not stand at
the beginning of a sentence, such as "Bank of America" or "Dr. Smith". Not names are "I", days,
months, and, where they stand by themselves, titles and acronyms: two to five capitals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import regex

Kind = Literal["number", "name"]

LANGUAGES_WITH_NAMES = "abefip"
"""By code: those that write names, and little else, with a capital."""

_DIGITS = {
    **{"zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6"},
    **{"seven": "7", "eight": "8", "nine": "9", "oh": "0"},
}

_MARK = r"\[[^\[\]]*\](?:\([^()]*\))?"
_HALF = r"(?:\s?(?:[AP]M\b|[ap]\.m\.|o'clock\b))?"
_FIGURES = (
    r"(?:[$£€¥₹+#]\s?)?(?:\(\d+\)[ -]?)?(?<![A-Za-z])(?:[A-Z]+-)?[A-Za-z]*\d"
    rf"(?:[A-Za-z\d½⅓⅔¼¾]|[.,:/'’\u2010-\u2015-](?=[A-Za-z\d]))*(?:\s?%)?{_HALF}"
)
_IN_WORDS = rf"\b(?:{'|'.join(_DIGITS)})\b"
_ONE = rf"(?:{_FIGURES}|{_IN_WORDS})"
_WORD = r"(?<![\p{L}\p{M}\p{N}])\p{Lu}(?:[\p{L}\p{M}&]|[-'’](?!s\b)(?=\p{L}))*"

_FOUND = regex.compile(
    rf"(?P<mark>{_MARK})|(?P<number>{_ONE}(?:[ \u2010-\u2015-]{_ONE})*)|(?P<name>{_WORD})"
)
_DIGIT_IN_WORDS = regex.compile(_IN_WORDS, regex.I)
_MANY_IN_WORDS = regex.compile(rf"(?:{_IN_WORDS}[ -]?){{3}}")

_BEGINNING = regex.compile(r"(?:^|[.!?…:;]['\"”’)\]]*\s)[^\p{L}\p{N}]*$")
_AFTER_A_STOP = regex.compile(r"(?P<word>\b\p{L}+)\. $")
_BETWEEN_NAMES = regex.compile(
    r"(?:\.? |\.)(?:(?:of the|of|de la|de los|de|da|do|del|della|di|du|la|le|van|von|der|&) )?"
)
_ACRONYM = regex.compile(r"\p{Lu}{2,5}")

_TITLES = frozenset(
    "Mr Mrs Ms Miss Mx Dr Prof Professor Sir Madam Doctor Saint St Señor Señora Monsieur Madame "
    "Signor Signora Senhor Senhora".split()
)
_NO_NAMES = _TITLES | frozenset(
    "I I'm I'll I've I'd Ok Okay Monday Tuesday Wednesday Thursday Friday Saturday Sunday January "
    "February March April May June July August September October November December".split()
)


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence without its numbers and names."""

    literals: tuple[str, ...]
    """What stands before each of them, and after the last."""
    kinds: tuple[Kind, ...]
    """Of what is missing between them."""

    def filled(self, values: Sequence[str]) -> str:
        """The sentence with these numbers and names."""
        between = zip(self.literals[1:], values, strict=True)
        return self.literals[0] + "".join(value + literal for literal, value in between)


def take_out(text: str, language: str) -> tuple[Template, tuple[str, ...]]:
    """The sentence without its numbers and names, and these, in order.

    `text` is normalised, `language` a code. What is in square brackets stays where it is.
    """
    literals: list[str] = []
    kinds: list[Kind] = []
    values: list[str] = []
    end = 0
    for begin, until, kind in _particulars(text, language):
        literals.append(text[end:begin])
        kinds.append(kind)
        values.append(text[begin:until])
        end = until
    return Template((*literals, text[end:]), tuple(kinds)), tuple(values)


def in_figures(text: str) -> str:
    """The text with the figure for every English digit in words."""
    return _DIGIT_IN_WORDS.sub(lambda word: _DIGITS[word[0].lower()], text)


def _particulars(text: str, language: str) -> list[tuple[int, int, Kind]]:
    """Where each begins and ends, in order."""
    matches = list(_FOUND.finditer(text))
    found: list[tuple[int, int, Kind]] = [
        (*match.span(), "number") for match in matches if match["number"] and _is_number(match[0])
    ]
    if language in LANGUAGES_WITH_NAMES:
        words = [match for match in matches if match["name"]]
        found += [(begin, end, "name") for begin, end in _names(text, words)]
    return sorted(found)


def _is_number(found: str) -> bool:
    return any(character.isdigit() for character in found) or bool(_MANY_IN_WORDS.search(found))


def _names(text: str, words: Iterable[regex.Match[str]]) -> Iterator[tuple[int, int]]:
    """Where each name begins and ends: words that follow each other, one of which is surely one."""
    begin = end = 0
    sure = False
    for word in words:
        is_title = word[0] in _TITLES
        if not is_title and (word[0] in _NO_NAMES or _begins_sentence(text, word.start())):
            continue
        if not _BETWEEN_NAMES.fullmatch(text, end, word.start()):
            if sure:
                yield begin, end
            begin, sure = word.start(), False
        end = word.end()
        sure = sure or not (is_title or _ACRONYM.fullmatch(word[0]))
    if sure:
        yield begin, end


def _begins_sentence(text: str, place: int) -> bool:
    """ "Dr. Smith" and "J. Smith" are no two sentences."""
    stop = _AFTER_A_STOP.search(text, 0, place)
    if stop and (stop["word"] in _TITLES or len(stop["word"]) == 1):
        return False
    return _BEGINNING.search(text, 0, place) is not None
