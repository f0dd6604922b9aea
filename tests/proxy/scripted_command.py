"""`kokoro-edge` in a process of its own, with the scripted engine in place of the model's.

python tests/proxy/scripted_command.py COMMAND ...
"""

from __future__ import annotations

import sys
from pathlib import Path

from proxy.cli import main

SCRIPTED_ENGINE = Path(__file__).parents[1] / "synth" / "scripted_engine.py"

if __name__ == "__main__":
    sys.exit(main(engine_command=(sys.executable, str(SCRIPTED_ENGINE))))
