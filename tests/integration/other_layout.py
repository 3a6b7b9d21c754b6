"""`valve` as another version has it, with the library of another minor layout: LIBRARY serve|run ..."""

import sys
from pathlib import Path

from valve_runtime import native

if __name__ == "__main__":
    library = Path(sys.argv.pop(1))
    native.find_library = lambda: library
    from valve_sidecar.cli import main  # not before: its own bindings take the function over

    sys.exit(main())
