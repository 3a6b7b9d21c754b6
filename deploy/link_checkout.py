"""Makes this virtual environment's `valve` run the checkout: its source roots on the path, and the command.

An editable install would do the same, but build the C library a second time and in another place.
"""

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = ("sidecar", "gpu_runtime", "adapters", "loadgen")
COMMAND = """#!{python}
import sys

from valve_sidecar.cli import main

sys.exit(main())
"""


def main() -> None:
    paths = "".join(f"{ROOT / folder}\n" for folder in SOURCE_ROOTS)
    (Path(sysconfig.get_path("purelib")) / "valve-checkout.pth").write_text(paths)
    command = Path(sysconfig.get_path("scripts")) / "valve"
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)


if __name__ == "__main__":
    main()
