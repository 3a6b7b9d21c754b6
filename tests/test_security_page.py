"""docs/security.md names a test for each claim: every one that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
QUOTED = sorted(set(re.findall(r"`([^` ]+)`", PAGE)))
FILES = [quoted for quoted in QUOTED if re.fullmatch(r"[\w/]*test_\w+\.(py|c)(::\w+)?", quoted)]
NAMES = [quoted for quoted in QUOTED if re.fullmatch(r"test_\w+", quoted)]


def test_the_page_names_tests() -> None:
    assert len(FILES) > 20
    assert NAMES


@pytest.mark.parametrize("named", FILES)
def test_files_and_tests_in_them(named: str) -> None:
    file, _, test = named.partition("::")
    places = (ROOT / "tests", ROOT / "native" / "tests")
    found = [path for place in places for path in place.rglob(Path(file).name)]
    sources = [path.read_text() for path in found if str(path).endswith(f"/{file}")]
    assert any(f"def {test}" in source for source in sources) if test else sources


@pytest.mark.parametrize("name", NAMES)
def test_tests_by_their_name(name: str) -> None:
    conformance = (ROOT / "tests" / "conformance").glob("test_*.py")
    assert any(f"def {name}(" in path.read_text() for path in conformance)
