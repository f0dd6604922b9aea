"""The machine that something is measured on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path


def cpu_model() -> str:
    """As the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    fields: Mapping[str, str] = {
        name.strip().lower(): value.strip()
        for name, _, value in (ln.partition(":") for ln in lines)
    }
    return fields.get("model name") or platform.processor() or platform.machine() or "unknown CPU"
