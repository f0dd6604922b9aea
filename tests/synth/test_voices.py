"""Voices, blends and languages: what can be asked for, and what is answered to the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.voices import (
    DEFAULT_VOICE,
    LANGUAGES,
    MAX_BLENDED_VOICES,
    VOICES,
    UnknownLanguage,
    UnknownVoice,
    near,
    parse_language,
    parse_voice,
    require_installed,
)

WEIGHTS = st.one_of(
    st.just(""),
    st.integers(1, 9999).map(lambda weight: f"({weight})"),
    st.decimals("0.0001", 9999, places=4).map(lambda weight: f"({weight})"),
)
PARTS = st.lists(st.tuples(st.sampled_from(sorted(VOICES)), WEIGHTS), min_size=1, max_size=8)


def test_there_are_54_voices_in_9_languages() -> None:
    assert len(VOICES) == 54
    assert {voice.language.code for voice in VOICES.values()} == set(LANGUAGES) == set("abefhijpz")
    assert all(name == voice.name for name, voice in VOICES.items())


@pytest.mark.parametrize(
    ("name", "accent", "gender", "title"),
    [
        ("af_bella", "American English", "female", "Bella"),
        ("af_nicole", "American English", "female", "Nicole"),
        ("af_sarah", "American English", "female", "Sarah"),
        ("af_sky", "American English", "female", "Sky"),
        ("bf_emma", "British English", "female", "Emma"),
        ("bf_isabella", "British English", "female", "Isabella"),
        ("am_adam", "American English", "male", "Adam"),
        ("am_michael", "American English", "male", "Michael"),
        ("bm_george", "British English", "male", "George"),
        ("bm_lewis", "British English", "male", "Lewis"),
    ],
)
def test_a_voice_tells_its_accent_and_gender(
    name: str, accent: str, gender: str, title: str
) -> None:
    voice = VOICES[name]
    assert (voice.accent, voice.gender, voice.title) == (accent, gender, title)
    chosen = parse_voice(name)
    assert (str(chosen.blend), chosen.language.name) == (name, accent)


def test_bella_is_the_default() -> None:
    assert DEFAULT_VOICE == "af_bella"


@pytest.mark.parametrize(
    ("spec", "shares"),
    [
        ("af_bella", {"af_bella": 1.0}),
        ("af_bella+af_sky", {"af_bella": 0.5, "af_sky": 0.5}),
        ("af_bella(2)+af_sky(1)", {"af_bella": 2 / 3, "af_sky": 1 / 3}),
        ("af_bella(3)+af_sky", {"af_bella": 0.75, "af_sky": 0.25}),
        (" af_bella ( 0.5 ) + af_sky( 1.5 ) ", {"af_bella": 0.25, "af_sky": 0.75}),
        ("af_sky+af_bella+af_sky", {"af_bella": 1 / 3, "af_sky": 2 / 3}),
        ("af_bella(0.0001)+af_sky(9999.9999)", {"af_bella": 1e-8, "af_sky": 1 - 1e-8}),
    ],
)
def test_a_blend_gives_each_voice_its_share(spec: str, shares: dict[str, float]) -> None:
    assert dict(parse_voice(spec).blend.shares()) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("af_bella+af_sky", "af_sky+af_bella"),
        ("af_bella(2)+af_sky(1)", "af_bella(4)+af_sky(2)"),
        ("af_bella(2)+af_sky(1)", "af_sky(0.25)+af_bella(0.5)"),
        ("af_bella(2)+af_sky(1)", "af_bella+af_sky+af_bella"),
        ("af_bella(7)", "af_bella"),
        ("af_bella+af_bella", "af_bella"),
        ("af_bella(0.1)+af_sky(0.2)+am_adam(0.3)", "af_bella(1)+af_sky(2)+am_adam(3)"),
    ],
)
def test_blends_that_sound_the_same_are_equal(one: str, other: str) -> None:
    assert parse_voice(one).blend == parse_voice(other).blend


def test_blends_that_sound_different_are_not_equal() -> None:
    specs = ("af_bella", "af_bella+af_sky", "af_bella(2)+af_sky", "af_bella+af_sky(2)", "af_sky")
    assert len({parse_voice(spec).blend for spec in specs}) == len(specs)


def test_the_language_is_that_of_the_voice_named_first_though_blends_are_equal() -> None:
    one, other = parse_voice("bf_emma+af_bella"), parse_voice("af_bella+bf_emma")
    assert (one.language.code, other.language.code) == ("b", "a")
    assert one.blend == other.blend


@given(PARTS)
def test_the_canonical_spelling_is_read_back_as_the_same_blend(
    parts: list[tuple[str, str]],
) -> None:
    blend = parse_voice("+".join(name + weight for name, weight in parts)).blend
    shares = blend.shares()
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert [name for name, _ in shares] == sorted({name for name, _ in parts})
    assert parse_voice(str(blend)).blend == blend


@pytest.mark.parametrize(
    ("name", "meant"),
    [("af_bela", "af_bella"), ("AF_BELLA", "af_bella"), ("bella", "af_bella"), ("emma", "bf_emma")],
)
def test_an_unknown_voice_is_refused_with_what_it_may_have_meant(name: str, meant: str) -> None:
    with pytest.raises(UnknownVoice, match="There is no voice") as refusal:
        parse_voice(f"af_sky+{name}")
    assert repr(name) in str(refusal.value)
    assert repr(meant) in str(refusal.value).partition("Did you mean")[2]


def test_nothing_is_offered_where_nothing_is_near() -> None:
    with pytest.raises(UnknownVoice) as refusal:
        parse_voice("1234567890")
    assert str(refusal.value) == "There is no voice '1234567890'."
    assert near("1234567890", VOICES) == ""


@pytest.mark.parametrize(
    "spec",
    [
        "",
        " ",
        "+",
        "af_bella+",
        "+af_bella",
        "af_bella++af_sky",
        "af_bella(",
        "af_bella()",
        "af_bella(1",
        "af_bella 1)",
        "af_bella(one)",
        "af_bella(-1)",
        "af_bella(+1)",
        "af_bella(.5)",
        "af_bella(1.)",
        "af_bella(1e3)",
        "af_bella(1000000000)",
        "af_bella(1.00001)",
        "af_bella(1)(2)",
        "(2)af_bella",
        "af_bella af_sky",
        "af_bella(nan)",
        "af_bella(inf)",
    ],
)
def test_what_is_no_blend_is_refused_with_an_example(spec: str) -> None:
    with pytest.raises(UnknownVoice, match=r"Cannot read .*'af_bella\(2\)\+af_sky\(1\)'"):
        parse_voice(spec)


@pytest.mark.parametrize("weight", ["0", "0.0", "0000", "0.0000"])
def test_a_weight_of_nothing_is_refused(weight: str) -> None:
    with pytest.raises(UnknownVoice, match="weight of af_sky in a blend must be above 0"):
        parse_voice(f"af_bella+af_sky({weight})")


def test_weights_that_have_no_canonical_spelling_are_refused() -> None:
    with pytest.raises(UnknownVoice, match="too far apart"):
        parse_voice("af_bella(999999999.9999)+af_sky")


def test_a_blend_has_a_largest_number_of_voices() -> None:
    most = "+".join(sorted(VOICES)[:MAX_BLENDED_VOICES])
    assert len(parse_voice(most).blend.parts) == MAX_BLENDED_VOICES
    with pytest.raises(UnknownVoice, match="8 voices at most; this one has 9"):
        parse_voice(most + "+zm_yunyang")


@pytest.mark.parametrize("spec", ["x" * 10_000, "af_bella(" * 5_000, "af_bella(" + "1" * 9_999])
def test_what_is_long_does_not_flood_the_message(spec: str) -> None:
    with pytest.raises(UnknownVoice) as refusal:
        parse_voice(spec)
    assert len(str(refusal.value)) < 200


@given(st.text())
def test_any_text_is_a_blend_or_an_unknown_voice(spec: str) -> None:
    try:
        chosen = parse_voice(spec)
    except UnknownVoice:
        return
    assert set(chosen.blend.voices) <= set(VOICES)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("a", "American English"),
        ("A", "American English"),
        ("en-us", "American English"),
        ("en-US", "American English"),
        ("EN_US", "American English"),
        (" b ", "British English"),
        ("en-GB", "British English"),
        ("es", "Spanish"),
        ("fr-FR", "French"),
        ("hi", "Hindi"),
        ("it", "Italian"),
        ("pt-BR", "Brazilian Portuguese"),
    ],
)
def test_a_language_is_read_by_letter_or_tag_in_either_case(code: str, name: str) -> None:
    assert parse_language(code).name == name


@pytest.mark.parametrize("code", ["", "en", "x", "de", "aa", "american", "a" * 1_000])
def test_another_language_is_refused_with_those_there_are(code: str) -> None:
    with pytest.raises(UnknownLanguage, match=r"There is no language .*b \(en-gb\)") as refusal:
        parse_language(code)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(("code", "extra"), [("j", "ja"), ("ja", "ja"), ("z", "zh"), ("ZH", "zh")])
def test_a_language_that_is_not_installed_names_its_extra(code: str, extra: str) -> None:
    language = LANGUAGES[code[0].lower()]
    if language.installed():
        assert parse_language(code) is language
        return
    with pytest.raises(UnknownLanguage, match=rf"pip install 'kokoro-edge\[{extra}\]'"):
        parse_language(code)
    with pytest.raises(UnknownLanguage, match=f"{language.name} .* is not installed"):
        require_installed(language)


def test_the_voices_of_a_language_that_is_not_installed_are_known_all_the_same() -> None:
    assert parse_voice("jf_alpha").language.extra == "ja"
    assert parse_voice("zm_yunxi").language.extra == "zh"
