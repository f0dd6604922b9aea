"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from synth import weights

# How long an example takes is the machine's business.
settings.register_profile("kokoro-edge", deadline=None)
settings.load_profile("kokoro-edge")

_MEASURED = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Where this machine keeps the model, fetched by `scripts/test` before the suite runs."""
    return weights.default_cache_dir()


@pytest.fixture(scope="session")
def real_weights(cache_dir: Path) -> weights.Weights:
    """The real weights of Kokoro-82M."""
    return weights.fetch("auto", cache_dir)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tell a figure to whoever reads the end of the run."""
    return request.config.stash.setdefault(_MEASURED, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if lines := config.stash.get(_MEASURED, []):
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
