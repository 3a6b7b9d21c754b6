"""Two minor layouts meet in one segment, as real processes with libraries of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from valve_runtime import native

from .fake_gpu import find
from .stage import Request, Sidecar, Stage, Tenant, status, valve

pytestmark = pytest.mark.integration


def library(name: str) -> Path:
    return find(f"libvalve_{name}.so")


def layout(name: str) -> str:
    return f"{native.LAYOUT_VERSION}.{native.LAYOUT_MINOR + {'previous': -1, 'next': 1}[name]}"


def gates(sidecar: Sidecar, tenant: Tenant, stage: Stage) -> None:
    """A request stops the tenant, and its end lets it run."""
    tenant.wait_running()
    stage.engine.release.clear()
    request = Request(sidecar.listen)
    request.wait_first_token()
    tenant.wait_stopped()
    stage.engine.release.set()
    request.wait_done()
    tenant.wait_running()


@pytest.mark.parametrize("name", ["previous", "next"])
def test_a_sidecar_of_another_minor_layout_gates_our_tenants(stage: Stage, name: str) -> None:
    sidecar = stage.sidecar(library=library(name))
    gates(sidecar, stage.tenant(), stage)
    (holder,), (tenant,) = (status(stage.runtime_dir)[side] for side in ("holders", "tenants"))
    assert (holder["layout"], tenant["layout"]) == (layout(name), native.LAYOUT)


@pytest.mark.parametrize("name", ["previous", "next"])
def test_a_tenant_of_another_minor_layout_obeys_our_sidecar(stage: Stage, name: str) -> None:
    tenant = stage.tenant(library=library(name))
    tenant.wait_running()
    gates(stage.sidecar(), tenant, stage)
    (holder,), (row,) = (status(stage.runtime_dir)[side] for side in ("holders", "tenants"))
    assert (holder["layout"], row["layout"]) == (native.LAYOUT, layout(name))
    shown = valve(stage.runtime_dir, "status").stdout
    assert f"batch (pid {row['pid']}) has layout {layout(name)}, this Valve {native.LAYOUT}" in shown
    assert shown.count("has layout") == 1


def test_a_row_that_one_of_the_previous_layout_takes_over_is_told_as_such(stage: Stage) -> None:
    ours = stage.sidecar()
    ours.process.kill()
    ours.process.wait()
    stage.sidecar(library=library("previous"))
    (holder,) = status(stage.runtime_dir)["holders"]
    assert (holder["row"], holder["layout"]) == (0, layout("previous"))
