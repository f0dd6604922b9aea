"""Numbers and names are found in sentences, and nothing of a sentence is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.phrasebook.mining.particulars import in_figures, take_out


@pytest.mark.parametrize(
    ("said", "taken_out"),
    [
        ("One moment, please.", "One moment, please."),
        ("Is Anna there?", "Is <Anna> there?"),
        ("Hello Anna, I'm Bob.", "Hello <Anna>, I'm <Bob>."),
        ("You've reached Bank of America.", "You've reached <Bank of America>."),
        ("Dr. Jane Roe is with Mr. Smith.", "<Dr. Jane Roe> is with <Mr. Smith>."),
        ("It is Anna's turn, says J. Smith.", "It is <Anna>'s turn, says <J. Smith>."),
        ("Between San José and O'Hare.", "Between <San José> and <O'Hare>."),
        ("I think I'll call. Thanks.", "I think I'll call. Thanks."),
        ("Enter your PIN at the ATM, Sir.", "Enter your PIN at the ATM, Sir."),
        ("We open on Monday in March.", "We open on Monday in March."),
        ("It starts at 7 30 PM.", "It starts at <7 30 PM>."),
        ("It starts at 7:30 p.m. sharp.", "It starts at <7:30 p.m.> sharp."),
        ("That is $12.50, or 5%.", "That is <$12.50>, or <5%>."),
        ("On Monday, May 3rd.", "On Monday, May <3rd>."),
        ("Due 12/31/2024.", "Due <12/31/2024>."),
        ("Call 555-0134.", "Call <555-0134>."),
        ("Call (555) 010-9999 now.", "Call <(555) 010-9999> now."),
        ("Call 555-zero one three four.", "Call <555-zero one three four>."),
        ("Your code is zero one two.", "Your code is <zero one two>."),
        ("One or two of them.", "One or two of them."),
        ("Flight BX-204 is at Gate 12B.", "Flight <BX-204> is at <Gate> <12B>."),
        ("Say [Kokoro](/k1/), [pause:0.5s] at 5.", "Say [Kokoro](/k1/), [pause:0.5s] at <5>."),
    ],
)
def test_numbers_and_names_are_taken_out(said: str, taken_out: str) -> None:
    template, values = take_out(said, "a")
    assert template.filled([f"<{value}>" for value in values]) == taken_out


def test_where_there_are_no_capitals_only_numbers_are_taken_out() -> None:
    assert take_out("आपका समय ५ बजे है, Anna.", "h")[1] == ("५",)
    assert take_out("3時に予約しました", "j")[1] == ("3",)


@given(st.text(max_size=80) | st.text("Anna Bo.,19:$-()[]{} zero one", max_size=80))
def test_what_is_taken_out_can_be_put_back(text: str) -> None:
    template, values = take_out(text, "a")
    assert template.filled(values) == text
    assert len(template.kinds) == len(values)


def test_digits_in_words_are_read_as_figures() -> None:
    assert in_figures("Five five five, oh one two: someone.") == "5 5 5, 0 1 2: someone."
