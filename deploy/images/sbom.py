"""Writes an image's bill of materials (CycloneDX 1.6, JSON): its Python packages, and its Debian ones.

    python deploy/images/sbom.py LOCK [DPKG_STATUS] > sbom.json

LOCK is what the image was made from, hashes and all; DPKG_STATUS is the base's var/lib/dpkg/status.
"""

from __future__ import annotations

import json
import subprocess
import sys
from email.parser import Parser
from pathlib import Path
from typing import Any


def main(lock: str, status: str = "") -> None:
    content = python_packages(Path(lock))
    if status:
        content["components"] += debian_packages(Path(status).read_text())
    json.dump(content, sys.stdout, indent=1)


def python_packages(lock: Path) -> dict[str, Any]:
    """As cyclonedx-py reads them."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", lock]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def debian_packages(status: str) -> list[dict[str, str]]:
    return [component(Parser().parsestr(entry)) for entry in status.split("\n\n") if entry.strip()]


def component(package: Any) -> dict[str, str]:
    name, version = package["Package"], package["Version"]
    purl = f"pkg:deb/debian/{name}@{version}?arch={package['Architecture']}&distro=bookworm"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


if __name__ == "__main__":
    main(*sys.argv[1:])
