"""Faults of the node segment: damaged files, full disks, missing rights, full tables, killed owners."""

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from valve_runtime import native
from valve_runtime.errors import SegmentError, SegmentFullError
from valve_runtime.node import Holder, Node, Side, Tenant

PROLOGUE = (
    "import sys, time; from valve_runtime.node import Holder, Node, Side, Tenant; directory = sys.argv[1]\n"
)
EPILOGUE = "\nprint('done', flush=True)\ntime.sleep(600)\n"

CLOSE = """
node = Node.open(directory, Side.HOLDER)
holder = Holder.register(node, "other process", ["cpu"])
holder.close_gate()
"""

JOIN = """
node = Node.open(directory, Side.TENANT)
tenant = Tenant.register(node, "other job", 1, ["cpu"])
"""


@contextmanager
def node_process(directory: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `code` in a process of its own; the body runs once it is done. At the end it is killed."""
    command = [sys.executable, "-c", PROLOGUE + code + EPILOGUE, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            yield process
        finally:
            process.kill()
            process.wait()


def eventually(condition: Callable[[], bool]) -> None:
    """Fails if it does not come true within a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """A directory with a segment that nobody uses."""
    Node.open(tmp_path, Side.HOLDER).close()
    return tmp_path


def patch(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def open_error(directory: Path, side: Side) -> str:
    with pytest.raises(SegmentError) as caught:
        Node.open(directory, side)
    return str(caught.value)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("name", ["holders", "tenants"])
@pytest.mark.parametrize("size", [0, 20, 5000])
def test_a_truncated_file_is_named(segment: Path, name: str, side: Side, size: int) -> None:
    os.truncate(segment / name, size)
    assert open_error(segment, side).startswith(f"{segment / name} is damaged or not Valve's: stop every")


@pytest.mark.parametrize("side", list(Side))
def test_a_foreign_file_is_named_and_left_alone(segment: Path, side: Side) -> None:
    foreign = segment / "tenants"
    foreign.write_text("somebody's notes\n" * 40000)
    assert f"{foreign} is damaged or not Valve's" in open_error(segment, side)
    assert foreign.read_text().startswith("somebody's notes")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "holders")
    assert f"{tmp_path / 'holders'} is damaged or not Valve's" in open_error(tmp_path, Side.TENANT)


def test_another_version_is_named(segment: Path) -> None:
    patch(segment / "tenants", native.Header.layout_version.offset, b"\x63\0\0\0")
    named = f"{segment / 'tenants'} is of another version of Valve (layout 99.1, not {native.LAYOUT}): stop"
    assert named in open_error(segment, Side.HOLDER)


def test_another_time_namespace_is_named(segment: Path) -> None:
    patch(segment / "holders", native.Header.monotonic_offset_ns.offset, b"\1")
    assert f"{segment / 'holders'} is of another time namespace" in open_error(segment, Side.TENANT)


@pytest.mark.parametrize("side", [Side.HOLDER, Side.TENANT])
def test_what_another_boot_left_is_replaced(segment: Path, side: Side) -> None:
    for name in ("holders", "tenants"):
        patch(segment / name, native.Header.boot_id.offset, b"\xee" * 16)
        patch(segment / name, 4000, b"rows of old")
    assert "is from before the last boot" in open_error(segment, Side.OBSERVER)
    with Node.open(segment, side) as node:
        assert (node.holders(), node.tenants(), node.generation) == ([], [], 0)
    assert sorted(path.name for path in segment.iterdir()) == ["holders", "tenants"]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert open_error(missing, Side.HOLDER) == (
        f"{missing} is not a directory: create it or give another --runtime-dir"
    )


def test_an_observer_of_nothing_is_told_so(tmp_path: Path) -> None:
    assert open_error(tmp_path, Side.OBSERVER) == (
        f"no node segment in {tmp_path}: nothing of Valve has run there yet"
    )


AS_NOBODY = """
import os, sys
from valve_runtime.node import Node, Side
from valve_runtime.errors import SegmentError
from valve_runtime import native
native.library()
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Node.open(sys.argv[1], Side[sys.argv[2]])
except SegmentError as error:
    print(error)
"""


def open_as_nobody(directory: Path, side: Side) -> str:
    command = [sys.executable, "-c", AS_NOBODY, str(directory), side.name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """One that another user can reach (pytest's own are private)."""
    directory = Path(f"/tmp/valve-faults-{os.getpid()}-{time.monotonic_ns()}")
    directory.mkdir()
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


def test_a_directory_that_may_not_be_written_is_named(public_directory: Path) -> None:
    public_directory.chmod(0o555)
    assert open_as_nobody(public_directory, Side.HOLDER) == (
        f"no permission for {public_directory}: run as its owner, or give another --runtime-dir"
    )


def test_a_directory_that_cannot_be_reached_is_named(public_directory: Path) -> None:
    hidden = public_directory / "hidden"
    (hidden / "inner").mkdir(parents=True)
    hidden.chmod(0)
    try:
        assert open_as_nobody(hidden / "inner", Side.HOLDER).startswith(
            f"no permission for {hidden / 'inner'}: "
        )
    finally:
        hidden.chmod(0o700)


def test_a_file_of_another_user_may_be_read_but_not_written(public_directory: Path) -> None:
    public_directory.chmod(0o755)
    Node.open(public_directory, Side.HOLDER).close()
    if os.getuid() != 0:
        (public_directory / "holders").chmod(0o444)
    assert open_as_nobody(public_directory, Side.OBSERVER) == ""
    assert open_as_nobody(public_directory, Side.HOLDER).startswith(
        f"no permission for {public_directory / 'holders'}: "
    )


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 100 kB: enough for `holders`, not for `tenants`."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("side", [Side.HOLDER, Side.TENANT])
def test_a_full_disk_is_an_error_at_once_and_leaves_no_rubbish(tiny_disk: Path, side: Side) -> None:
    assert open_error(tiny_disk, side) == (
        f"the disk of {tiny_disk} is full: free 1 MB there, or give another --runtime-dir"
    )
    assert [path.name for path in tiny_disk.iterdir()] == ["holders"]


def test_a_full_table_of_tenants_refuses_until_one_leaves(segment: Path) -> None:
    with Node.open(segment, Side.TENANT) as node:
        tenants = [Tenant.register(node, "batch", i, ["cpu"]) for i in range(native.TENANTS_MAX)]
        with pytest.raises(SegmentFullError, match=rf"no free row .* in {segment / 'tenants'}"):
            Tenant.register(node, "one more", 0, ["cpu"])
        tenants[100].release()
        assert Tenant.register(node, "one more", 0, ["cpu"]).row == 100


def test_a_full_table_of_holders_refuses(segment: Path) -> None:
    with Node.open(segment, Side.HOLDER) as node:
        for i in range(native.HOLDERS_MAX):
            Holder.register(node, f"worker {i}", ["cpu"])
        with pytest.raises(SegmentFullError, match=rf"no free row .* in {segment / 'holders'}"):
            Holder.register(node, "one more", ["cpu"])


def test_a_full_device_table_refuses(segment: Path) -> None:
    devices = [f"GPU-00000000-0000-0000-0000-{i:012x}" for i in range(native.DEVICES_MAX)]
    with Node.open(segment, Side.HOLDER) as node:
        assert Holder.register(node, "all", devices).row == 0
        with pytest.raises(SegmentFullError, match="device entry"):
            Holder.register(node, "one more", ["cpu"])
        assert len(node.holders()) == 1


def test_a_killed_holder_is_dead_at_once_and_its_row_is_taken_over_open(segment: Path) -> None:
    with Node.open(segment, Side.HOLDER) as node:
        with node_process(segment, CLOSE) as process:
            (view,) = node.holders()
            assert (view.pid, view.alive, view.closed) == (process.pid, True, True)
        (view,) = node.holders()
        assert (view.pid, view.alive, view.closed) == (process.pid, False, True)
        before = node.generation
        holder = Holder.register(node, "successor", ["cpu"])
        assert (holder.row, node.generation) == (view.row, before + 1)
        assert [(view.alive, view.closed) for view in node.holders()] == [(True, False)]


class FlagMechanism(ctypes.Structure):
    """struct vlv_mechanism."""

    _fields_ = tuple(
        (name, ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p))
        for name in ("stop", "confirm", "resume", "guard", "id", "processes", "unstopped_threads")
    )


class Flag:
    """An agent's mechanism that only notes what it is told."""

    def __init__(self) -> None:
        self.stopped = False
        kinds = dict(FlagMechanism._fields_)
        calls = {"stop": self._stop, "confirm": self._confirm, "resume": self._resume, "guard": self._guard}
        self.mechanism = FlagMechanism(**{name: kinds[name](call) for name, call in calls.items()})
        self.mechanism.id = kinds["id"](self._guard)

    def _stop(self, _context: int) -> int:
        self.stopped = True
        return 0

    def _confirm(self, _context: int) -> int:
        return 2 if self.stopped else 0

    def _resume(self, _context: int) -> int:
        self.stopped = False
        return 0

    def _guard(self, _context: int) -> int:
        return 0


def test_the_gate_opens_when_the_only_holder_is_killed(segment: Path) -> None:
    """From the death of the holder, not from its lease, which is made an hour long here."""
    library, flag, agent = native.library(), Flag(), ctypes.c_void_p()
    with Node.open(segment, Side.TENANT) as node:
        tenant = Tenant.register(node, "batch", 0, ["cpu"])
        code = CLOSE + (
            "from valve_runtime import native\n"
            "rows = native.library().node_holders(node.opened()).contents.rows\n"
            "rows[holder.row].lease_expiry_ns = time.monotonic_ns() + 3_600_000_000_000\n"
        )
        with node_process(segment, code):
            mechanism = ctypes.byref(flag.mechanism)
            assert library.agent_start(tenant.handle, mechanism, None, ctypes.byref(agent)) == 0
            assert library.agent_wait_ready(agent, 60_000_000_000) == 0
            assert (flag.stopped, node.tenants()[0].state) == (True, "stopped")
        eventually(lambda: node.tenants()[0].state == "running")
        assert flag.stopped is False
        assert node.holders()[0].lease_remaining_ms > 1_000_000
        acks, _, _ = node.acknowledgements(tenant.row, 0)
        assert [ack.kind for ack in acks] == ["stopped", "resumed"]
        library.agent_stop(agent)


def test_a_killed_tenant_costs_nothing(segment: Path) -> None:
    with Node.open(segment, Side.TENANT) as node:
        with node_process(segment, JOIN) as process:
            assert [(view.pid, view.alive, view.job) for view in node.tenants()] == [
                (process.pid, True, "other job")
            ]
        assert [view.alive for view in node.tenants()] == [False]
        assert Tenant.register(node, "next", 0, ["cpu"]).row == 0
        assert [(view.pid, view.alive, view.job) for view in node.tenants()] == [(os.getpid(), True, "next")]


def test_two_at_once_share_one_segment(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for code in (CLOSE, JOIN, CLOSE, JOIN):
            stack.enter_context(node_process(tmp_path, code))
        observer = stack.enter_context(Node.open(tmp_path, Side.OBSERVER))
        assert [(view.row, view.alive, view.closed) for view in observer.holders()] == [
            (0, True, True),
            (1, True, True),
        ]
        assert [(view.row, view.alive) for view in observer.tenants()] == [(0, True), (1, True)]
