"""Prints the requirements that pyproject.toml names: the base ones plus the given extras (--only: just the
extras).
"""

import sys
import tomllib
from pathlib import Path


def main(path: str, *arguments: str) -> None:
    project = tomllib.loads(Path(path).read_text())["project"]
    extras = [name for name in arguments if name != "--only"]
    requirements = [] if "--only" in arguments else list(project["dependencies"])
    for name in extras:
        requirements += project["optional-dependencies"][name]
    print(" ".join(requirements))


if __name__ == "__main__":
    main(*sys.argv[1:])
