"""Makes the virtual environment of this Python run the checkout: its source roots on the path, its entry
points, and the command `valve`. With `--plugins` only what an engine's environment needs: the adapters and
the entry points.

An editable install would do the same, but build the C library a second time and in another place.
"""

import os
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = ("sidecar", "gpu_runtime", "adapters", "loadgen")
PLUGIN_ROOTS = ("adapters",)
COMMAND = """#!{python}
import sys

from valve_sidecar.cli import main

sys.exit(main())
"""
METADATA = """Metadata-Version: 2.1
Name: {name}
Version: {version}
"""


def main(*options: str) -> None:
    packages, plugins = Path(sysconfig.get_path("purelib")), "--plugins" in options
    roots = PLUGIN_ROOTS if plugins else SOURCE_ROOTS
    made = [packages / "valve-checkout.pth"]
    made[0].write_text("".join(f"{ROOT / folder}\n" for folder in roots))
    if not plugins:
        made.append(Path(sysconfig.get_path("scripts")) / "valve")
        made[1].write_text(COMMAND.format(python=sys.executable))
        made[1].chmod(0o755)
    describe(packages, made)


def describe(packages: Path, made: list[Path]) -> None:
    """Writes what an installation would say of itself: entry points, and what pip removes when it installs a
    wheel in its place.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], f"{project['version']}+checkout"
    folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(METADATA.format(name=name, version=version))
    (folder / "entry_points.txt").write_text("\n".join(groups(project["entry-points"])))
    made += [folder / file for file in ("METADATA", "entry_points.txt", "RECORD")]
    record = "".join(f"{os.path.relpath(path, packages)},,\n" for path in made)
    (folder / "RECORD").write_text(record)


def groups(entry_points: dict[str, dict[str, str]]) -> list[str]:
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()), ""]
    return lines


if __name__ == "__main__":
    main(*sys.argv[1:])
