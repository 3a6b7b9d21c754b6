"""The load balancers of a fleet, as HAProxy reads them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.replicas import PACK_FIRST, ROUND_ROBIN, check_tenants, configuration


def test_pack_first_is_the_first_server_with_a_free_slot() -> None:
    text = configuration(PACK_FIRST, 80, [1001, 1002], 8)
    assert "balance first" in text
    assert "server replica0 127.0.0.1:1001 maxconn 8\n  server replica1 127.0.0.1:1002 maxconn 8" in text


def test_round_robin_waits_for_no_slot() -> None:
    text = configuration(ROUND_ROBIN, 80, [1001], 8)
    assert "balance roundrobin" in text
    assert "127.0.0.1:1001\n" in text


@pytest.mark.parametrize("arm", [ROUND_ROBIN, PACK_FIRST])
def test_haproxy_accepts_it(arm: str, tmp_path: Path) -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed (Debian: apt install haproxy)")
    file = tmp_path / "haproxy.cfg"
    file.write_text(configuration(arm, 8080, [1001, 1002], 8))
    subprocess.run(["haproxy", "-c", "-f", file], check=True, capture_output=True)


def test_a_replica_sees_its_own_tenant_alone() -> None:
    check_tenants([{"tenants": 1}, {"tenants": 1}])
    with pytest.raises(BenchError, match="sidecar 1 sees 2 tenants"):
        check_tenants([{"tenants": 1}, {"tenants": 2}])
