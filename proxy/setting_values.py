"""How values of settings are written, where a type alone does not say it: `512MiB`, `desk=KEY`.

Each reads what was written, or looks at what was read, and raises ValueError with what would be
right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import pydantic
import yaml
from pydantic import ByteSize, TypeAdapter

from synth.voices import VOICES, parse_voice

OPENAI_VOICES: Mapping[str, str] = MappingProxyType(
    {
        "alloy": "af_alloy",
        "ash": "am_michael",
        "ballad": "bm_george",
        "cedar": "am_fenrir",
        "coral": "af_sarah",
        "echo": "am_echo",
        "fable": "bm_fable",
        "marin": "af_heart",
        "nova": "af_nova",
        "onyx": "am_onyx",
        "sage": "af_kore",
        "shimmer": "af_bella",
        "verse": "am_puck",
    }
)
"""The voices of OpenAI's API, each with the one that is heard in its place. Those of the same name
where there is one; `ash`, which some clients ask for by themselves, is one of the best."""

MIN_KEY_CHARS = 8
_KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def read_size(value: object) -> object:
    """`512MiB` and `4GB` in bytes. Whatever has no unit is left to be read as a number."""
    if isinstance(value, str) and value.strip()[-1:].isalpha():
        return int(TypeAdapter(ByteSize).validate_python(value))
    return value


def read_names(value: object) -> object:
    """`one,two` as a list."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return value


def read_pairs(value: object) -> object:
    """`desk=KEY,sales=KEY` as a mapping. What is wrong with it is told without the keys."""
    if not isinstance(value, str):
        return value
    pairs: dict[str, str] = {}
    for pair in filter(None, (pair.strip() for pair in value.split(","))):
        name, equals, given = (part.strip() for part in pair.partition("="))
        if not equals:
            raise ValueError("write it as in name=value,other=value")
        if name in pairs:
            raise ValueError("one name stands there twice")
        pairs[name] = given
    return pairs


def read_aliases(value: object) -> object:
    """Names that are given are added to OpenAI's, or take the place of theirs."""
    given = read_pairs(value)
    if not isinstance(given, dict):
        return given
    for name, voice in given.items():
        if name in VOICES:
            raise ValueError(f"{name} is a voice itself, and cannot stand for another")
        if isinstance(voice, str):
            parse_voice(voice)
    return {**OPENAI_VOICES, **given}


def read_patterns(value: object) -> object:
    """One pattern as a list of it, and a YAML list, as in `['a{1,2}', b]`, as what it says."""
    if isinstance(value, str):
        try:
            return yaml.safe_load(value) if value.startswith("[") else [value]
        except yaml.YAMLError:
            raise ValueError(
                "the list in brackets is not YAML: put each expression in quotes"
            ) from None
    return value


def read_list(value: object) -> object:
    """A YAML list in one line, as in `[{name: spare, kind: openai}]`, as what it says."""
    if isinstance(value, str):
        try:
            return yaml.safe_load(value) or []
        except yaml.YAMLError:
            raise ValueError("it is not YAML: write a list of mappings in brackets") from None
    return value


def check_url(url: str) -> str:
    """Without a `/` at its end."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be an address such as https://host/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("it must have no user, key, query or fragment in it")
    try:
        parts.hostname.encode("idna")  # As whoever looks its address up does.
        _ = parts.port
    except ValueError:
        raise ValueError("its host or its port cannot be one") from None
    if not url.isprintable() or " " in url:
        raise ValueError("it must have no blank in it")
    return url.rstrip("/")


def clean_api_key(key: str) -> str:
    """Without blanks around it. Raises ValueError: it cannot stand in a header."""
    key = key.strip()
    if not key or not is_plain(key):
        raise ValueError("a key has letters, digits and signs of ASCII, and no blank")
    return key


def clean_secret(key: pydantic.SecretStr) -> pydantic.SecretStr:
    return pydantic.SecretStr(clean_api_key(key.get_secret_value()))


def is_plain(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key


def canonical_voice(voice: str) -> str:
    return str(parse_voice(voice).blend)


def check_keys(keys: Mapping[str, pydantic.SecretStr]) -> Mapping[str, pydantic.SecretStr]:
    # Neither is shown: whoever mixes them up has written the key as the name.
    if not all(_KEY_NAME.fullmatch(name) for name in keys):
        raise ValueError("a name has letters, digits, '.', '_' and '-', 64 at most")
    found = [key.get_secret_value() for key in keys.values()]
    if not all(map(is_plain, found)):
        raise ValueError("a key has letters, digits and signs of ASCII, and no blank")
    if min(map(len, found), default=MIN_KEY_CHARS) < MIN_KEY_CHARS:
        raise ValueError(f"a key is too short: {MIN_KEY_CHARS} characters or more")
    if len(set(found)) < len(found):
        raise ValueError("two names have the same key")
    return keys


def check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and f"{parts.scheme}://{parts.netloc}" != origin:
            raise ValueError(f"write {origin!r} as browsers do: https://app.example.com")
    return origins


def upper_case(value: object) -> object:
    return value.upper() if isinstance(value, str) else value
