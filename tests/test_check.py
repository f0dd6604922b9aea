"""Lint and types, as `scripts/check` has them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_ruff_and_mypy_have_nothing_to_say() -> None:
    script = Path(__file__).parents[1] / "scripts" / "check"
    done = subprocess.run([script], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
