"""Somebody removes the runtime directory under everybody: online requests go on, and the gate works again."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from valve_runtime.record import folder
from valve_sidecar.config import DATA_PLANES

from .stage import Request, Stage, status, wait_until

pytestmark = pytest.mark.integration


def alive(stage: Stage) -> tuple[list[Any], list[Any]]:
    told = status(stage.runtime_dir)
    return tuple([row for row in told[side] if row["alive"]] for side in ("holders", "tenants"))  # type: ignore[return-value]


@pytest.mark.parametrize("data_plane", DATA_PLANES)
def test_all_meet_again_in_another_one(stage: Stage, data_plane: str) -> None:
    sidecar, tenant = stage.sidecar("--data-plane", data_plane), stage.tenant()
    tenant.wait_running()
    request = Request(sidecar.listen)
    request.wait_first_token()
    tenant.wait_stopped()
    shutil.rmtree(stage.runtime_dir)
    wait_until(lambda: all(alive(stage)), "both are in the new segment")
    tenant.wait_stopped()
    assert alive(stage)[0][0]["closed"], "it says again what it has said in the old one"
    stage.engine.release.set()
    request.wait_done()
    tenant.wait_running()
    stage.engine.release.clear()
    after = Request(sidecar.listen)
    after.wait_first_token()
    tenant.wait_stopped()
    stage.engine.release.set()
    after.wait_done()
    tenant.wait_running()
    assert len(list(folder(stage.runtime_dir).iterdir())) == 1, "the tenant can be cleaned up after"
    assert sidecar.state()["gated"]
    assert len(sidecar.events("close")) == 2
