"""What to mend where a file is not YAML."""

from __future__ import annotations

import regex
import yaml

_BEGINS_LIKE_YAML = regex.compile(r"""^[\s-]*(?:[\w-]+:\s+)?([\[\]{}*&!|>%@`'"])""")

_LOOKED_AT_CHARS = 200


def syntax_problem(error: yaml.MarkedYAMLError, lines: list[str]) -> tuple[int, str]:
    """Where the mistake is, and what it may be."""
    problem, context = error.problem or "", error.context or ""
    mark = error.problem_mark
    if error.context_mark is not None and ("flow" in context or "quoted" in context):
        # What is left open is mended where it begins.
        mark = error.context_mark
    line = min(int(mark.line) + 1 if mark is not None else 1, max(1, len(lines)))
    written = lines[line - 1] if lines else ""
    if "mapping values" in problem:
        hint = "put a text that holds ': ' in quotes"
    elif "\t" in written:
        hint = "indent with blanks, not with tabs"
    elif "quoted" in context:
        hint = "close the quotes"
    elif "flow" in context:
        hint = "close the bracket, or put a text that begins with one in quotes"
    elif match := _BEGINS_LIKE_YAML.match(written[:_LOOKED_AT_CHARS]):
        hint = f"a text that begins with {match[1]} must be in quotes, all of it"
    else:
        hint = "look at the indentation, quotes and brackets here"
    return line, f"this is not YAML ({problem or context}): {hint}"
