"""Whether what was heard can be what was to be said. Pure.

A recogniser spells as it likes and takes one word for another that sounds like it. So letters are
compared, not words, and what was heard is wrong only where far too many of them differ.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import regex

MIN_LETTERS = 5
"""Of a text as `fold` spells it. Single letters are misheard, and a name of four letters is often
spelled otherwise."""

MAX_DIFFERENCE = 0.25
"""As a share of the letters of the text, or of what is heard, whichever is longer."""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth"),
    *("seventeenth", "eighteenth", "nineteenth", "twentieth"),
)
_SMALL = {
    **{word: value for value, word in enumerate(_DIGITS + _TEENS)},
    **{word: value for value, word in enumerate(_ORDINALS, start=1)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
    "thirtieth": 30,
}
_SCALES = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}

_TWO_FIGURES = (
    rf"(?:(?:{'|'.join(_TENS)})(?: (?:{'|'.join(_DIGITS[1:] + _ORDINALS[:9])}))?"
    rf"|{'|'.join(_SMALL)})"
)
_THREE_FIGURES = (
    rf"(?:(?:(?:a|\d{{1,6}}|{_TWO_FIGURES}) )?hundred(?: and)?(?: {_TWO_FIGURES})?|{_TWO_FIGURES})"
)
_THOUSANDS = rf"(?: (?:{'|'.join(_SCALES)})(?: and)?(?: {_THREE_FIGURES})?)+"
_NUMBER = regex.compile(rf"\b(?:(?:a|\d{{1,6}}|{_THREE_FIGURES}){_THOUSANDS}|{_THREE_FIGURES})\b")
_ZERO = regex.compile(r"(?<=\d )oh?(?= \d)")
"""As it is said in "five oh two"."""

_SIGNS = {
    "%": "percent",
    "@": "at",
    "°f": "degrees fahrenheit",
    "°c": "degrees celsius",
    "°": "degrees",
}
_LEFT_OUT = regex.compile(r"[\u0300-\u036f'’]|(?<=\d),(?=\d{3})|(?<=\d)(?:st|nd|rd|th)\b")
_WORD = regex.compile(r"\d+|[\p{L}\p{M}]+")
_UNCOUNTED = regex.compile(r"\b(?:and|dollars?|cents?|pounds?|pence|euros?)\b")
"""Written as signs, or not at all: "&", "$", "two hundred four"."""


def is_long_enough(said: str) -> bool:
    """Whether a recogniser can be trusted with so short a text."""
    return len(fold(said)) >= MIN_LETTERS


def judge(said: str, heard: str) -> bool:
    """Whether what was heard can be what was to be said."""
    return difference(said, heard) <= MAX_DIFFERENCE


def difference(said: str, heard: str) -> float:
    """How much of the longer text is not in the other: from 0.0, nothing, to 1.0, everything."""
    one, other = fold(said), fold(heard)
    return _edits(one, other) / max(len(one), len(other), 1)


def fold(text: str) -> str:
    """The text in letters alone, in the one spelling in which texts are compared.

    A number is its digits, whether it is written in figures or in English words: "$20", "20
    dollars" and "twenty dollars" are all `twozero`, and "4417" is what "forty-four seventeen" is.
    Nobody can know how a number was read, but its digits stay the same.
    """
    text = unicodedata.normalize("NFKD", text.casefold())
    text = _LEFT_OUT.sub("", text)
    for sign, words in _SIGNS.items():
        text = text.replace(sign, f" {words} ")
    text = " ".join(_WORD.findall(text))
    text = _NUMBER.sub(lambda number: str(_value(number[0].split())), text)
    text = _ZERO.sub("0", text)
    text = _UNCOUNTED.sub("", text)
    return "".join(_DIGITS[int(each)] if each.isdecimal() else each for each in text if each != " ")


def _value(number: Sequence[str]) -> int:
    """What a number in words is: "two hundred and four" is 204."""
    value = below_thousand = 0
    for word in number:
        if word == "hundred":
            below_thousand = 100 * max(below_thousand, 1)
        elif word in _SCALES:
            value += _SCALES[word] * max(below_thousand, 1)
            below_thousand = 0
        elif word not in ("a", "and"):
            below_thousand += int(word) if word.isdecimal() else _SMALL[word]
    return value + below_thousand


def _edits(one: str, other: str) -> int:
    """The fewest letters to insert, delete or replace to make `other` of `one`."""
    letters = np.array([ord(letter) for letter in other], dtype=np.int32)
    columns = np.arange(len(other) + 1)
    row = columns
    for line, letter in enumerate(one, start=1):
        cheapest = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        # Insertions run along the row, and each letter costs one more.
        row = np.minimum.accumulate(np.append(line, cheapest) - columns) + columns
    return int(row[-1])
