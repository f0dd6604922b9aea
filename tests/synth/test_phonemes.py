"""Text to phonemes with the real G2P and the real model's vocabulary."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib.resources import files

import pytest

from synth.engine import CannotSay
from synth.text.normalise import check_script, normalise
from synth.text.sentences import split
from synth.voices import LANGUAGES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from synth.text.phonemes import MAX_PHONEMES, Phonemizer, Utterance, use_installed_spacy_model

VOCABULARY = frozenset(
    json.loads(files("synth.weights").joinpath("data/config.json").read_text())["vocab"]
)

Phonemise = Callable[[str, str], tuple[Utterance, ...]]


@pytest.fixture(scope="module")
def phonemise() -> Phonemise:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        phonemizer = Phonemizer(VOCABULARY)
        for language in "abefhip":
            phonemizer("1", language)
    return phonemizer


def sound(phonemise: Phonemise, text: str, language: str = "a") -> str:
    """The phonemes of a text that fits into one utterance."""
    (utterance,) = phonemise(text, language)
    return utterance.phonemes


@pytest.mark.parametrize(
    ("language", "text", "phonemes"),
    [
        ("a", "Could I have your name, please?", "kˌʊd ˌI hæv jʊɹ nˈAm, plˈiz?"),
        ("b", "Could I have your name, please?", "kˌʊd ˌI hav jɔː nˈAm, plˈiːz?"),
        ("e", "Hola, buenos días.", "ˈola, bwˈenos ðˈias."),
        ("f", "Bonjour, ça va ?", "bɔ̃ʒˈuʁ, sa vˈa ?"),
        ("h", "नमस्ते, आप कैसे हैं?", "nəmˈʌsteː, ˌaːp kˈɛːseː hɛ̃?"),
        ("i", "Ciao, come stai?", "ʧˈao, kˌome stˈaj?"),
        ("p", "Olá, tudo bem?", "olˈa, tˈudʊ bˈAŋ?"),
    ],
)
def test_every_installed_language_has_its_own_phonemes(
    phonemise: Phonemise, language: str, text: str, phonemes: str
) -> None:
    assert sound(phonemise, text, language) == phonemes


@pytest.mark.parametrize(
    "text",
    [
        "Thank you for calling. How can I help you today?",
        "Your appointment is on Tuesday, the 21st of May 2024, at 3:05 p.m.",
        "The total comes to $1,234.56, plus 8.25% tax & a £5 fee.",
        "Mm-hmm. Uh, hmm... okay!",
        "Dr. Nakamura's naïve café in Zürich wasn't open — “sorry”, she said.",
        "It's 20 °C outside; the PIN is 0007.",
        "Write to help.desk@example.com or see https://example.com/a?b=c.",
        "I couldn’t, wouldn’t, shouldn’t: it isn’t right, and they won’t ain’t!",
        'Item #3 (of 10): "quoted", [bracketed], {braced}, *starred* and `code`.',
        "αβ testing ½ of A + B = C, x² and √2 → ∞",
        "MRI, NASA, USB-C, iPhone 15 Pro, COVID-19, k8s, C++ and AT&T",
    ],
)
@pytest.mark.parametrize("language", ["a", "b"])
def test_everyday_english_can_be_said_from_end_to_end(
    phonemise: Phonemise, text: str, language: str
) -> None:
    said = normalise(text, LANGUAGES[language])
    check_script(said, LANGUAGES[language])
    for sentence in split(said, LANGUAGES[language]):
        (utterance,) = phonemise(sentence, language)
        assert set(utterance.phonemes) <= VOCABULARY
        assert len(utterance.phonemes) <= MAX_PHONEMES
        assert utterance.phonemes == utterance.phonemes.strip()
        assert [token.text for token in utterance.tokens] != []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Your total is $29.99.", "twˈɛnti nˈIn dˈɑləɹz ænd nˈIndi nˈIn sˈɛnts"),
        ("It costs £5.", "fˈIv pˈWndz"),
        ("£5", "fˈIv pˈWndz"),
        ("It is €20 a month.", "twˈɛnti jˈʊɹOz"),
        ("That is 5% off.", "fˈIv pəɹsˈɛnt"),
        ("Salt & pepper.", "ænd"),
        ("It costs ₹500.", "ɹˈupi"),
    ],
)
def test_signs_are_read_as_words(phonemise: Phonemise, text: str, words: str) -> None:
    assert words in sound(phonemise, text)


@pytest.mark.parametrize("text", ["It isn't.", "I won't.", "Don't!", "It ain't so."])
def test_a_typographic_apostrophe_sounds_like_a_straight_one(
    phonemise: Phonemise, text: str
) -> None:
    typographic = normalise(text.replace("'", "’"), LANGUAGES["a"])
    assert sound(phonemise, typographic) == sound(phonemise, text)


@pytest.mark.parametrize("language", ["a", "b", "e", "f", "h", "i", "p"])
def test_nothing_is_longer_than_the_model_takes(phonemise: Phonemise, language: str) -> None:
    text = " ".join(["12345678901234567890"] * 14)
    utterances = phonemise(text, language)
    assert len(utterances) > 1
    for utterance in utterances:
        assert 0 < len(utterance.phonemes) <= MAX_PHONEMES
        assert set(utterance.phonemes) <= VOCABULARY


def test_a_long_number_is_split_between_words_and_nothing_is_lost(phonemise: Phonemise) -> None:
    count = 20
    utterances = phonemise(" ".join(["9876543210"] * count), "a")
    assert len(utterances) > 1
    words = [word for utterance in utterances for word in utterance.phonemes.split()]
    assert words == sound(phonemise, "9876543210").split() * count


@pytest.mark.parametrize(
    ("language", "word"), [("e", "casa"), ("f", "chat"), ("h", "घर"), ("i", "gatto"), ("p", "mesa")]
)
def test_a_long_text_is_split_between_words_and_nothing_is_lost(
    phonemise: Phonemise, language: str, word: str
) -> None:
    utterances = phonemise(" ".join([word] * 200), language)
    assert len(utterances) > 1
    words = [word for utterance in utterances for word in utterance.phonemes.split()]
    assert words == [sound(phonemise, word, language)] * 200


def test_what_is_split_is_split_where_a_sentence_or_clause_ends(phonemise: Phonemise) -> None:
    text = "Twelve thousand three hundred and forty-five apples, "
    utterances = phonemise(text * 14, "a")
    assert len(utterances) > 1
    clause = len(sound(phonemise, text))
    for utterance in utterances:
        assert utterance.phonemes.endswith(",")
        assert utterance is utterances[-1] or MAX_PHONEMES - len(utterance.phonemes) <= clause
    whole = " ".join(utterance.phonemes for utterance in utterances)
    assert whole.split() == [*sound(phonemise, text).split()] * 14


def test_the_tokens_of_one_utterance_hold_the_whole_text(phonemise: Phonemise) -> None:
    text = "Hello there, it's 5 o'clock."
    (utterance,) = phonemise(text, "a")
    spelled = "".join(token.text + token.whitespace for token in utterance.tokens)
    assert spelled == text


def test_phonemes_written_by_hand_are_taken(phonemise: Phonemise) -> None:
    assert sound(phonemise, "[Kokoro](/kˈOkəɹO/) speaks.") == "kˈOkəɹO spˈiks."


def test_a_phoneme_that_the_model_does_not_know_is_refused(phonemise: Phonemise) -> None:
    with pytest.raises(CannotSay, match=r"phoneme 'ʘ' \(LATIN LETTER BILABIAL CLICK\)"):
        phonemise("Say [x](/ʘ/) now.", "a")


@pytest.mark.parametrize(
    ("text", "language", "symbol"),
    [
        ("x < y", "a", "<"),
        ("a < b", "e", "<"),
        ("3 ~ 4", "b", "~"),
        ("It is ¥100.", "a", "¥"),
        ("₹500", "h", "₹"),
        ("100 ₽", "i", "₽"),
    ],
)
def test_a_symbol_without_a_sound_is_refused_by_name(
    phonemise: Phonemise, text: str, language: str, symbol: str
) -> None:
    with pytest.raises(CannotSay, match="Write it out in words") as refusal:
        phonemise(text, language)
    assert repr(symbol) in str(refusal.value)
    assert LANGUAGES[language].name in str(refusal.value)


def test_a_word_without_a_sound_is_refused_and_not_skipped(phonemise: Phonemise) -> None:
    with pytest.raises(CannotSay, match="no way to say 'n’t'"):
        phonemise("It isn’t.", "a")  # As no text is once it has been normalised.


@pytest.mark.parametrize("text", ['"..."', "...", "—", "()", "|", "$", "?!"])
def test_punctuation_alone_is_nothing_to_say(phonemise: Phonemise, text: str) -> None:
    with pytest.raises(CannotSay, match="nothing to say"):
        phonemise(text, "a")


@pytest.mark.parametrize(
    "text",
    [
        "(yes) and yes",
        "[yes] and yes",
        "{yes} and yes",
        '"yes" and yes',
        "“yes” and ‘yes’",
        "«yes» and yes",
        "`yes` and yes",
        "yes | yes",
        "#yes and yes",
        "*yes* and yes",
        "yes/yes",
        "yes… yes",
        "¿yes? ¡yes!",
    ],
)
@pytest.mark.parametrize("language", ["a", "e"])
def test_marks_around_words_do_not_take_the_words_away(
    phonemise: Phonemise, text: str, language: str
) -> None:
    yes = sound(phonemise, "yes", language).replace("ˈ", "")
    assert sound(phonemise, text, language).replace("ˈ", "").replace("ˌ", "").count(yes) == 2


def test_the_same_text_is_phonemised_once(phonemise: Phonemise) -> None:
    first = phonemise("Hello again.", "a")
    assert phonemise("Hello again.", "a") is first
    assert phonemise("Hello again.", "b") is not first


def test_finding_the_installed_spacy_model_twice_is_finding_it_once() -> None:
    import spacy.util

    use_installed_spacy_model()
    found = spacy.util.is_package
    use_installed_spacy_model()
    assert spacy.util.is_package is found
    assert spacy.util.is_package("en_core_web_sm")
    assert not spacy.util.is_package("no_such_model")
