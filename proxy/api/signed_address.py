"""Signatures for addresses that may be asked for without a key, for a time.

A signature is `<expiry>-<mac>`: seconds since 1970 in base 36, and 128 bits of HMAC-SHA256 over
that and the name of what may be fetched. It stands in the path: what fetches audio caches it by its
address, and some of it looks for the format at the address's end.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math

PATTERN = "[0-9a-z]{1,12}-[A-Za-z0-9_-]{22}"
"""A regular expression for one."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MAC_BYTES = 16
_SALT = b"kokoro-edge: addresses of replies"


class BadSignature(Exception):
    """It is not of any of the keys, or not for this name."""


class Expired(Exception):
    """It was right, and its time is over."""


def signing_key(secret: str) -> bytes:
    """What signs for whoever has the secret; the same on every machine. 32 bytes.

    Takes some ten milliseconds, and is meant to: a signed address is handed to others, who could
    try words against it until one is the secret.
    """
    return hashlib.scrypt(secret.encode(), salt=_SALT, n=2**13, r=8, p=1, dklen=32)


def sign(key: bytes, name: str, now_s: float, lifetime_s: float) -> str:
    """A signature that holds for one lifetime at least and for less than two: it is the same for
    all who ask within a lifetime, so that the address is one that can be cached by.

    `now_s` is in seconds since 1970.
    """
    period_s = math.ceil(lifetime_s)
    expiry = _in_base_36((int(now_s) // period_s + 2) * period_s)
    return f"{expiry}-{_mac(key, expiry, name)}"


def verify(keys: list[bytes], signature: str, name: str, now_s: float) -> int:
    """When it expires, in seconds since 1970.

    Raises:
        BadSignature: it is not of any of the keys, or not for this name.
        Expired: it is no longer `now_s`.
    """
    expiry, _, mac = signature.partition("-")
    given = mac.encode()
    # All of them, in a time that does not tell which was nearly right.
    right = [hmac.compare_digest(given, _mac(key, expiry, name).encode()) for key in keys]
    if not any(right):
        raise BadSignature
    expires_at_s = int(expiry, 36)
    if now_s >= expires_at_s:
        raise Expired
    return expires_at_s


def _mac(key: bytes, expiry: str, name: str) -> str:
    digest = hmac.digest(key, f"{expiry}/{name}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest[:_MAC_BYTES]).rstrip(b"=").decode()


def _in_base_36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
