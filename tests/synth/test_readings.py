"""English reads the symbols that its G2P would leave out."""

from __future__ import annotations

import pytest

from synth.text.normalise import normalise
from synth.voices import LANGUAGES


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Call 555-0123 or 0800 123 456.", "Call 555-0 1 2 3 or 0 8 0 0 123 456."),
        ("Agent 007", "Agent 0 0 7"),
        ("Press *.", "Press star."),
        ("Press * or #, then 1.", "Press star or pound, then 1."),
        ("Dial *69 now.", "Dial star 69 now."),
        ("Order #5.", "Order number 5."),
        ("~5 minutes", "about 5 minutes"),
        ("-$5", "minus $5"),
        ("It is 20℃.", "It is 20°C."),
        ("Mr Nguyễn", "Mr Nguyen"),
    ],
)
def test_a_telephone_symbol_becomes_its_words(written: str, said: str) -> None:
    assert normalise(written, LANGUAGES["a"]) == said


@pytest.mark.parametrize(
    "text", ["0.5", "3.05", "10:05", "$0.99", "01/02/2024", "2024-01-05", "5 * 3", "C#", "C4"]
)
def test_decimals_times_dates_and_names_stay_as_they_are(text: str) -> None:
    assert normalise(text, LANGUAGES["a"]) == text


def test_the_hash_key_is_pound_in_america_and_hash_in_britain() -> None:
    assert normalise("Press #", LANGUAGES["a"]) == "Press pound"
    assert normalise("Press #", LANGUAGES["b"]) == "Press hash"


def test_other_languages_keep_their_symbols() -> None:
    assert normalise("Marque # y 0800", LANGUAGES["e"]) == "Marque # y 0800"
