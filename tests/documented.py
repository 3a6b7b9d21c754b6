"""The commands in the pages for users: fenced blocks, by where they can be run.

```sh             in a checkout, before a sidecar on the default ports
```sh root        on a machine of one's own under systemd (tests/install/test_systemd.py)
```sh wheel       `make wheel` and what needs it (tests/install/test_wheel.py)
```sh images      `make images` (tests/install/test_images.py)
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("install", "operate", "upgrade", "troubleshoot", "sizing")
KINDS = ("", "root", "wheel", "images")
BLOCK = re.compile(r"^```sh *(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, kind: str) -> list[str]:
    """In their order."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    return [code for found, code in BLOCK.findall(text) if found == kind]


def kinds(page: str) -> set[str]:
    return {found for found, _ in BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text())}
