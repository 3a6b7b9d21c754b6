"""What the pages for users say to type works, as far as a checkout goes; documented.py names the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documented import KINDS, PAGES, blocks, kinds
from tests.integration.stage import DEADLINE_S, Sidecar, Stage

pytestmark = pytest.mark.integration
MISSING = [program for program in ("curl", "ps") if shutil.which(program) is None]


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    directory = tmp_path_factory.mktemp("run")
    directory.chmod(0o700)
    stage = Stage(directory)
    yield stage.sidecar()
    stage.close()


@pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")
@pytest.mark.parametrize("page", PAGES)
def test_each_command_works(page: str, sidecar: Sidecar) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VALVE_ADMIN": sidecar.admin,
        "VALVE_RUNTIME_DIR": str(sidecar.runtime_dir),
    }
    for code in blocks(page, ""):
        here = code.replace("http://127.0.0.1:8781", sidecar.admin)
        done = subprocess.run(
            ["sh", "-e", "-c", here],
            env=environment,
            text=True,
            capture_output=True,
            timeout=DEADLINE_S * 2,
            check=False,
        )
        assert done.returncode == 0, f"{here}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_no_command_is_of_a_kind_that_nobody_runs(page: str) -> None:
    assert kinds(page) <= set(KINDS)
