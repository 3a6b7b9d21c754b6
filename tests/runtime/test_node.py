"""The node segment from Python: views, handles, devices, acknowledgements."""

import ctypes
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from valve_runtime import native
from valve_runtime.device_id import device_bytes, device_name
from valve_runtime.errors import DeviceError, SegmentError
from valve_runtime.node import Ack, Holder, Node, Side, Tenant

GPU = "GPU-00112233-4455-6677-8899-aabbccddeeff"


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[Node]:
    with Node.open(tmp_path, Side.HOLDER) as node:
        yield node


@pytest.fixture
def tenants(tmp_path: Path) -> Iterator[Node]:
    with Node.open(tmp_path, Side.TENANT) as node:
        yield node


def tenant_row(node: Node, row: int) -> native.TenantRow:
    """The shared memory itself, to play an agent's part."""
    found: native.TenantRow = native.library().node_tenants(node.opened()).contents.rows[row]
    return found


def test_a_holder_is_seen_by_the_other_side(holders: Node, tenants: Node) -> None:
    holder = Holder.register(holders, "proxy é", ["cpu", GPU])
    holder.set_in_flight(3)
    holder.close_gate()
    (view,) = tenants.holders()
    assert (view.row, view.pid, view.alive, view.name) == (holder.row, os.getpid(), True, "proxy é")
    assert (view.closed, view.in_flight, view.devices) == (True, 3, ("cpu", GPU))
    assert 0 < view.lease_remaining_ms <= 3000
    assert (view.closes, view.lapses) == (1, 0)
    assert 0 < view.closed_since_ns <= time.monotonic_ns()


def test_a_tenant_is_seen_by_the_other_side(holders: Node, tenants: Node) -> None:
    tenant = Tenant.register(tenants, "batch", 2, ["cpu", GPU])
    (view,) = holders.tenants()
    assert (view.row, view.pid, view.alive) == (tenant.row, os.getpid(), True)
    assert (view.job, view.rank, view.devices) == ("batch", 2, ("cpu", GPU))
    assert (view.mechanism, view.state, view.ack_level) == ("none", "running", "running")
    assert (view.runner_pid, view.channels, view.refusals, view.unknown, view.held) == (0, 0, 0, 0, 0)


def test_what_a_shim_tells_is_seen(holders: Node, tenants: Node) -> None:
    row = tenant_row(tenants, Tenant.register(tenants, "batch", 0, [GPU]).row)
    row.runner_pid, row.channels, row.refusals, row.unknown, row.held = 4711, 8, 1, 2, 3
    (view,) = holders.tenants()
    assert (view.runner_pid, view.channels, view.refusals, view.unknown, view.held) == (4711, 8, 1, 2, 3)


def test_how_long_a_tenant_may_stay_stopped_is_seen(holders: Node, tenants: Node) -> None:
    tenant = Tenant.register(tenants, "batch", 0, ["cpu"])
    assert holders.tenants()[0].max_stopped_ns == 0
    tenant.set_max_stopped(240_000_000_000)
    assert holders.tenants()[0].max_stopped_ns == 240_000_000_000
    tenant.release()
    with pytest.raises(SegmentError, match="register again"):
        tenant.set_max_stopped(1)


def test_tokens_that_a_rows_last_owner_left_are_not_those_of_an_older_minor(
    holders: Node, tenants: Node
) -> None:
    tenant = Tenant.register(tenants, "batch", 0, ["cpu"])
    tenant.set_tokens(7, 20)
    (ours,) = holders.tenants()
    tenant_row(tenants, tenant.row).speaks = 0
    (older,) = holders.tenants()
    assert (ours.tokens, ours.input_tokens) == (7, 20)
    assert (older.tokens, older.input_tokens) == (None, None)


def test_views_are_plain_data(holders: Node, tenants: Node) -> None:
    Holder.register(holders, "proxy", ["cpu"])
    Tenant.register(tenants, "batch", 0, ["cpu"])
    assert dataclasses.asdict(holders.holders()[0])["devices"] == ("cpu",)
    assert dataclasses.asdict(holders.tenants()[0])["job"] == "batch"


def test_only_a_change_of_the_claim_bumps_the_generation(holders: Node) -> None:
    holder = Holder.register(holders, "proxy", ["cpu"])
    before = holders.generation
    assert holder.open_gate() == before
    assert holder.close_gate() == before + 1
    assert holder.close_gate() == before + 1
    assert holder.open_gate() == before + 2 == holders.generation


def test_the_rule_as_a_tenant_sees_it(holders: Node, tenants: Node) -> None:
    tenant, other = Tenant.register(tenants, "a", 0, ["cpu"]), Tenant.register(tenants, "b", 0, [GPU])
    holder = Holder.register(holders, "proxy", ["cpu"])
    holder.close_gate()
    assert (tenant.gate_is_closed(), other.gate_is_closed()) == (True, False)
    holder.release()
    assert tenant.gate_is_closed() is False


def test_renewing_in_time_is_no_lapse(holders: Node) -> None:
    holder = Holder.register(holders, "proxy", ["cpu"])
    row = native.library().node_holders(holders.opened()).contents.rows[holder.row]
    row.lease_expiry_ns = time.monotonic_ns() + 3_600_000_000_000
    assert holder.renew() is False
    row.lease_expiry_ns = 1
    assert holder.renew() is True
    assert holders.holders()[0].lapses == 1


def test_released_handles_refuse(holders: Node) -> None:
    holder = Holder.register(holders, "proxy", ["cpu"])
    holder.release()
    holder.release()
    assert holders.holders() == []
    for call in (holder.close_gate, holder.open_gate, holder.renew, lambda: holder.set_in_flight(1)):
        with pytest.raises(SegmentError, match="this holder has been released: register again"):
            call()


def test_closing_the_node_releases_what_was_registered(tmp_path: Path) -> None:
    with Node.open(tmp_path, Side.HOLDER) as node, Node.open(tmp_path, Side.OBSERVER) as observer:
        holder = Holder.register(node, "proxy", ["cpu"])
        holder.close_gate()
        node.close()
        assert observer.holders() == []
        with pytest.raises(SegmentError, match="released"):
            holder.close_gate()
        with pytest.raises(SegmentError, match="is closed"):
            node.holders()


def test_several_rows_in_one_process(holders: Node) -> None:
    made = [Holder.register(holders, f"worker {i}", ["cpu"]) for i in range(4)]
    assert [view.row for view in holders.holders()] == [holder.row for holder in made] == [0, 1, 2, 3]
    assert all(view.alive for view in holders.holders())


def write_ack(row: native.TenantRow, number: int, kind: int, level: int) -> None:
    row.acks[number % native.ACK_RING] = native.AckEntry(number, kind, level, 10 * number, 10 * number + 1)
    row.ack_head = number + 1


def test_acknowledgements_are_read_once(holders: Node, tenants: Node) -> None:
    row = tenant_row(tenants, Tenant.register(tenants, "batch", 0, ["cpu"]).row)
    assert holders.acknowledgements(0, 0) == ([], 0, 0)
    write_ack(row, 0, kind=1, level=2)
    write_ack(row, 1, kind=2, level=0)
    acks, following, dropped = holders.acknowledgements(0, 0)
    assert acks == [Ack(0, "stopped", "compute_halted", 0, 1), Ack(1, "resumed", "running", 10, 11)]
    assert (following, dropped) == (2, 0)
    assert holders.acknowledgements(0, following) == ([], 2, 0)


def test_overwritten_acknowledgements_are_counted(holders: Node, tenants: Node) -> None:
    row = tenant_row(tenants, Tenant.register(tenants, "batch", 0, ["cpu"]).row)
    for number in range(100):
        write_ack(row, number, kind=1, level=1)
    acks, following, dropped = holders.acknowledgements(0, 10)
    assert [ack.generation for ack in acks] == list(range(37, 100))
    assert (following, dropped) == (100, 27)


def test_there_is_no_row_beyond_the_table(holders: Node) -> None:
    with pytest.raises(SegmentError, match=r"tenants has no row 256"):
        holders.acknowledgements(256, 0)


def test_a_scribbled_row_is_decoded_without_harm(holders: Node, tenants: Node) -> None:
    row = tenant_row(tenants, Tenant.register(tenants, "batch", 0, ["cpu"]).row)
    ctypes.memset(ctypes.addressof(row), 0xFF, ctypes.sizeof(row))
    (view,) = holders.tenants()
    assert view.mechanism == f"unknown_{0xFFFFFFFF}"
    assert len(view.devices) == native.TENANT_DEVICES_MAX
    assert view.job == "\N{REPLACEMENT CHARACTER}" * native.NAME_SIZE
    acks, following, _ = holders.acknowledgements(0, 0)
    assert following == 0xFFFF_FFFF_FFFF_FFFF
    assert acks[0].kind == f"unknown_{0xFFFF}"


def test_control_characters_of_a_name_are_not_printed(holders: Node) -> None:
    Holder.register(holders, "a\x1b[2Jb", ["cpu"])
    assert holders.holders()[0].name == "a\N{REPLACEMENT CHARACTER}[2Jb"


def test_a_long_name_is_cut(holders: Node) -> None:
    Holder.register(holders, "é" * 40, ["cpu"])
    assert holders.holders()[0].name == "é" * 23


@pytest.mark.parametrize("name", ["cpu", GPU])
def test_devices_survive_the_way_through_bytes(name: str) -> None:
    assert device_name(device_bytes(name)) == name


@pytest.mark.parametrize("name", ["", "gpu0", "0", "GPU-", "GPU-0011", "cpu ", GPU + "0"])
def test_a_wrong_device_is_refused(name: str, holders: Node) -> None:
    with pytest.raises(DeviceError, match="give cpu or a GPU's UUID"):
        Holder.register(holders, "proxy", [name])
    assert holders.holders() == []


def test_the_wrong_side_cannot_register(holders: Node, tenants: Node) -> None:
    with pytest.raises(SegmentError, match="was opened to be read only"):
        Holder.register(tenants, "sly", ["cpu"])
    with pytest.raises(SegmentError, match="was opened to be read only"):
        Tenant.register(holders, "sly", 0, ["cpu"])
    with pytest.raises(SegmentError, match="at least one"):
        Holder.register(holders, "proxy", [])
