"""`python -m proxy` is `kokoro-edge`."""

import sys

from proxy.cli import main

sys.exit(main())
