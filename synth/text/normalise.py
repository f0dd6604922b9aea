"""Bring text into the one form in which it is split, keyed and spoken."""

from __future__ import annotations

import unicodedata
from functools import cache

import regex

from synth.engine import CannotSay
from synth.text.markdown import without_markdown
from synth.text.readings import spell_out
from synth.voices import Language

# Emoji are decoration: a voice agent does not say "grinning face". Left alone are the characters
# that Unicode counts among pictographs but people read aloud, and digits, which carry the Emoji
# property because of keycaps.
_EMOJI = regex.compile(
    r"[\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}--[©®™]]", regex.V1
)

# Invisible: variation selectors, keycap enclosures, tags, joiners, soft hyphens, direction marks.
_INVISIBLE = regex.compile(r"[\p{Cf}\p{Variation_Selector}\u20e3]")

# In Indic scripts the (non-)joiner is part of the spelling. Elsewhere it is what an emoji left.
_INVISIBLE_BUT_JOINERS = regex.compile(
    r"[\p{Cf}\p{Variation_Selector}\u20e3--[\u200c\u200d]]"
    r"|(?<![[\p{L}\p{M}]--[\p{Variation_Selector}\u20e3]])[\u200c\u200d]",
    regex.V1,
)

_PLAIN = regex.compile(
    r"(?=.*[A-Za-z])(?:[A-Za-z0-9àâäáãçèéêëìíîïñòóôöõùúûüÀÉÑÜ\s.,;:!?…'’‘\"“”()/%&\-–—¿¡]"
    r"|[$£€](?=[0-9])|(?<=[0-9] ?)[$£€])*",
    regex.S,
)
# Left over by the accents of Western and Central Europe, all of which G2P knows.
_RARE_LATIN = regex.compile(r"[\u1e00-\u1eff]")

# Inside a word, a typographic apostrophe: spaCy cuts "isn’t" into "is" and "n’t", which misaki
# knows only as "n't". And both spellings are one clip.
_APOSTROPHE = regex.compile(r"(?<=[\p{L}\p{M}])[’ʼ＇](?=\p{L})")

_LINE_BREAKS = regex.compile(r"[\r\n\v\f\x85\u2028\u2029]+")
_BLANKS = regex.compile(r"[\p{Z}\p{Cc}]+")

_SOUNDING = regex.compile(r"[\p{L}\p{N}\p{S}%&@]")

_SCRIPTED = regex.compile(r"\p{L}")


def normalise(text: str, language: Language) -> str:
    """NFC, without emoji, Markdown marks and invisible characters; blanks and apostrophes folded.

    Lines are kept apart by "\\n".

    Idempotent. The result may be empty, or hold nothing to say: see `has_speech`.
    """
    text = unicodedata.normalize("NFC", text)
    text = _EMOJI.sub(" ", text)
    joiners_matter = "Devanagari" in language.scripts
    text = (_INVISIBLE_BUT_JOINERS if joiners_matter else _INVISIBLE).sub("", text)
    text = _without_rare_accents(text.replace("℃", "°C").replace("℉", "°F"))
    lines = (_said(line, language) for line in _LINE_BREAKS.split(text))
    text = _APOSTROPHE.sub("'", "\n".join(line for line in lines if line))
    # Removing what stood between a letter and its accent can leave them to be composed.
    return unicodedata.normalize("NFC", text)


def _said(line: str, language: Language) -> str:
    """One line as it is spoken."""
    line = without_markdown(_BLANKS.sub(" ", line))
    return spell_out(line, language.code) if has_speech(line) else line


def _without_rare_accents(text: str) -> str:
    """Vietnamese and other letters that G2P would spell out by number, by their plain ones."""
    return _RARE_LATIN.sub(lambda letter: unicodedata.normalize("NFD", letter[0])[0], text)


def has_speech(text: str) -> bool:
    """Whether anything in the text could be said: `"..."` could not."""
    return _SOUNDING.search(text) is not None


def is_plain(text: str) -> bool:
    """Whether G2P is certain to have a sound for everything in the text.

    Plain are everyday letters, digits and punctuation. Anything else may still be sayable; only G2P
    can tell, and it runs in the engine's process.
    """
    return _PLAIN.fullmatch(text) is not None


def check_script(text: str, language: Language) -> None:
    """Refuse letters that the language's G2P would spell out as "Chinese letter".

    Raises:
        CannotSay: names the first such letter.
    """
    for match in _SCRIPTED.finditer(text):
        if _letters_of(language.scripts).match(match[0]) is None:
            raise CannotSay(
                f"{language.name} has no way to say {match[0]!r} "
                f"({unicodedata.name(match[0], 'unnamed')}). "
                "Spell it in the language's own script, or choose a voice of the language it is in."
            )


@cache
def _letters_of(scripts: tuple[str, ...]) -> regex.Pattern[str]:
    return regex.compile(
        "[" + "".join(rf"\p{{Script={name}}}" for name in (*scripts, "Common", "Inherited")) + "]"
    )
