"""Mining: what is proposed, what is left out because it is somebody's, and what is written."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import prod
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.private import PATTERNS, NeverStored
from proxy.phrasebook.mining.heard import Asked, Heard, Sentence
from proxy.phrasebook.mining.proposal import LeftOut, Phrase, Proposal, Rates, to_yaml
from proxy.phrasebook.mining.propose import MAX_WORDINGS_PER_HEARD, propose
from proxy.phrasebook.reading.read import read_book

ENOUGH = 5


def sentence(text: str, voice: str = "af_bella", speed: float = 1.0) -> Sentence:
    return Sentence(text, voice, voice[0], speed)


def heard_of(said: Mapping[str, int] | Mapping[Sentence, int]) -> Heard:
    """Each sentence in so many requests, of one sentence each."""
    heard = Heard()
    for each, requests in said.items():
        asked = Asked(each if isinstance(each, Sentence) else sentence(each), False, True)
        for _ in range(requests):
            heard.note([asked])
    return heard


def proposed(said: Mapping[str, int]) -> dict[str, dict[str, tuple[str, ...]]]:
    return {phrase.text: dict(phrase.slots) for phrase in propose(heard_of(said), ENOUGH).phrases}


def wordings(phrase: Phrase) -> list[str]:
    """Whatever is said of it."""
    return [
        phrase.text.format(**dict(zip(phrase.slots, values, strict=True)))
        for values in product(*phrase.slots.values())
    ]


def test_a_sentence_is_proposed_once_it_was_heard_in_enough_requests() -> None:
    assert proposed({"One moment.": ENOUGH, "Two moments.": ENOUGH - 1}) == {"One moment.": {}}


def test_what_saves_most_speech_comes_first() -> None:
    often, long = "Sure.", "Is there anything else that I can help you with today?"
    phrases = propose(heard_of({often: 2 * ENOUGH, long: ENOUGH}), ENOUGH).phrases
    assert [phrase.text for phrase in phrases] == [long, often]
    assert phrases[0].saved_s > phrases[1].saved_s > 0


def test_numbers_and_names_heard_often_become_slots() -> None:
    said = {
        "Thanks for calling Acme.": 3 * ENOUGH,
        "Thanks for calling Bank of America.": ENOUGH,
        "We open at 9 AM.": 2 * ENOUGH,
        "We open at 10 AM.": ENOUGH,
    }
    assert proposed(said) == {
        "Thanks for calling {name}.": {"name": ("Acme", "Bank of America")},
        "We open at {number}.": {"number": ("9 AM", "10 AM")},
    }


def test_a_number_or_name_heard_seldom_is_left_out_and_counted() -> None:
    said = {
        "Thanks for calling Acme.": ENOUGH,
        "Thanks for calling Zenith.": ENOUGH,
        "Thanks for calling Anna.": ENOUGH - 1,
        **{f"Your table is number {number}.": 1 for number in range(30)},
    }
    proposal = propose(heard_of(said), ENOUGH)
    assert [dict(phrase.slots) for phrase in proposal.phrases] == [{"name": ("Acme", "Zenith")}]
    assert proposal.left_out == (LeftOut("rare_value", sentences=31, requests=ENOUGH - 1 + 30),)


def test_a_value_may_have_been_heard_in_several_sentences_of_the_phrase() -> None:
    said = {
        f"We have {city} from {price}.": ENOUGH - 1
        for city in ("Rome", "Oslo")
        for price in ("$9", "$19")
    }
    assert proposed(said) == {
        "We have {name} from {number}.": {"name": ("Oslo", "Rome"), "number": ("$19", "$9")}
    }


def test_slots_of_the_same_kind_are_told_apart() -> None:
    said = {
        "It is from 9 to 17.": ENOUGH,
        "It is from 10 to 18.": ENOUGH,
    }
    assert proposed(said) == {
        "It is from {number} to {number_2}.": {"number": ("10", "9"), "number_2": ("17", "18")}
    }


def test_what_has_only_one_number_or_name_in_a_place_has_no_slot_there() -> None:
    said = {
        "Thanks for calling Acme.": ENOUGH,
        "Acme Oslo opens at 9.": ENOUGH,
        "Acme Oslo opens at 10.": ENOUGH,
    }
    assert proposed(said) == {
        "Thanks for calling Acme.": {},
        "Acme Oslo opens at {number}.": {"number": ("10", "9")},
    }


@pytest.mark.parametrize(
    "text",
    [
        "Your card is 4242 4242 4242 4242.",
        "Call 555-0134.",
        "Call 555-zero one three four.",
        "Call five five five, oh one three four.",
        "Write to anna@example.com.",
        "Write to anna at example dot com.",
    ],
)
def test_what_must_not_be_stored_is_never_proposed(text: str) -> None:
    proposal = propose(heard_of({text: 100}), ENOUGH)
    assert proposal.phrases == ()
    assert proposal.left_out == (LeftOut("private", sentences=1, requests=100),)


def test_no_long_number_is_put_together_from_short_ones() -> None:
    said = {
        "It is 1234, 12.": ENOUGH,
        "It is 12, 1234.": ENOUGH,
    }
    proposal = propose(heard_of(said), ENOUGH)
    assert proposal.phrases == ()
    assert proposal.left_out == (LeftOut("private", sentences=2, requests=2 * ENOUGH),)


def test_numbers_and_names_that_do_not_go_together_are_not_all_combined() -> None:
    said = {
        f"Ask {name} for line {number}.": ENOUGH + number
        for number, name in enumerate(("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"))
    }
    proposal = propose(heard_of(said), ENOUGH)
    [phrase] = proposal.phrases
    assert len(wordings(phrase)) <= MAX_WORDINGS_PER_HEARD * 4
    assert phrase.slots["name"] == ("Hal", "Gus", "Flo", "Ed")
    assert [left.reason for left in proposal.left_out] == ["combinations"]


def test_braces_would_be_slots() -> None:
    proposal = propose(heard_of({"Hello {name}.": 100}), ENOUGH)
    assert proposal.phrases == ()
    assert proposal.left_out == (LeftOut("braces", 1, 100),)


def test_what_a_phrasebook_has_by_now_is_left_out() -> None:
    heard = heard_of({"Sure.": ENOUGH, "Okay.": ENOUGH})
    proposal = propose(heard, ENOUGH, known=lambda known: known.text == "Sure.")
    assert [phrase.text for phrase in proposal.phrases] == ["Okay."]
    assert proposal.left_out == (LeftOut("known", 1, ENOUGH),)


def test_no_more_phrases_are_proposed_than_asked_for() -> None:
    heard = heard_of({"Sure, why not.": ENOUGH, "Okay.": ENOUGH})
    proposal = propose(heard, ENOUGH, max_phrases=1)
    assert [phrase.text for phrase in proposal.phrases] == ["Sure, why not."]
    assert proposal.left_out == (LeftOut("limit", 1, ENOUGH),)


def test_voices_that_say_the_same_share_a_phrase_where_their_speeds_are_the_same() -> None:
    heard = heard_of(
        {
            sentence("Sure.", "af_bella"): ENOUGH,
            sentence("Sure.", "am_adam"): ENOUGH,
            sentence("Sure.", "am_echo"): ENOUGH,
            sentence("Sure.", "am_echo", speed=1.2): ENOUGH,
        }
    )
    found = {
        phrase.voices: (phrase.speeds, phrase.requests, phrase.clips)
        for phrase in propose(heard, ENOUGH).phrases
    }
    assert found == {
        ("af_bella", "am_adam"): ((1.0,), 2 * ENOUGH, 2),
        ("am_echo",): ((1.0, 1.2), 2 * ENOUGH, 2),
    }


def test_the_rates_are_shares_of_all_that_was_asked_for() -> None:
    heard = heard_of({"Sure.": 6, "Something rare.": 1})
    heard.note([Asked(sentence("Okay."), in_phrasebook=True, missed=False)] * 3)
    proposal = propose(heard, ENOUGH)
    assert proposal.sentences == Rates(in_phrasebooks=3 / 10, missed=7 / 10, proposed=6 / 10)
    assert proposal.characters == Rates(15 / 60, 45 / 60, 30 / 60)


def test_where_nothing_was_heard_nothing_is_proposed() -> None:
    assert propose(Heard(), ENOUGH) == Proposal(())


words = st.sampled_from(
    "the Anna Bo at 5 12 1234 555-0134 $3 zero one moment, please. Acme".split()
)
texts = st.lists(words, min_size=1, max_size=5).map(" ".join)


@given(st.dictionaries(texts, st.integers(1, 8), max_size=40))
def test_nothing_proposed_was_heard_by_few_or_is_private(said: dict[str, int]) -> None:
    proposal = propose(heard_of(said), ENOUGH)
    for phrase in proposal.phrases:
        assert phrase.requests >= ENOUGH
        assert phrase.clips == prod(map(len, phrase.slots.values())) == len(wordings(phrase))
        assert not any(NeverStored(PATTERNS).matches(wording) for wording in wordings(phrase))
        for values in phrase.slots.values():
            for value in values:
                having = [requests for text, requests in said.items() if value in text]
                assert sum(having) >= ENOUGH
    reasons = [left.reason for left in proposal.left_out]
    assert len(reasons) == len(set(reasons))
    told = sum(phrase.requests for phrase in proposal.phrases)
    assert told + sum(left.requests for left in proposal.left_out) == sum(said.values())


def test_a_proposal_is_written_as_a_phrasebook_that_says_why() -> None:
    heard = heard_of(
        {
            sentence("No: wait."): 20,
            sentence("We open at 9."): 6,
            sentence("We open at 10."): 5,
            sentence("Sure.", "am_adam", speed=1.2): 5,
        }
    )
    assert to_yaml(propose(heard, ENOUGH), "mined") == (
        "name: mined\n"
        "voices: [af_bella]\n"
        "formats: [mp3]\n"
        "phrases:\n"
        "\n"
        "  # af_bella\n"
        "  # 20 requests, 14 s\n"
        "  - 'No: wait.'\n"
        "  # 11 requests, 10 s, 2 clips\n"
        "  - text: We open at {number}.\n"
        "    slots:\n"
        "      number:\n"
        "        - '9'\n"
        "        - '10'\n"
        "\n"
        "  # am_adam at speed 1.2\n"
        "  # 5 requests, 2 s\n"
        "  - text: Sure.\n"
        "    voices: [am_adam]\n"
        "    speeds: [1.2]\n"
    )


def test_a_proposal_is_read_as_the_phrasebook_that_it_is(tmp_path: Path) -> None:
    said = [
        sentence("No: wait."),
        sentence("Say [Kokoro](/kˈOkəɹO/)."),
        sentence("We open at 9."),
        sentence("We open at 10."),
        sentence("Sure.", "am_adam", speed=1.25),
        sentence("Sure.", "af_bella(2)+af_sky(1)"),
        Sentence("Un momento, por favor.", "af_bella", "e", 1.0),
        Sentence("Un momento.", "ef_dora", "e", 1.0),
        Sentence("कृपया प्रतीक्षा करें।", "hf_alpha", "h", 1.0),
    ]
    path = tmp_path / "mined.yaml"
    proposal = propose(heard_of(dict.fromkeys(said, ENOUGH)), ENOUGH)
    path.write_text(to_yaml(proposal, "mined"), encoding="utf-8")
    books = read_book(path)
    assert books.problems == ()
    assert {
        (phrase.text, voice, phrase.language or voice[0], speed)
        for phrase in books.books[0].phrases
        for voice in phrase.voices
        for speed in phrase.speeds
    } == set(said)


@given(
    st.dictionaries(
        st.text(
            st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="{}"),
            min_size=1,
        )
        | texts
        | st.sampled_from(["no", "5", "~", "- a", "# b", "a: b", "'", '"', "[x](/y/)", "&a", "*b"]),
        st.integers(ENOUGH, 9),
        max_size=20,
    ),
    st.sampled_from(["mined", "no", "5", "a: b", "#"]),
)
def test_what_is_written_is_read_back_as_it_was(said: dict[str, int], name: str) -> None:
    proposal = propose(heard_of(said), ENOUGH)
    book = yaml.safe_load(to_yaml(proposal, name))
    assert book["name"] == name
    assert book["formats"] == ["mp3"]
    read = [
        (entry, {}) if isinstance(entry, str) else (entry["text"], entry.get("slots", {}))
        for entry in book["phrases"]
    ]
    assert read == [
        (phrase.text, {slot: list(values) for slot, values in phrase.slots.items()})
        for phrase in proposal.phrases
    ]
