"""What there is to ask for: every method of every address. A route is added to one of these tables,
too, or a test fails."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.api.openapi.administration import ADMINISTRATION
from proxy.api.openapi.catalogue import CATALOGUE
from proxy.api.openapi.operation import Operation
from proxy.api.openapi.speech import SPEECH

OPERATIONS: Mapping[tuple[str, str], Operation] = {**SPEECH, **CATALOGUE, **ADMINISTRATION}
"""By method and path, as aiohttp's `Resource.canonical` has it."""
