"""How English reads what its G2P would leave out: the star of a telephone, a number's leading zero.

misaki says "555-0123" as "... one hundred twenty-three", and nothing at all for a final "*" or "#".
"""

from __future__ import annotations

import regex

_AMERICAN = "a"
_ENGLISH = "ab"

_ALONE = r"(?=[\s.,;:!?)\"”]|$)"
_NOT_AFTER_WORD = r"(?<![^\s(\"“])"

# A zero in front makes a group of digits a code. Not beside a point, a colon or a sign, and not two
# digits beside a dash: those are decimals, times, amounts and dates.
_CODE = regex.compile(
    r"(?<![\p{L}\p{N}.,:/$£€])(?:0\d{2,}|(?<!-)0\d(?!-\d))(?![\p{L}\p{N}]|[.,:/]\d)"
)
_STAR = regex.compile(rf"(?<!\d ){_NOT_AFTER_WORD}\*(?:(?=\d)|{_ALONE})")
_HASH_NUMBER = regex.compile(rf"{_NOT_AFTER_WORD}#(?=\d)")
_HASH = regex.compile(rf"{_NOT_AFTER_WORD}#{_ALONE}")
_ABOUT = regex.compile(rf"{_NOT_AFTER_WORD}~(?=[$£€]?\d)")
_MINUS = regex.compile(rf"{_NOT_AFTER_WORD}[-−](?=[$£€]\d)")


def spell_out(line: str, language: str) -> str:
    """The line with words in place of such symbols. Other languages come back as they are."""
    if language not in _ENGLISH:
        return line
    line = _CODE.sub(lambda code: " ".join(code[0]), line)
    line = _STAR.sub("star ", line)
    line = _HASH_NUMBER.sub("number ", line)
    line = _HASH.sub("pound" if language == _AMERICAN else "hash", line)
    line = _ABOUT.sub("about ", line)
    line = _MINUS.sub("minus ", line)
    return regex.sub(r" +(?=[\s.,;:!?)\"”]|$)", "", line)
