"""Planning: from what is wanted to segments and keys, for weights made up here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.key import Key, seed_of, text_digest
from proxy.cache.private import Named, NeverStored
from proxy.speech.plan import DEFAULT_FORMAT, Plan, Planner, Wanted
from synth.audio.formats import FORMATS
from synth.engine import CannotSay, EngineLoading
from synth.text.sentences import MAX_SEGMENT_CHARS
from synth.voices import VOICES, UnknownLanguage, UnknownVoice
from synth.weights import Weights

DIGESTS = {
    "config.json": "c",
    "kokoro-v1_0.pth": "m",
    **{f"voices/{name}.pt": f"of {name}" for name in VOICES},
}


def planner_for(digests: dict[str, str], *never_stored: Named) -> Planner:
    planner = Planner(NeverStored(never_stored))
    planner.weights = Weights(Path("/nowhere"), "folder", digests)
    return planner


PLANNER = planner_for(DIGESTS)


def plan(text: str, voice: str = "af_bella", **fields: object) -> Plan:
    return PLANNER.plan(replace(Wanted(text, voice), **fields))  # type: ignore[arg-type]


def texts(plan: Plan) -> list[str]:
    return [clip.segment.text for clip in plan.clips]


def keys(plan: Plan) -> list[Key]:
    return [clip.key for clip in plan.clips]


def test_a_text_is_planned_sentence_by_sentence() -> None:
    planned = plan("Good morning. Is that you?\nPlease hold!")
    assert texts(planned) == ["Good morning.", "Is that you?", "Please hold!"]


def test_there_is_a_pause_between_sentences_and_none_after_the_last() -> None:
    pauses = [clip.pause_s for clip in plan("Good morning. Is that you? Please hold!").clips]
    assert pauses[-1] == 0
    assert all(pause > 0 for pause in pauses[:-1])


def test_pauses_follow_the_speed() -> None:
    def pause_s(speed: float) -> float:
        return plan("One. Two.", speed=speed).clips[0].pause_s

    assert pause_s(2.0) == pytest.approx(pause_s(1.0) / 2)


@pytest.mark.parametrize(
    ("voice", "code"),
    [("af_bella", "a"), ("bm_george", "b"), ("ff_siwis", "f"), ("bf_emma+af_bella", "b")],
)
def test_the_language_is_that_of_the_voice_named_first(voice: str, code: str) -> None:
    assert {clip.segment.language for clip in plan("Un. Deux.", voice).clips} == {code}


@pytest.mark.parametrize("lang_code", ["b", "en-gb", "EN-GB", "en_gb", " B "])
def test_a_language_that_is_given_goes_before_that_of_the_voice(lang_code: str) -> None:
    assert plan("Hello.", language=lang_code).clips[0].segment.language == "b"


def test_voice_and_language_both_make_another_clip() -> None:
    american = plan("Hello.")
    assert keys(plan("Hello.", language="a")) == keys(american)
    assert keys(plan("Hello.", language="b")) != keys(american)
    assert keys(plan("Hello.", "bf_emma", language="a")) != keys(american)


@pytest.mark.parametrize("speed", [1, 1.0, 1.001, 0.9951])
def test_speeds_that_round_to_the_same_two_decimals_are_the_same(speed: float) -> None:
    planned = plan("Hello. Goodbye.", speed=speed)
    assert planned == plan("Hello. Goodbye.", speed=1.0)
    assert planned.clips[0].segment.speed == 1.0


@pytest.mark.parametrize("speed", [1.01, 0.99, 2.0])
def test_other_speeds_are_other_clips(speed: float) -> None:
    assert keys(plan("Hello.", speed=speed)) != keys(plan("Hello.", speed=1.0))


def test_a_clip_has_the_same_key_in_every_reply_and_every_format() -> None:
    alone = plan("Got it.")
    assert keys(plan("Got it. Your total is nine dollars."))[0] == alone.clips[0].key
    assert keys(plan("Thank you! Got it."))[1] == alone.clips[0].key
    for format in FORMATS:
        assert keys(plan("Got it.", format=format)) == keys(alone)


def test_every_format_is_a_rendition_of_its_own() -> None:
    assert len({plan("Got it.", format=format).key for format in FORMATS}) == len(FORMATS) == 42


def test_replies_with_other_sentences_or_another_order_are_other_renditions() -> None:
    replies = ("One. Two.", "Two. One.", "One.", "One. Two. Two.", "One, two.")
    assert len({plan(text).key for text in replies}) == len(replies)


def test_the_same_segments_with_other_pauses_are_another_rendition() -> None:
    sentences = plan("One. Two.")
    moved = plan("One. Two.", speed=1.0)
    assert moved.key == sentences.key
    slow = plan("One. Two.", speed=0.5)
    assert slow.key != sentences.key


def test_what_does_not_sound_makes_no_other_reply() -> None:
    spoken = plan("Thank you for calling.")
    for text in (
        "  Thank   you for\tcalling. ",
        "**Thank you** for calling.",
        "Thank you for calling. 😀",
        "Thank\u200b you for calling.",
        "\nThank you for calling.\n\n---\n",
    ):
        assert plan(text) == spoken, text


def test_one_letter_is_one_letter_however_it_is_composed() -> None:
    assert plan("Cafe\u0301 Zoe\u0308.") == plan("Caf\u00e9 Zo\u00eb.")


def test_the_seed_follows_from_the_clip_key() -> None:
    for clip in plan("One. Two. One.").clips:
        assert clip.segment.seed == seed_of(clip.key)
    first, second, again = plan("One. Two. One.").clips
    assert first.segment.seed == again.segment.seed != second.segment.seed


def test_the_voice_is_told_in_its_canonical_spelling() -> None:
    assert plan("Hi.", "af_sky(2) + af_bella(4)").voice == "af_bella(2)+af_sky(1)"
    assert plan("Hi.", "af_bella(3)").voice == "af_bella"


def test_the_format_is_the_first_one_unless_it_is_given() -> None:
    assert plan("Hi.").format.name == DEFAULT_FORMAT == "mp3"
    assert plan("Hi.", format="pcm").format.name == "pcm"


@pytest.mark.parametrize("text", ["...", "  \n ", "?!", "😀😀", "---", "\u200b", ""])
def test_a_text_with_nothing_to_say_is_refused(text: str) -> None:
    with pytest.raises(CannotSay, match="nothing to say"):
        plan(text)


def test_letters_of_another_script_are_refused() -> None:
    with pytest.raises(CannotSay, match="American English"):
        plan("Hello 你好.")


def test_an_unknown_voice_is_refused_and_a_near_one_offered() -> None:
    with pytest.raises(UnknownVoice, match="af_bella"):
        plan("Hi.", "af_bela")


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(UnknownLanguage):
        plan("Hi.", language="klingon")


def test_a_voice_whose_file_is_not_installed_is_refused() -> None:
    digests = {name: digest for name, digest in DIGESTS.items() if name != "voices/af_sky.pt"}
    planner = planner_for(digests)
    assert planner.plan(Wanted("Hi.", "af_bella"))
    for voice in ("af_sky", "af_bella+af_sky"):
        with pytest.raises(UnknownVoice, match="af_sky"):
            planner.plan(Wanted("Hi.", voice))


def test_without_weights_no_key_is_known_yet() -> None:
    with pytest.raises(EngineLoading):
        Planner().plan(Wanted("Hi.", "af_bella"))


def test_a_wrong_request_is_refused_while_there_are_no_weights_too() -> None:
    with pytest.raises(UnknownVoice):
        Planner().plan(Wanted("Hi.", "nobody"))


@pytest.mark.parametrize("file", ["kokoro-v1_0.pth", "voices/af_bella.pt"])
def test_another_model_or_voice_file_makes_other_clips(file: str) -> None:
    planner = planner_for({**DIGESTS, file: "another"})
    wanted = Wanted("Hi.", "af_bella")
    assert planner.plan(wanted).clips[0].key != PLANNER.plan(wanted).clips[0].key


def test_the_file_of_a_voice_that_is_not_heard_changes_nothing() -> None:
    planner = planner_for({**DIGESTS, "voices/af_sky.pt": "another"})
    assert planner.plan(Wanted("Hi.", "af_bella")) == PLANNER.plan(Wanted("Hi.", "af_bella"))


def is_private(text: str, *never_stored: Named) -> bool:
    return planner_for(DIGESTS, *never_stored).plan(Wanted(text, "af_bella")).private


def test_nothing_is_private_unless_the_operator_says_so() -> None:
    assert not is_private("Your card is 4242 4242 4242 4242.")
    assert not plan("Write to user@example.com.").private


def test_a_reply_is_private_for_what_was_written_though_it_is_said_otherwise() -> None:
    planned = plan("Call 0800 0123.")
    assert "0800" not in planned.text
    assert is_private("Call 0800 0123.", "long_digit_runs")


def test_a_reply_is_private_for_what_is_said_though_it_was_written_otherwise() -> None:
    hidden = "Write to user\u2060@\u2060example.com."
    assert not NeverStored(["emails"]).matches(hidden)
    assert is_private(hidden, "emails")


def test_a_reply_is_private_for_one_of_its_sentences() -> None:
    assert is_private("Good morning. Call 555-0100. Thank you.", "long_digit_runs")
    assert not is_private("Good morning. Thank you.", "long_digit_runs", "card_numbers", "emails")


def test_whether_a_reply_is_private_is_no_part_of_its_key() -> None:
    open_to_all = plan("Call 555-0100.")
    planner = planner_for(DIGESTS, "long_digit_runs")
    kept_back = planner.plan(Wanted("Call 555-0100.", "af_bella"))
    assert kept_back == replace(open_to_all, private=True)


def test_what_a_reply_says_stands_for_the_text_of_each_segment() -> None:
    planned = plan("Good morning. Is that you?")
    assert planned.says == tuple(text_digest(text) for text in texts(planned))
    assert planned.text == "Good morning. Is that you?"


words = st.sampled_from("one two, three four; five — six: seven eight! nine? ten. \n".split(" "))


@given(st.lists(words, max_size=150).map(" ".join), st.sampled_from(list(FORMATS)))
def test_planning_is_pure_and_keeps_to_its_bounds(text: str, format: str) -> None:
    if not any(letter.isalnum() for letter in text):
        with pytest.raises(CannotSay):
            plan(text, format=format)
        return
    planned = plan(text, format=format)
    assert planned == plan(text, format=format)
    assert all(0 < len(each) <= MAX_SEGMENT_CHARS for each in texts(planned))
    assert letters("".join(texts(planned))) == letters(text)


def letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum())
