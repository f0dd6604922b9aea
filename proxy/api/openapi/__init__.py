"""What the API is, as an OpenAPI document, made from what the code knows."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
"""A part of the document."""
