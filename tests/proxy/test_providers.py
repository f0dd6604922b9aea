"""The parts of a provider: its breaker, its samples, its settings, what is asked of each API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fallback.answer import open_session
from proxy.fallback.breaker import Breaker, State
from proxy.fallback.pcm import PcmReader
from proxy.fallback.provider import APIS, Provider
from proxy.fallback.providers import Providers
from proxy.fallback.request import CannotAsk, Wish
from proxy.layers import SettingsError, load
from proxy.settings import FallbackSettings
from proxy.speech.elsewhere import Errand, NotSpoken
from tests.proxy.providers import FakeProvider, refuse, speak, speech_of

ERRAND = Errand("Please hold the line.", "af_bella", "en-us", 1.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


# The breaker.


def state_of(breaker: Breaker) -> State:
    return breaker.state


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_through_after_its_rest() -> None:
    clock = Clock()
    breaker = Breaker(2, 30.0, clock)
    for outcome in ("failed", "succeeded", "failed", "failed"):
        attempt = breaker.enter()
        assert attempt is not None
        getattr(breaker, outcome)(attempt)
    assert state_of(breaker) is State.OPEN and breaker.enter() is None
    clock.now_s += 30
    assert state_of(breaker) is State.HALF_OPEN
    trial = breaker.enter()
    assert trial is not None and breaker.enter() is None
    assert not breaker.failed(trial)  # It was open before.
    assert state_of(breaker) is State.OPEN
    clock.now_s += 30
    trial = breaker.enter()
    assert trial is not None and breaker.succeeded(trial)
    assert state_of(breaker) is State.CLOSED


def test_who_leaves_lets_the_next_one_try() -> None:
    clock = Clock()
    breaker = Breaker(1, 30.0, clock)
    first, late = breaker.enter(), breaker.enter()
    assert first is not None and late is not None
    assert breaker.failed(first)
    clock.now_s += 30
    trial = breaker.enter()
    assert trial is not None
    # Who was let through before it opened decides nothing.
    assert not breaker.succeeded(late) and breaker.enter() is None
    breaker.left(trial)
    assert breaker.enter() is not None


@given(st.lists(st.sampled_from(["enter", "failed", "succeeded", "left", "rest"]), max_size=40))
def test_a_breaker_never_lets_two_through_that_decide(steps: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(2, 1.0, clock)
    inside = []
    for step in steps:
        if step == "enter":
            attempt = breaker.enter()
            assert (attempt is None) <= (breaker.state is not State.CLOSED)
            inside += [] if attempt is None else [attempt]
        elif step == "rest":
            clock.now_s += 1
        elif inside:
            getattr(breaker, step)(inside.pop(0))
        assert sum(attempt.decides for attempt in inside) <= 1


# A provider over HTTP, by a clock of its own.


@pytest.fixture
async def spare() -> AsyncIterator[FakeProvider]:
    provider = FakeProvider()
    await provider.start()
    yield provider
    await provider.stop()


async def speech(providers: Providers) -> bytes:
    [offer] = providers.offers(ERRAND)
    return b"".join([pcm.tobytes() async for pcm in offer.speak()])


async def test_who_fails_again_and_again_is_left_alone_and_tried_once_later(
    spare: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    settings = FallbackSettings(providers=(spare.settings(),), breaker_failures=2, breaker_s=30)
    providers = Providers(settings, {}, clock)
    async with providers.running():
        spare.answer = refuse(500)
        for said in ("answered 500", "answered 500", "left alone", "left alone"):
            with pytest.raises(NotSpoken, match=said):
                await speech(providers)
        assert (len(spare.asked), providers.health()) == (2, {"spare": "down"})
        clock.now_s += 30
        spare.answer = speak
        assert await speech(providers) == speech_of(ERRAND.text)
        assert providers.health() == {"spare": "up"}
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [
        "the provider spare is left alone for a while: answered 500 (told_to)",
        "the provider spare speaks again",
    ]


async def test_a_refusal_of_the_text_is_not_held_against_the_provider(spare: FakeProvider) -> None:
    settings = FallbackSettings(providers=(spare.settings(),), breaker_failures=1)
    providers = Providers(settings, {})
    async with providers.running():
        spare.answer = refuse(400)
        with pytest.raises(NotSpoken, match="answered 400"):
            await speech(providers)
        assert providers.health() == {"spare": "up"}


async def test_a_failure_that_nobody_expected_is_held_against_the_provider(
    spare: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    fallback = FallbackSettings(breaker_failures=1)
    async with open_session() as session:
        provider = Provider(spare.settings(), "sk-hush\n", fallback, lambda: session)
        with pytest.raises(ValueError, match="header"):
            _ = [pcm async for pcm in provider.speak(provider.wish(ERRAND))]
    assert state_of(provider.breaker) is State.OPEN
    assert "left alone for a while: ValueError" in caplog.text and "sk-hush" not in caplog.text


async def test_a_server_that_is_not_there_is_told_as_such(spare: FakeProvider) -> None:
    settings = FallbackSettings(providers=(spare.settings(),))
    await spare.stop()
    providers = Providers(settings, {})
    async with providers.running():
        with pytest.raises(NotSpoken, match="cannot be reached"):
            await speech(providers)


def test_what_sounds_the_same_shares_a_key_and_nothing_else_does() -> None:
    spare = FakeProvider()
    base = {"name": "a", "kind": "openai", "url": "http://one/v1", "model": "m", "voice": "v"}

    def key(errand: Errand = ERRAND, format: str = "mp3", **others: object) -> str:
        settings = load({"fallback.providers": str([{**base, **others}])}, {}).fallback
        [offer] = Providers(settings, {}).offers(errand)
        return offer.key(format).id

    assert not spare.asked
    same = {
        key(),
        key(name="b"),
        key(api_key="another"),
        key(timeout_s=9),
        key(url="http://one/v1/"),
    }
    assert len(same) == 1
    others = {
        key(kind="elevenlabs"),
        key(url="http://two/v1"),
        key(model="n"),
        key(voice="w"),
        key(voices={"af_bella": "w2"}),
        key(format="pcm"),
        key(replace(ERRAND, text="Hm.")),
        key(replace(ERRAND, speed=1.1)),
        key(replace(ERRAND, language="fr-fr")),
    }
    assert len(others | same) == 10


# Samples.


@given(cuts=st.lists(st.integers(0, 3000), max_size=30), size=st.integers(1, 1500))
def test_samples_are_the_same_however_they_are_cut(cuts: list[int], size: int) -> None:
    samples = np.random.default_rng(size).integers(-9000, 9000, size + 1)
    samples[-1] = 9000
    data = samples.astype("<i2").tobytes()
    reader = PcmReader("!", 1.0)
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [reader.feed(data[begin:end]) for begin, end in pairwise(edges)]
    pieces.append(reader.finish())
    assert b"".join(pcm.tobytes() for pcm in pieces if pcm is not None) == data


def loud(seconds: float) -> bytes:
    return np.full(round(seconds * 24_000), 9000, dtype="<i2").tobytes()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ended after 0.00 s"),
        (loud(0.1), "ended after 0.10 s"),
        (loud(1)[:-1], "in the middle of a sample"),
        (bytes(48_000), "silence"),
        (loud(60), "does not end"),
        (b"RIFF" + loud(1), "an audio file"),
        (b"ID3\4" + loud(1), "an audio file"),
    ],
)
def test_what_cannot_be_the_speech_of_the_text_is_refused(data: bytes, said: str) -> None:
    reader = PcmReader("Please hold the line.", 1.0)
    with pytest.raises(NotSpoken, match=said):
        reader.feed(data)
        reader.finish()


# Requests.


def test_only_a_speed_that_is_not_the_voices_own_is_sent() -> None:
    wish = Wish("Hello.", "a/voice", "m", "pt-br", 1.0)
    for api in APIS.values():
        plain = api.request("http://host", None, wish)
        assert "speed" not in str(plain.body)
        assert "1.1" in str(api.request("http://host", None, replace(wish, speed=1.1)).body)
    assert APIS["cartesia"].request("http://host", None, wish).body["language"] == "pt"
    assert "/a%2Fvoice/" in APIS["elevenlabs"].request("http://host", None, wish).url


@pytest.mark.parametrize(("kind", "speed"), [("cartesia", 1.51), ("elevenlabs", 0.69)])
def test_a_speed_beyond_the_providers_range_is_not_asked_for(kind: str, speed: float) -> None:
    with pytest.raises(CannotAsk, match=f"speed {speed}"):
        APIS[kind].request("http://host", None, Wish("Hello.", "v", "m", "en-us", speed))


def test_a_key_is_not_in_what_is_shown_of_a_request() -> None:
    for api in APIS.values():
        request = api.request("http://host", "hunter2hunter2", Wish("Hello.", "v", "m", "en", 1.0))
        assert "hunter2" not in repr(request) and "Hello" not in repr(request)


# Settings.


GOOD = "name: a, kind: openai, url: 'http://host/v1', model: m, voice: v"


def test_providers_can_be_set_in_the_file_and_in_brackets(tmp_path: Path) -> None:
    path = tmp_path / "edge.yaml"
    path.write_text(
        "fallback:\n  after_s: 2\n  providers:\n"
        "    - {name: spare, kind: cartesia, api_key_variable: CARTESIA_KEY, model: sonic-3,\n"
        "       voice: an-id, voices: {af_bella+am_adam: both}, keep: no}\n",
        encoding="utf-8",
    )
    [spare] = load({}, {}, path).fallback.providers
    assert (spare.name, spare.base_url, spare.keep) == ("spare", "https://api.cartesia.ai", False)
    assert spare.voices == {"af_bella+am_adam": "both"}
    for layers in (
        load({"fallback.providers": f"[{{{GOOD}}}]"}, {}),
        load({}, {"KOKORO_EDGE_FALLBACK_PROVIDERS": f"[{{{GOOD}}}]"}),
    ):
        assert [each.base_url for each in layers.fallback.providers] == ["http://host/v1"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "not YAML"),
        ("spare", "tuple"),
        (
            f"[{{{GOOD}, colour: blue}}]",
            r"providers\[0\] is wrong: It has a field .* kind, model, name",
        ),
        (f"[{{{GOOD}}}, {{{GOOD}}}]", "two providers are called a"),
        (f"[{{{GOOD}, voices: {{af_bela: x}}}}]", "af_bella"),
        (f"[{{{GOOD}, timeout_s: 0}}]", r"providers\[0\]\.timeout_s .* greater than 0"),
        (f"[{{{GOOD}, api_key: sk-hush, api_key_variable: X}}]", "not both"),
        (f"[{{{GOOD}, api_key: sk-hush, stall_s: soon}}]", r"stall_s .* number"),
        ("[{name: a, kind: openai, model: m, voice: v}]", "needs api_key_variable"),
        ("[{name: a, kind: azure, api_key: sk-hush, model: m, voice: v}]", "'elevenlabs'"),
        ("[{name: disk, kind: cartesia, api_key: sk-hush, model: m, voice: v}]", "disk is taken"),
        ("[{name: a b, kind: cartesia, api_key: sk-hush, model: m, voice: v}]", "pattern"),
        ("[{name: a, kind: cartesia, api_key: sk-hush, voice: v}]", r"providers\[0\]\.model"),
        (f"[{{{GOOD}, api_key: sk-hush sk-hush}}]", r"api_key .* no blank"),
        (f"[{{{GOOD}, api_key: sk-hush\u20ac}}]", r"api_key .* ASCII"),
        (f"[{{{GOOD}, api_key: '  '}}]", r"api_key .* no blank"),
        (f"[{{{GOOD.replace('host/', 'a..b/')}}}]", r"\.url .* its host or its port"),
        (f"[{{{GOOD.replace('host/', 'host:99999/')}}}]", r"\.url .* its host or its port"),
        (f"[{{{GOOD.replace('host/', 'my host/')}}}]", r"\.url .* no blank"),
        (f"[{{{GOOD.replace('http:', 'ftp:')}}}]", "address"),
        (f"[{{{GOOD.replace('host/', 'user:sk-hush@host/')}}}]", "no user"),
    ],
)
def test_a_mistake_in_a_provider_is_told_without_its_key(value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as wrong:
        load({"fallback.providers": value}, {})
    assert "sk-hush" not in str(wrong.value) and "\n" not in str(wrong.value)


def test_a_key_is_not_in_what_is_shown_of_the_settings() -> None:
    settings = load({"fallback.providers": f"[{{{GOOD}, api_key: sk-hush}}]"}, {})
    assert "sk-hush" not in repr(settings)


def test_blanks_around_a_key_are_not_part_of_it() -> None:
    settings = load({"fallback.providers": f'[{{{GOOD}, api_key: " sk-hush\\n"}}]'}, {})
    [spare] = settings.fallback.providers
    assert spare.api_key is not None and spare.api_key.get_secret_value() == "sk-hush"


def test_a_variable_whose_key_cannot_be_sent_is_told_without_the_key() -> None:
    settings = load({"fallback.providers": f"[{{{GOOD}, api_key_variable: SPARE_KEY}}]"}, {})
    with pytest.raises(SettingsError, match=r"variable SPARE_KEY: .* no blank") as wrong:
        Providers(settings.fallback, {"SPARE_KEY": "sk-hush\nsk-hush"})
    assert "sk-hush" not in str(wrong.value)
