"""English reads the figures and signs that its G2P would leave out or get wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.text.normalise import normalise
from synth.text.readings import spell_out
from synth.voices import LANGUAGES


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "Call 555-0123 or 0800 123 456.",
            "Call 555-zero one two three or zero eight zero zero 123 456.",
        ),
        ("Agent 007", "Agent zero zero seven"),
        ("Press *.", "Press star."),
        ("Press * or #, then 1.", "Press star or pound, then 1."),
        ("Dial *69 now.", "Dial star 69 now."),
        ("Press *#06#.", "Press star pound zero six pound."),
        ("Dial *67# now", "Dial star 67 pound now"),
        ('Press "#" twice.', 'Press "pound" twice.'),
        ("Order #5.", "Order number 5."),
        ("Use C# or F#.", "Use C sharp or F sharp."),
        ("~5 minutes", "about 5 minutes"),
        ("It's -3 degrees, (-4) at night.", "It's minus 3 degrees, (minus 4) at night."),
        ("-$5", "minus $5"),
        ("It is 20℃.", "It is 20°C."),
        ("Open 7:00 to 9:05.", "Open 7 o'clock to 9 oh 5."),
        ("At 7:00pm PT.", "At 7 PM PT."),
        ("At 10:30 AM, or 14:00", "At 10 30 AM, or 14 hundred"),
        ("At 9:05 a.m. sharp", "At 9 oh 5 a.m. sharp"),
        ("8am or 9 am?", "8 AM or 9 AM?"),
        ("9:00am - 5:00pm", "9 AM to 5 PM"),
        ("5-10 minutes", "5 to 10 minutes"),
        ("$10-$20", "$10 to $20"),
        ("1/2 cup and 3 1/4 miles", "½ cup and 3 and ¼ miles"),
        ("$89/night", "$89 per night"),
        ("₹499 or ¥100", "499 rupees or 100 yen"),
        ("Mr Nguyễn", "Mr Nguyen"),
    ],
)
def test_figures_and_signs_become_words(written: str, said: str) -> None:
    assert normalise(written, LANGUAGES["a"]) == said


@pytest.mark.parametrize(
    "text",
    [
        *("0.5", "3.05", "$0.99", "01/02/2024", "2024-01-05", "408-971-8523", "1-800-555"),
        *("5 * 3", "C4", "2-3-4", "24/7", "a - b", "16:9", "at 3 p.m. Please"),
        'Please say "yes" or "no" now.',
    ],
)
def test_what_g2p_reads_well_or_is_something_else_stays_as_it_is(text: str) -> None:
    assert normalise(text, LANGUAGES["a"]) == text


def test_the_hash_key_is_pound_in_america_and_hash_in_britain() -> None:
    assert normalise("Press #", LANGUAGES["a"]) == "Press pound"
    assert normalise("Press #", LANGUAGES["b"]) == "Press hash"


def test_hindi_reads_its_own_currency() -> None:
    assert normalise("कुल ₹499 है।", LANGUAGES["h"]) == "कुल 499 रुपये है।"


def test_other_languages_keep_their_symbols() -> None:
    assert normalise("Marque # y 0800 a las 7:00", LANGUAGES["e"]) == "Marque # y 0800 a las 7:00"


@given(st.text(st.sampled_from("0123456789:/-–$#*~.,apmAPM½ \"'C"), max_size=25))
def test_reading_twice_changes_nothing(text: str) -> None:
    once = normalise(text, LANGUAGES["a"])
    assert normalise(once, LANGUAGES["a"]) == once


@given(st.text(st.characters(categories=["L"]), max_size=40))
def test_letters_are_never_touched(text: str) -> None:
    assert spell_out(text, "a") == text
