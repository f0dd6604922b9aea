"""What a warm-up tells is read as it was told."""

from __future__ import annotations

from proxy.phrasebook.steps import (
    BookProblem,
    Progress,
    from_json,
    to_json,
)


def test_how_far_it_is_can_be_told_before_anything_is_rendered() -> None:
    began = Progress(done=0, total=631, failed=0, audio_s=0.0, eta_s=None)
    assert from_json(to_json(began)) == began


def test_a_problem_may_be_with_no_line_of_a_file() -> None:
    problem = BookProblem("books", None, "There is no such folder.")
    assert from_json(to_json(problem)) == problem
