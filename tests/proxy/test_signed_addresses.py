"""Signatures: what they let through, and what not."""

from __future__ import annotations

import re
from string import ascii_letters, ascii_lowercase, digits

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.api.middleware import without_signature
from proxy.api.signed_address import PATTERN, BadSignature, Expired, sign, signing_key, verify

OURS, THEIRS = b"o" * 32, b"t" * 32

names = st.from_regex(r"[0-9a-f]{32}\.(mp3|wav|pcm)", fullmatch=True)
times_s = st.floats(0, 4e9)
lifetimes_s = st.floats(60, 1e7)
SIGNS = ascii_letters + digits + "-_"


@given(names, times_s, lifetimes_s, st.data())
def test_a_signature_holds_for_a_lifetime_at_least_and_less_than_two(
    name: str, now_s: float, lifetime_s: float, data: st.DataObject
) -> None:
    signature = sign(OURS, name, now_s, lifetime_s)
    assert re.fullmatch(PATTERN, signature)
    later_s = now_s + data.draw(st.floats(0, lifetime_s - 1))
    expires_at_s = verify([THEIRS, OURS], signature, name, later_s)
    assert now_s + lifetime_s - 1 <= expires_at_s <= now_s + 2 * (lifetime_s + 1)
    with pytest.raises(Expired):
        verify([OURS], signature, name, expires_at_s)


@given(names, times_s, lifetimes_s)
def test_the_address_stays_the_same_for_a_while_so_that_caches_know_it(
    name: str, now_s: float, lifetime_s: float
) -> None:
    signature = sign(OURS, name, now_s, lifetime_s)
    expires_at_s = verify([OURS], signature, name, now_s)
    last_s = expires_at_s - int(lifetime_s) - 2
    assume(last_s > now_s)
    assert sign(OURS, name, last_s, lifetime_s) == signature


@given(names, names, times_s, lifetimes_s)
def test_it_is_for_one_name_and_by_one_key(
    name: str, other: str, now_s: float, lifetime_s: float
) -> None:
    signature = sign(OURS, name, now_s, lifetime_s)
    with pytest.raises(BadSignature):
        verify([THEIRS], signature, name, now_s)
    with pytest.raises(BadSignature):
        verify([], signature, name, now_s)
    assume(other != name)
    with pytest.raises(BadSignature):
        verify([OURS], signature, other, now_s)


@given(names, times_s, lifetimes_s, st.data())
def test_no_letter_of_it_can_be_another(
    name: str, now_s: float, lifetime_s: float, data: st.DataObject
) -> None:
    signature = sign(OURS, name, now_s, lifetime_s)
    place = data.draw(st.integers(0, len(signature) - 1))
    in_expiry = place < signature.index("-")
    letter = data.draw(st.sampled_from(ascii_lowercase + digits if in_expiry else SIGNS))
    assume(letter != signature[place])
    forged = signature[:place] + letter + signature[place + 1 :]
    with pytest.raises(BadSignature):
        verify([OURS], forged, name, now_s)
    with pytest.raises(BadSignature):
        verify([OURS], f"0{signature}", name, now_s)


NAME = f"{'0123456789abcdef' * 2}.wav"
MAC = "AZaz09_-AZaz09_-AZaz09"


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/audio/clips/t0abc-{MAC}/{NAME}",
        f"/v1/audio/clips/t0abc%2D{MAC}/{NAME}",
        f"/v1/audio/clips/t0abc%2d{MAC}/{NAME}",
        f"/v1/audio/clips/t0abc%252D{MAC}/{NAME}",
        f"/v1/audio/clips/t0abc-{MAC.replace('Z', '%5A')}/{NAME}",
        f"/v1/audio/clips/t0abc-{MAC}/{NAME.upper()}",
        f"/v1/audio/clips/T0ABC-{MAC}/{NAME}",
        f"/v1/audio/clips/t0abc-{MAC}/{NAME}/",
        f"/v1/audio/clips/t0abc-{MAC}/{NAME}%0A",
        f"/v1/audio/clips//t0abc-{MAC}/{NAME}",
        f"/v1/audio/clips/t0abc-{MAC}%20/{NAME}",
        f"/v1/audio/clips/t0abc-{MAC}",
        f"/v1/audio/clips%2Ft0abc-{MAC}%2F{NAME}",
        f"/v1/audio/%63lips/t0abc-{MAC}/{NAME}",
        f"/v1/audio/clips/t0abc-{MAC}/t0abc-{MAC}/{NAME}",
        f"/v1/rate/8000/audio/clips/t0abc-{MAC}/{NAME}",
        f"/V1/Audio/Clips/t0abc-{MAC}/{NAME}",
    ],
)
def test_no_spelling_of_a_signed_address_shows_its_signature_in_the_log(path: str) -> None:
    shown = without_signature(path)
    assert "/-" in shown and shown.isprintable()
    assert "0abc" not in shown.lower() and "zaz09" not in shown.lower()


@pytest.mark.parametrize(
    "path", ["/v1/audio/speech", f"/v1/audio/clips/{NAME}", "/v1/%61dmin/cache", "/%", "/clips/a-b"]
)
def test_other_addresses_are_shown_as_they_came(path: str) -> None:
    assert without_signature(path) == path


def test_what_signs_is_the_same_on_every_machine_and_is_not_the_secret() -> None:
    assert signing_key("correct horse") == signing_key("correct horse")
    assert signing_key("correct horse") != signing_key("correct hors3")
    assert b"correct" not in signing_key("correct horse")
