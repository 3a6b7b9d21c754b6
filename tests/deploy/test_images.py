"""The images' recipes and locks, as far as they can be judged without building."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "deploy" / "images"
PIN = re.compile(r"^([\w.-]+)==(\S+) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
HADOLINT = shutil.which("hadolint", path=Path(sys.executable).parent)


def pins(lock: str) -> dict[str, str]:
    """Name -> version of all that is pinned and hashed."""
    return {canonicalize_name(name): version for name, version, _ in PIN.findall((IMAGES / lock).read_text())}


def wanted(lock: str) -> list[Requirement]:
    if lock == "requirements.lock":
        lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    else:
        lines = (IMAGES / "carrier.in").read_text().split()
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("lock", ["requirements.lock", "carrier.lock"])
def test_a_lock_holds_what_is_asked_for_and_hashes_all_of_it(lock: str) -> None:
    pinned = pins(lock)
    assert len(pinned) == len(re.findall(r"^\w", (IMAGES / lock).read_text(), re.MULTILINE))
    for requirement in wanted(lock):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement} is not in {lock}: make lock"
        assert requirement.specifier.contains(version), f"{requirement} against {version}: make lock"


def test_the_carrier_has_the_versions_of_the_sidecar() -> None:
    assert pins("carrier.lock").items() <= pins("requirements.lock").items()


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed here")
@pytest.mark.parametrize("recipe", ["sidecar", "carrier"])
def test_hadolint_has_nothing_to_say(recipe: str) -> None:
    assert HADOLINT is not None
    done = subprocess.run(
        [HADOLINT, IMAGES / f"{recipe}.Containerfile"],
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("recipe", ["sidecar", "carrier"])
def test_nobody_is_root(recipe: str) -> None:
    stages = (IMAGES / f"{recipe}.Containerfile").read_text().split("FROM ")
    assert "USER 65532:65532" in stages[-1]
