"""Markdown marks are not text: G2P reads "**now**" as "now asterisk".

Language models write them, and no voice agent means them to be heard. Links, headings, bullets,
quotes, emphasis, rules and fences are taken away; what only looks like them stays: "2*3",
"snake_case", "press *".
"""

from __future__ import annotations

import regex

# Marks of two or more hug a word from outside; a single one must be closed again, too.
_RUN = regex.compile(
    r"(?<![\p{L}\p{N}])(?:\*{2,3}|_{2,3}|`{2,3}|~~)(?=\S)"
    r"|(?<=\S)(?:\*{2,3}|_{2,3}|`{2,3}|~~)(?![\p{L}\p{N}])"
)
_PAIR = regex.compile(
    r"(?<![\p{L}\p{N}*_`])"
    r"(?:\*(?=\S)(?P<said>[^*]*)(?<=\S)\*|_(?=\S)(?P<said>[^_]*)(?<=\S)_|`(?=\S)(?P<said>[^`]*)(?<=\S)`)"
    r"(?![\p{L}\p{N}])"
)
# A link is said by its text. Phonemes and stress in brackets are misaki's own syntax, and are kept.
_LINK = regex.compile(r"\[([^\[\]]+)\]\((?![/#]|[+-]?[\d.]+\))[^()\s]*\)")
_LINE_MARK = regex.compile(r"^(?:(?:#{1,6}|[-*•–>])\s+)+")
_RULE = regex.compile(r"^(?:[*_`~=-] ?){3,}$")
_BLANKS = regex.compile(r" {2,}")


def without_markdown(line: str) -> str:
    """One line without its marks, however deep they are nested. Blanks stay single."""
    while True:
        line = _RULE.sub("", line)
        shorter = _LINK.sub(r"\1", _LINE_MARK.sub("", line.strip()))
        shorter = _PAIR.sub(r"\g<said>", _RUN.sub("", shorter))
        shorter = _BLANKS.sub(" ", shorter)
        if shorter == line:
            return line
        line = shorter
