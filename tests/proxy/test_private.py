"""What is never stored: what the patterns find, what they leave, and how long they take for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.private import PATTERNS, Named, NeverStored

ROOT = Path(__file__).parents[2]

CARD_NUMBERS = (
    "4242424242424242",
    "Your card is 4242 4242 4242 4242, thank you.",
    "4242-4242-4242-4242",
    "4242 - 4242 - 4242 - 4242",
    "4242, 4242, 4242, 4242",
    "4242… no, 3782 822463 10005",
    "6759 6498 2643 8453 012",
    "4 2 4 2 4 2 4 2 4 2 4 2 4",
    "card:5555555555554444.",
    "4242\u20114242\u20134242\u22124242",
    "4242\u00a04242\u20094242\n4242",
    "4242\u200b4242\u200b4242\u200b4242",
    "**4242** **4242** **4242** **4242**",
    "_4242_4242_4242_4242_",
    "４２４２ ４２４２ ４２４２ ４２４２",
    "٤٢٤٢ ٤٢٤٢ ٤٢٤٢ ٤٢٤٢",
    "1 4242 4242 4242 4242 12 2027",
    "DE89 3704 0044 0532 0130 00",
)
LONG_DIGIT_RUNS = (
    *CARD_NUMBERS,
    "Call 555-0100 now.",
    "555 01 00",
    "(555) 010-9999",
    "+1 (555) 010-9999",
    "+1.555.010.9999",
    "+49 (0) 30 / 901820",
    "0800 123 4567",
    "**0800** **123** 4567",
    "account 00123456",
    "５５５－０１００",
    "٠٨٠٠ ١٢٣",
    # What nothing tells apart from these.
    "1,000,000",
    "$1,234,567.89",
    "12/31/2024",
    "2024-12-31",
    "$29.99, 39.99 or 49.99",
    "1, 2, 3, 4, 5, 6, 7",
)
EMAILS = (
    "user@example.com",
    "Write to user@example.com, please.",
    "first.last+tag@mail.example.co.uk",
    "USER@EXAMPLE.COM",
    "user @ example.com",
    "user@example .com",
    "user@example . com",
    "user@example dot com",
    "user＠example.com",
    "jürgen@müller.de",
    "用户@例子.公司",
    "`user`@example.com",
    "[user@example.com](mailto:user@example.com)",
    "user at example dot com",
    "It is john dot smith at example dot com.",
    "user at mail dot example dot co dot uk",
    "user at mail.example dot com",
    "john at my company dot com",
    "User At Example Dot Com",
    "user  at\nexample  dot  com",
    "user(at)example(dot)com",
    "user [at] example [dot] com",
    "user at example.com",
    # What nothing tells apart from one.
    "Visit us at example.com",
)
NOTHING = (
    "",
    "Thank you for calling. How can I help you today?",
    "Your total is $29.99.",
    "It is 3:45 PM.",
    "We were founded in 2024.",
    "You are in room 1204.",
    "Your card ending in 4242 was charged.",
    "Press 1 for sales, 2 for support.",
    "From 1204 to 1310.",
    "$1,299.99",
    "Flight 123 leaves gate 45 at 6.",
    "See you at noon. Thanks.",
    "Look at that. It works.",
    "We meet at 5 p.m. today.",
    "I am at home. Call me",
    "The dot com boom",
    "Follow us @example",
    "5 @ 3 each",
)
MATCHING: dict[Named, tuple[str, ...]] = {
    "card_numbers": CARD_NUMBERS,
    "long_digit_runs": LONG_DIGIT_RUNS,
    "emails": EMAILS,
}
LEFT: dict[Named, tuple[str, ...]] = {
    "card_numbers": (
        *NOTHING,
        *EMAILS,
        "(555) 010-9999",
        "123456789012",
        "12345678901234567890",
        "1,000,000",
        "12/31/2024",
        "4242 and 4242 and 4242 and 4242",
    ),
    "long_digit_runs": (*NOTHING, *EMAILS, "123456", "123 456", "123 and 4567", "4242 or 1234"),
    "emails": (*NOTHING, *LONG_DIGIT_RUNS),
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in MATCHING.items() for text in texts]
)
def test_what_must_not_be_stored_is_found(name: Named, text: str) -> None:
    assert NeverStored([name]).matches(text)
    assert NeverStored([name]).matches(f"Well, {text} it is")


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in LEFT.items() for text in texts]
)
def test_what_may_be_stored_is_left(name: Named, text: str) -> None:
    assert not NeverStored([name]).matches(text)


def test_every_pattern_is_tried_here() -> None:
    assert set(PATTERNS) == set(MATCHING) == set(LEFT) == set(get_args(Named))


separators = st.sampled_from(["", " ", "-", " - ", "\u2011", "\u00a0", "  "])
letters = st.text("abcdefghijklmnopqrstuvwxyz ,.!?", max_size=20)


def written(digits: str, draw: st.DrawFn) -> str:
    return digits[0] + "".join(draw(separators) + digit for digit in digits[1:])


@st.composite
def numbers(draw: st.DrawFn, least: int, most: int) -> str:
    """Digits of some script, with what people put between them."""
    zero = draw(st.sampled_from("0０٠०"))
    values = draw(st.lists(st.integers(0, 9), min_size=least, max_size=most))
    return written("".join(chr(ord(zero) + value) for value in values), draw)


@given(letters, numbers(13, 19), letters)
def test_13_to_19_digits_are_a_card_number(before: str, number: str, after: str) -> None:
    assert NeverStored(["card_numbers"]).matches(before + number + after)


@given(letters, numbers(7, 40), letters)
def test_7_digits_or_more_are_a_long_run(before: str, number: str, after: str) -> None:
    assert NeverStored(["long_digit_runs"]).matches(before + number + after)


@given(letters, numbers(1, 12), letters)
def test_up_to_12_digits_are_no_card_number(before: str, number: str, after: str) -> None:
    assert not NeverStored(["card_numbers"]).matches(before + number + after)


@given(letters, numbers(1, 6), letters)
def test_up_to_6_digits_are_no_long_run(before: str, number: str, after: str) -> None:
    assert not NeverStored(["long_digit_runs"]).matches(before + number + after)


labels = st.text("abcxyz0189", min_size=1, max_size=8)


@given(
    labels,
    st.sampled_from(["@", " @ ", " at ", "(at)", " [at] "]),
    st.lists(labels, min_size=1, max_size=3),
    st.sampled_from([".", " dot ", "(dot)"]),
    st.sampled_from(["com", "de", "museum"]),
)
def test_every_address_is_found_however_it_is_said(
    user: str, at: str, domain: list[str], dot: str, top: str
) -> None:
    assert NeverStored(["emails"]).matches(f"It is {user}{at}{dot.join([*domain, top])}, yes.")


def test_a_pattern_of_the_operators_own_is_looked_for_as_well() -> None:
    never = NeverStored(["emails"], [re.compile("policy [A-Z]{2}")])
    assert never.matches("Your policy AB is renewed.")
    assert never.matches("user@example.com")
    assert not never.matches("Your policy is renewed.")


def test_any_of_several_texts_will_do() -> None:
    never = NeverStored(["long_digit_runs"])
    assert never.matches("zero eight hundred", "0800 123 4567")
    assert never.matches("0800 123 4567", "zero eight hundred")
    assert not never.matches("zero", "eight")


def test_without_patterns_everything_may_be_stored() -> None:
    assert not NeverStored().matches("4242 4242 4242 4242", "user@example.com")


LONG_TEXTS = """
import itertools, sys
from proxy.cache.private import PATTERNS

PARTS = ["a", "1", "é", " ", "@", ".", "-", "a ", "1 ", "a.", "1-", "a@", "1     ", "111111 "]
PARTS += ["at ", "a at ", "at dot ", "a@b.", "a@b dot ", "a at b dot ", "a (at) ", "x-dot-"]
PARTS += ["@a.1", "a@1.1 ", " dot ", "(dot)", "(at)"]
for first, then in itertools.product(PARTS, PARTS):
    for text in (first + then * 4096, (first + then) * 4096):
        for pattern in PATTERNS.values():
            pattern.search(text[:4096])
            pattern.search(text[:4095] + "!")
"""


def test_no_text_takes_long() -> None:
    """While a text is looked through, nobody else is answered. What takes some milliseconds for
    each of these thousands is done in a few seconds; what goes through a text again for each of its
    characters takes a second or two for one."""
    subprocess.run([sys.executable, "-c", LONG_TEXTS], cwd=ROOT, check=True, timeout=60)
