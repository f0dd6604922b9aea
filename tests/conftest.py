"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth import weights


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Where this machine keeps the model, fetched by `scripts/test` before the suite runs."""
    return weights.default_cache_dir()


@pytest.fixture(scope="session")
def real_weights(cache_dir: Path) -> weights.Weights:
    """The real weights of Kokoro-82M."""
    return weights.fetch("auto", cache_dir)
