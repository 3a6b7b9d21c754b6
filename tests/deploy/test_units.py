"""The units of systemd say what systemd understands, and give little away."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
NAMES = ("valve.socket", "valve.service", "valve-tenant@.service")

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """With a program that is there."""
    for name in NAMES:
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/valve/bin/valve", "/bin/true"))
    return tmp_path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], text=True, capture_output=True, timeout=60, check=False
    )


def test_every_line_is_understood(units: Path) -> None:
    done = analyze("verify", "--man=no", *(units / name for name in NAMES))
    ours = [line for line in done.stderr.splitlines() if "valve" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize(("name", "tenths"), [("valve.service", 20), ("valve-tenant@.service", 35)])
def test_exposure(units: Path, name: str, tenths: int) -> None:
    done = analyze("security", "--offline=true", f"--threshold={tenths}", units / name)
    assert done.returncode == 0, done.stdout + done.stderr
