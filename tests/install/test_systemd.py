"""Our units on a booted machine: activation, tenants, upgrade and restart under load, watchdog, stopping."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from .machine import Machine, make_root, wait_until, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
VALVE = "/opt/valve/bin/valve"
KINDS = ("kept", "fresh", "seldom")  # of load


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    folder = Path(tempfile.mkdtemp(prefix="valve-machine-", dir="/var/tmp"))
    machine = None
    try:
        make_root(folder / "root")
        machine = Machine(folder / "root")
        machine.wait_up()
        machine.run("systemctl", "start", "engine.service")
        machine.obey("install", 0)
        yield machine
    finally:
        if machine is not None:
            machine.end()
        shutil.rmtree(folder)


@pytest.fixture
def load(machine: Machine) -> Iterator[None]:
    """Clients that lose nothing, or fail the test."""
    machine.run("sh", "-c", "rm -f /tmp/enough /tmp/answers-*")
    for kind in KINDS:
        start = ["systemd-run", "--quiet", f"--unit=load-{kind}", "--remain-after-exit"]
        machine.run(*start, "/usr/bin/python3", "/opt/inside/load.py", kind)
        wait_for_more(machine, kind)
    yield
    for kind in KINDS:
        wait_for_more(machine, kind)
    machine.run("touch", "/tmp/enough")
    for kind in KINDS:
        wait_until(lambda kind=kind: machine.show(f"load-{kind}", "SubState") != "running", "the load ends")
        assert machine.show(f"load-{kind}", "Result") == "success", machine.journal()
        machine.run("systemctl", "stop", f"load-{kind}")


def wait_for_more(machine: Machine, kind: str) -> None:
    def answers() -> int:
        assert machine.show(f"load-{kind}", "Result") == "success", machine.journal()
        return int(machine.run("cat", f"/tmp/answers-{kind}", check=False) or "0")

    enough = answers() + 5
    wait_until(lambda: answers() >= enough, f"more {kind} answers")


def main_pid(machine: Machine) -> str:
    return machine.show("valve.service", "MainPID")


def tenant(machine: Machine) -> dict[str, Any]:
    told = machine.run("env", "VALVE_RUNTIME_DIR=/run/valve", VALVE, "status", "--json")
    return next((row for row in orjson.loads(told)["tenants"] if row["job"] == "batch"), {"state": ""})


def test_a_client_starts_it(machine: Machine) -> None:
    machine.run("systemctl", "stop", "valve.service")
    get = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8780/v1/models').status)"
    assert machine.run("python3", "-c", get) == "200"
    assert machine.show("valve.service", "ActiveState") == "active"
    assert "serving on http://127.0.0.1:8780" in machine.show("valve.service", "StatusText")
    assert machine.run("stat", "-c", "%U %a", "/run/valve") == "valve 770"
    ready = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8781/readyz').read().decode())"
    assert machine.run("python3", "-c", ready) == "ready"


def test_a_tenant_obeys(machine: Machine) -> None:
    machine.obey("install", 1)
    wait_until(lambda: tenant(machine)["state"] == "running", "the tenant runs")
    frozen = machine.run("find", "/sys/fs/cgroup", "-path", "*/valve-batch-*/cgroup.freeze")
    assert "/valve-tenant@batch.service/valve-batch-" in frozen, machine.journal()
    hold = "import urllib.request as r; r.urlopen('http://127.0.0.1:8780/v1/completions', b'hold')"
    machine.run("rm", "-f", "/tmp/release")
    machine.run("systemd-run", "--quiet", "--unit=hold", "python3", "-c", hold)
    wait_until(lambda: tenant(machine)["state"] == "stopped", "the tenant is stopped")
    machine.run("touch", "/tmp/release")
    wait_until(lambda: tenant(machine)["state"] == "running", "the tenant runs again")


@pytest.mark.usefixtures("load")
def test_reload_is_an_upgrade_that_nobody_notices(machine: Machine) -> None:
    before = main_pid(machine)
    machine.obey("upgrade", 0, **{"version=0.2.0": "version=0.1.0", "valve-$version": "valve-new"})
    assert main_pid(machine) != before
    program = machine.run("sh", "-c", f"tr '\\0' ' ' < /proc/{main_pid(machine)}/cmdline")
    assert program.startswith("/opt/valve-new/bin/python")


def test_a_successor_is_watched_as_well(machine: Machine) -> None:
    before = main_pid(machine)
    wait_until(
        lambda: machine.run("cat", f"/proc/{before}/stat").split()[3] == "1", "its predecessor has ended"
    )
    machine.run("sh", "-c", f"kill -KILL {before}")
    wait_until(lambda: main_pid(machine) not in ("0", before), "it is started again")
    wait_until(lambda: machine.show("valve.service", "ActiveState") == "active", "it serves again")


def test_settings_that_are_wrong_change_nothing(machine: Machine) -> None:
    before = main_pid(machine)
    machine.run("sh", "-c", "echo 'no_such_key = 1' >> /etc/valve/valve.toml")
    machine.run("systemctl", "reload", "valve.service", check=False)
    wait_until(lambda: "going on" in machine.show("valve.service", "StatusText"), "it says so")
    assert main_pid(machine) == before
    assert machine.show("valve.service", "ActiveState") == "active"
    machine.run("sed", "-i", "/no_such_key/d", "/etc/valve/valve.toml")


@pytest.mark.usefixtures("load")
def test_restart_keeps_clients_waiting_and_loses_none(machine: Machine) -> None:
    before = main_pid(machine)
    machine.run("systemctl", "restart", "valve.service")
    assert main_pid(machine) != before
    assert tenant(machine)["state"] in ("running", "stopped", "stopping")


def test_one_that_hangs_is_restarted(machine: Machine) -> None:
    machine.run("mkdir", "-p", "/run/systemd/system/valve.service.d")
    drop_in = "[Service]\\nWatchdogSec=2\\nTimeoutAbortSec=2"
    machine.run("sh", "-c", f"printf '{drop_in}' > /run/systemd/system/valve.service.d/watchdog.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "valve.service")
    hung, restarts = main_pid(machine), int(machine.show("valve.service", "NRestarts"))
    machine.run("sh", "-c", f"kill -STOP {hung}")
    wait_until(lambda: int(machine.show("valve.service", "NRestarts")) > restarts, "it is started again")
    wait_until(lambda: machine.show("valve.service", "ActiveState") == "active", "it serves again")
    assert main_pid(machine) != hung


def test_a_stopped_tenant_can_be_ended(machine: Machine) -> None:
    hold = "import urllib.request as r; r.urlopen('http://127.0.0.1:8780/v1/completions', b'hold')"
    machine.run("rm", "-f", "/tmp/release")
    machine.run("systemd-run", "--quiet", "--unit=hold-2", "python3", "-c", hold)
    wait_until(lambda: tenant(machine)["state"] == "stopped", "the tenant is stopped")
    machine.run("systemctl", "stop", "valve-tenant@batch")
    assert not machine.run("sh", "-c", "grep -ls [b]atch.py /proc/[0-9]*/cmdline", check=False)
    machine.run("touch", "/tmp/release")


def test_operating(machine: Machine) -> None:
    assert "Valve sidecar" in machine.obey("operate", 0)
    before = main_pid(machine)
    machine.obey("operate", 1)
    assert main_pid(machine) != before


def test_removing_leaves_nothing(machine: Machine) -> None:
    machine.run("rm", "-r", "/run/systemd/system/valve.service.d")  # the test's own
    machine.obey("upgrade", 1)
    assert machine.show("valve.service", "LoadState") == "not-found"
    left = machine.run(
        "find", "/opt", "/etc", "/run", "-name", "*valve*", "-not", "-path", "/run/credentials*"
    )
    assert left == "", left
