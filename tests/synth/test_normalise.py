"""The one form of a text: what is folded, what is left out, and what is never touched."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth.engine import CannotSay
from synth.text.normalise import check_script, has_speech, is_plain, normalise
from synth.voices import LANGUAGES, Language

ENGLISH, HINDI = LANGUAGES["a"], LANGUAGES["h"]

# Arbitrary text seldom holds what the rules are about, so it is mixed with pieces that do.
TEXT = st.lists(
    st.one_of(
        st.text(max_size=5),
        st.sampled_from([*"*_`~#->•–.()[]/+'’ʼ \n\r\t\u2028aé1\u0301\u200d\u200c\ufe0f\u20e3\xad"]),
        st.sampled_from(["👩‍🚀", "🇩🇪", "1️⃣", "👍🏽", "क्", "ष", "**a**", "[a](b)", "~~", "```"]),
    )
).map("".join)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Hello.", "Hello."),
        ("Cafe\u0301", "Café"),
        ("  a \t b\u00a0\u3000c  ", "a b c"),
        ("a\x00b\x07c\x1b", "a b c"),
        ("one\ntwo", "one\ntwo"),
        ("one \r\n\r\n \v\f two\x85three\u2028four\u2029", "one\ntwo\nthree\nfour"),
        ("", ""),
        (" \n\t ", ""),
        ("\ufeffa\u00ad\u200bb\u2060\u202ec", "abc"),
    ],
)
def test_letters_are_composed_and_blanks_folded(written: str, said: str) -> None:
    assert normalise(written, ENGLISH) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Great 👍 job", "Great job"),
        ("Great👍job", "Great job"),
        ("👩‍👩‍👧‍👦 family", "family"),
        ("from 🇩🇪 to 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "from to"),
        ("Press 1️⃣", "Press 1"),
        ("👍🏽👍🏿", ""),
        ("I ❤️ you", "I you"),
        ("☎️ call", "call"),
    ],
)
@pytest.mark.parametrize("language", [ENGLISH, HINDI], ids=lambda language: language.code)
def test_emoji_are_not_said(written: str, said: str, language: Language) -> None:
    assert normalise(written, language) == said


@pytest.mark.parametrize("text", ["© 2024", "Acme® and Co™", "1234567890", "20 °C", "½ + ¼ = ¾"])
def test_what_is_read_aloud_is_no_emoji(text: str) -> None:
    assert normalise(text, ENGLISH) == text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**Now**", "Now"),
        ("do it ***now***, please", "do it now, please"),
        ("an _important_ `word` and ~~another~~.", "an important word and another."),
        ("# Title", "Title"),
        ("###### Deep", "Deep"),
        ("- one\n* two\n• three\n> four", "one\ntwo\nthree\nfour"),
        ("> - **one**", "one"),
        ("```\ncode\n```", "code"),
        ("See [the site](https://example.com/a_b?c=d).", "See the site."),
        ("**[the site](https://example.com)**", "the site"),
    ],
)
def test_markdown_marks_are_not_said(written: str, said: str) -> None:
    assert normalise(written, ENGLISH) == said


@pytest.mark.parametrize(
    "text",
    [
        "2*3 = 6",
        "2 * 3",
        "snake_case",
        "a - b",
        "1. one",
        "5 > 3",
        "[Kokoro](/kˈOkəɹO/) speaks.",
        "[sic] (yes)",
        "well-known",
    ],
)
def test_the_same_characters_are_text_elsewhere(text: str) -> None:
    assert normalise(text, ENGLISH) == text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It isn’t.", "It isn't."),
        ("She’d’ve gone", "She'd've gone"),
        ("isnʼt isn＇t", "isn't isn't"),
        ("**don**’t", "don't"),
        ("the ‘quoted’ word", "the ‘quoted’ word"),
        ("James’ book, the ’90s", "James’ book, the ’90s"),
    ],
)
def test_an_apostrophe_inside_a_word_is_spelled_one_way(written: str, said: str) -> None:
    assert normalise(written, ENGLISH) == said


def test_joiners_are_part_of_the_spelling_in_hindi_and_of_nothing_in_english() -> None:
    written = "क्\u200dष र्\u200cय"
    assert normalise(written, HINDI) == written
    assert normalise("a\u200db\u200cc", ENGLISH) == "abc"


@pytest.mark.parametrize(
    "written", ["🧑\u200d🚀", "\u200d", " \u200c\u200d ", "🧑\u200d🚀 🧑\u200d🚀"]
)
def test_the_joiners_of_an_emoji_go_with_it(written: str) -> None:
    assert normalise(written, HINDI) == ""


@given(TEXT, st.sampled_from([ENGLISH, HINDI]))
@example("0 ** 0", ENGLISH)
@example("\ufe0f\u200c", HINDI)
def test_normalising_twice_changes_nothing(text: str, language: Language) -> None:
    once = normalise(text, language)
    assert normalise(once, language) == once


@given(TEXT, st.sampled_from(["a", "h"]))
def test_lines_are_not_empty_and_have_no_blank_at_either_end(text: str, code: str) -> None:
    said = normalise(text, LANGUAGES[code])
    assert unicodedata.is_normalized("NFC", said)
    for line in said.split("\n") if said else []:
        assert line and line == line.strip()
        assert "  " not in line
        assert not any(unicodedata.category(character) == "Cc" for character in line)


@given(
    st.text(
        st.characters(
            categories=["Lu", "Ll"],
            include_characters=" .,?!123456789",
            exclude_characters="ℹ",  # A letter to Unicode, and an emoji, which is not read out.
        ),
        max_size=60,
    )
)
def test_letters_and_digits_are_all_kept_but_for_accents(text: str) -> None:
    said = _without_accents(normalise(text, ENGLISH))
    wanted = _without_accents(text)
    assert [c for c in said if c.isalnum()] == [c for c in wanted if c.isalnum()]


@pytest.mark.parametrize("text", ["a", "5", "%", "&", "½", "हाँ", "日本", "$", "+", "...a..."])
def test_letters_digits_and_symbols_can_be_said(text: str) -> None:
    assert has_speech(text)


@pytest.mark.parametrize("text", ["", "...", '"..."', "—", "?!", "()", " \n ", "„“", "#", "*"])
def test_punctuation_by_itself_cannot(text: str) -> None:
    assert not has_speech(text)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("a", "Hello, café, Dvořák, Ångström: 5 € and π!"),
        ("e", "¿Qué tal, señor?"),
        ("h", "नमस्ते, Delhi १२३"),
        ("j", "こんにちは、カタカナと漢字。"),
        ("z", "你好。"),
        ("a", "1234 !?"),
        ("a", "x\u0304"),
    ],
)
def test_letters_of_a_language_s_scripts_pass(code: str, text: str) -> None:
    check_script(text, LANGUAGES[code])


@pytest.mark.parametrize(
    ("code", "text", "letter", "name"),
    [
        ("a", "Hello 世界", "世", "CJK UNIFIED IDEOGRAPH-4E16"),
        ("a", "привет", "п", "CYRILLIC SMALL LETTER PE"),
        ("f", "नमस्ते", "न", "DEVANAGARI LETTER NA"),
        ("h", "say שלום", "ש", "HEBREW LETTER SHIN"),
        ("z", "ひらがな", "ひ", "HIRAGANA LETTER HI"),
    ],
)
def test_the_first_letter_of_another_script_is_named(
    code: str, text: str, letter: str, name: str
) -> None:
    with pytest.raises(CannotSay) as refusal:
        check_script(text, LANGUAGES[code])
    message = str(refusal.value)
    assert repr(letter) in message and name in message and LANGUAGES[code].name in message


def test_everyday_text_is_plain_and_symbols_are_not() -> None:
    assert is_plain("It's 5% off, isn’t it? “Yes” — just $29.99 (or 20 €)!")
    for text in ("a < b", "¥100", "5 ₽", "[x](/ʘ/)", "日本"):
        assert not is_plain(text)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
