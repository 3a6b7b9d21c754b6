"""`python -m valve_sidecar` is the `valve` command."""

import sys

from .cli import main

sys.exit(main())
