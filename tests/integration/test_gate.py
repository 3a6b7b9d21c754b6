"""The gate with real processes: requests stop tenants, ends let them run, faults leave nothing stuck."""

import os
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from valve_sidecar.config import DATA_PLANES

from .stage import DEADLINE_S, Request, Stage, valve, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True, params=DATA_PLANES)
def data_plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALVE_DATA_PLANE", request.param)


def test_a_request_stops_the_tenant_for_as_long_as_it_is_in_flight(stage: Stage) -> None:
    sidecar, tenant = stage.sidecar(), stage.tenant()
    tenant.wait_running()
    request = Request(sidecar.listen, "r-1")
    request.wait_first_token()
    tenant.wait_stopped()
    stage.engine.release.set()
    request.wait_done()
    tenant.wait_running()
    (record,) = sidecar.events("request")
    assert record["request_id"] == "r-1"
    assert record["outcome"] == "completed"
    assert record["closed_gate"]
    assert record["closes_seen"] == 1
    assert record["tokens"] == 2
    (close,), (stopped,) = sidecar.events("close"), sidecar.events("stopped")
    assert close["request_id"] == "r-1"
    assert close["generation"] == stopped["generation"]
    assert record["readable_ns"] <= close["t_ns"], "stamped after the store: an agent can be quicker"
    assert record["readable_ns"] <= stopped["woken_ns"] <= stopped["t_ns"]
    assert stopped["level"] == "compute_halted"


def test_overlapping_requests_preempt_once(stage: Stage) -> None:
    sidecar, tenant = stage.sidecar(), stage.tenant()
    tenant.wait_running()
    requests = [Request(sidecar.listen, f"r-{i}") for i in range(5)]
    for request in requests:
        request.wait_first_token()
    tenant.wait_stopped()
    stage.engine.release.set()
    for request in requests:
        request.wait_done()
    tenant.wait_running()
    assert len(sidecar.events("close")) == 1
    assert len(sidecar.events("stopped")) == 1
    assert sorted(event["closes_seen"] for event in sidecar.events("request")) == [0, 0, 0, 0, 1]


def test_a_tenant_that_joins_while_the_gate_is_closed_starts_stopped(stage: Stage) -> None:
    sidecar = stage.sidecar()
    request = Request(sidecar.listen)
    request.wait_first_token()
    tenant = stage.tenant()
    tenant.wait_stopped()
    assert tenant.count() == 0, "it has not run at all"
    stage.engine.release.set()
    request.wait_done()
    tenant.wait_running()


def test_a_client_that_goes_away_lets_the_tenant_run_again(stage: Stage) -> None:
    sidecar, tenant = stage.sidecar(), stage.tenant()
    tenant.wait_running()
    pid = os.fork()
    if pid == 0:
        Request(sidecar.listen).join()
        os._exit(0)
    assert stage.engine.arrived.acquire(timeout=20)
    tenant.wait_stopped()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    tenant.wait_running()
    wait_until(lambda: [e["outcome"] for e in sidecar.events("request")] == ["client_gone"], "the record")


def test_an_engine_that_dies_mid_stream_lets_the_tenant_run_again(stage: Stage) -> None:
    stage.engine.behave = "die"
    sidecar, tenant = stage.sidecar(), stage.tenant()
    tenant.wait_running()
    request = Request(sidecar.listen)
    request.join(20)
    assert request.error is not None, "a cut stream must not look complete"
    tenant.wait_running()
    assert [event["outcome"] for event in sidecar.events("request")] == ["upstream_failed"]


def test_kill_of_the_sidecar_with_the_gate_closed_frees_the_tenant(stage: Stage) -> None:
    sidecar, tenant = stage.sidecar(), stage.tenant()
    tenant.wait_running()
    Request(sidecar.listen).wait_first_token()
    tenant.wait_stopped()
    sidecar.process.kill()
    tenant.wait_running()


def test_sigterm_drains_and_keeps_the_tenant_stopped_until_drained(stage: Stage) -> None:
    sidecar, tenant = stage.sidecar(), stage.tenant()
    tenant.wait_running()
    request = Request(sidecar.listen)
    request.wait_first_token()
    sidecar.process.send_signal(signal.SIGTERM)
    wait_until(lambda: _refuses(sidecar.listen), "new connections are refused")
    tenant.wait_stopped()
    stage.engine.release.set()
    request.wait_done()
    assert sidecar.process.wait(DEADLINE_S) == 0
    tenant.wait_running()


def _refuses(base: str) -> bool:
    host, _, port = base.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("mode", ["observe", "bypass"])
def test_modes_that_do_not_act(stage: Stage, mode: str) -> None:
    sidecar, tenant = stage.sidecar("--mode", mode), stage.tenant()
    tenant.wait_running()
    request = Request(sidecar.listen)
    request.wait_first_token()
    assert tenant.moves()
    assert sidecar.state()["mode"] == mode
    assert len(sidecar.events("close")) == (1 if mode == "observe" else 0)
    stage.engine.release.set()
    request.wait_done()
    assert sidecar.events("stopped") == []


def test_several_sidecars_and_tenants_obey_the_one_rule(stage: Stage) -> None:
    first, second = stage.sidecar(), stage.sidecar()
    tenants = [stage.tenant("a"), stage.tenant("b")]
    for tenant in tenants:
        tenant.wait_running()
    requests = [Request(first.listen), Request(second.listen)]
    for request in requests:
        request.wait_first_token()
    for tenant in tenants:
        tenant.wait_stopped()
    first.process.kill()  # the other one still says closed
    first.process.wait(20)
    for tenant in tenants:
        tenant.wait_stopped()
    stage.engine.release.set()
    requests[1].wait_done()
    for tenant in tenants:
        tenant.wait_running()


def test_two_runtime_directories_do_not_meet(stage: Stage, tmp_path: Path) -> None:
    other = Stage(tmp_path)
    try:
        sidecar, tenant, foreign = stage.sidecar(), stage.tenant("mine"), other.tenant("foreign")
        tenant.wait_running()
        foreign.wait_running()
        Request(sidecar.listen).wait_first_token()
        tenant.wait_stopped()
        assert foreign.moves()
    finally:
        stage.engine.release.set()
        other.close()


def test_workers_share_a_port_and_the_rule(stage: Stage) -> None:
    sidecar, tenant = stage.sidecar("--workers", "2"), stage.tenant()
    tenant.wait_running()
    assert len(sidecar.state()["workers"]) == 2
    requests = [Request(sidecar.listen, f"r-{i}") for i in range(12)]
    for request in requests:
        request.wait_first_token()
    tenant.wait_stopped()
    assert sidecar.state()["in_flight"] == 12
    stage.engine.release.set()
    for request in requests:
        request.wait_done()
    tenant.wait_running()
    events = sidecar.events("request")
    assert sorted(event["request_id"] for event in events) == sorted(f"r-{i}" for i in range(12))
    assert len(sidecar.events("stopped")) == 1, "one preemption, told once"
    assert sidecar.end() == 0


def test_workers_end_with_their_supervisor_and_do_not_share_a_port_with_strangers(stage: Stage) -> None:
    sidecar, tenant = stage.sidecar("--workers", "2"), stage.tenant()
    tenant.wait_running()
    address = sidecar.listen.removeprefix("http://")
    addresses = ("--listen", address, "--admin", "127.0.0.1:0")
    options = ("--upstream", stage.engine.url, *addresses, "--workers", "2", "--device", "cpu")
    second = valve(stage.runtime_dir, "serve", *options)
    assert second.returncode == 1
    assert "in use" in second.stderr
    stage.engine.release.set()
    Request(sidecar.listen).wait_done()
    sidecar.process.kill()
    wait_until(lambda: _gone(sidecar.listen), "the workers have ended, too")
    tenant.wait_running()


def _gone(base: str) -> bool:
    request = Request(base)
    request.join(20)
    return isinstance(request.error, httpx.ConnectError)


def test_a_valve_run_that_was_stopped_for_longer_than_it_waits_goes_on(stage: Stage) -> None:
    tenant = stage.tenant()
    tenant.wait_running()
    os.kill(tenant.process.pid, signal.SIGSTOP)
    time.sleep(0.7)
    os.kill(tenant.process.pid, signal.SIGCONT)
    time.sleep(0.3)
    assert tenant.process.poll() is None
    assert tenant.moves()
