"""How figures and signs are read where G2P would leave them out or get them wrong.

misaki says "555-0123" as "... one hundred twenty-three", "7:00" as "seven zero zero", "5-10" as
"five ten", and nothing at all for a final "*" or "#". English is read here, and amounts in rupees
and yen; for the rest, write words where the figures matter.
"""

from __future__ import annotations

from collections.abc import Callable

import regex

_AMERICAN = "a"
_ENGLISH = "ab"
_HINDI = "h"

_Match = regex.Match[str]
_Reading = tuple[regex.Pattern[str], str | Callable[[_Match], str]]

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FRACTIONS = {"1/2": "½", "1/3": "⅓", "2/3": "⅔", "1/4": "¼", "3/4": "¾"}
_AMOUNT = r"\s?(\d[\d,]*(?:\.\d+)?)"
_OPENED = r"(?<![^\s(\[\"“])"
"""At the start of the line, or behind a blank or an opening mark."""
_CLOSED = r"(?=[\s.,;:!?)\]\"”]|$)"


def spell_out(line: str, language: str) -> str:
    """The line with words in place of such figures and signs."""
    if language == _HINDI:
        return _RUPEES.sub(r"\1 रुपये", line)
    if language not in _ENGLISH:
        return line
    for pattern, reading in _ENGLISH_READINGS:
        line = pattern.sub(reading, line)
    line = _KEYS.sub(lambda keys: _keys(keys[0], language), line)
    return _CODE.sub(_digit_by_digit, line)


def _time(time: _Match) -> str:
    hour, minute = int(time["hour"]), time["minute"]
    if hour > 24 or int(minute) > 59:
        return time[0]
    half = " " if time["half"] is not None else ""
    if minute != "00":
        return (f"{hour} oh {minute[1]}" if minute[0] == "0" else f"{hour} {minute}") + half
    if half:
        return f"{hour}{half}"
    return f"{hour} o'clock" if 1 <= hour <= 12 else f"{hour} hundred"


def _digit_by_digit(code: _Match) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in code[0])


def _keys(keys: str, language: str) -> str:
    hash_key = "pound" if language == _AMERICAN else "hash"
    spoken = keys.replace("*", " star ").replace("#", f" {hash_key} ")
    return " ".join(spoken.split())


# A zero in front makes a group of digits a code. Not beside a point, a colon or a sign, and not two
# digits beside a dash: those are decimals, times, amounts and dates.
_CODE = regex.compile(
    r"(?<![\p{L}\p{N}.,:/$£€])(?:0\d{2,}|(?<!-)0\d(?!-\d))(?![\p{L}\p{N}]|[.,:/]\d)"
)

# What is pressed on a telephone: "*", "#", "*69", "*#06#".
_KEYS = regex.compile(rf"{_OPENED}(?=\d*[*#])(?!(?<=\d )\*)(?!\d+\*\d)[\d*#]+{_CLOSED}")

_RUPEES = regex.compile(rf"₹{_AMOUNT}")

_ENGLISH_READINGS: tuple[_Reading, ...] = (
    # "8am" and "8 am" are read as the word; "8 a.m." is read right, and may end the sentence.
    (regex.compile(r"(?<=\d)\s?([ap])m\b", regex.I), lambda half: f" {half[1].upper()}M"),
    (
        regex.compile(
            r"(?<![\d:.])(?<hour>\d{1,2}):(?<minute>\d\d)(?![\d:])(?<half>\s?(?=[ap]\.?m))?",
            regex.I,
        ),
        _time,
    ),
    (regex.compile(rf"{_OPENED}[-−](?=[$£€]?\d)"), "minus "),
    # Ranges of one or two digits; longer ones are telephone numbers, chains are dates.
    (
        regex.compile(
            r"(?<![\d.,:/–-])([$£€]?\d{1,2})\s?[-–]\s?(?=[$£€]?\d{1,2}(?![\d.,:/–-]*\d|[–-]))"
        ),
        r"\1 to ",
    ),
    (regex.compile(r"(?<=[AP]M|[ap]\.m\.|o'clock)\s?[-–]\s?(?=\d)"), " to "),
    (regex.compile(rf"{_OPENED}~(?=[$£€]?\d)"), "about "),
    (
        regex.compile(r"(?<![\d/.,$£€])(?:[12]/[23]|[13]/4)(?![\d/]|[.,]\d)"),
        lambda fraction: _FRACTIONS.get(fraction[0], fraction[0]),
    ),
    (regex.compile(r"(?<=\d)\s?(?=[½⅓⅔¼¾])"), " and "),
    (
        regex.compile(r"(?<=\d)/(?=(?:night|day|week|month|year|hour|minute|person|mile)\b)"),
        " per ",
    ),
    (_RUPEES, r"\1 rupees"),
    (regex.compile(rf"¥{_AMOUNT}"), r"\1 yen"),
    (regex.compile(r"(?<=\b[A-G])#(?![\p{L}\p{N}])"), " sharp"),
    (regex.compile(rf"{_OPENED}#(?=\d+{_CLOSED})"), "number "),
)
