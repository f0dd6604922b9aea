"""How a driver tells what happens: see `tests.clients.client.Drive`."""

from __future__ import annotations

import json
from typing import Any


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)
