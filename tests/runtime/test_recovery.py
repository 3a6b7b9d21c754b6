"""What recovery does with each kind of record; real processes stand for what was left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from valve_runtime import recovery, tree
from valve_runtime.cgroup import CgroupUnavailableError, own_cgroup
from valve_runtime.namespace import own_pid_namespace
from valve_runtime.record import Record, folder
from valve_runtime.recovery import recover
from valve_runtime.tree import Process

US = Process(os.getpid(), tree.start_ticks(os.getpid()))
JOB_ID = f"unit-{os.getpid()}"


def dead() -> Process:
    with subprocess.Popen(["true"]) as process:
        pass
    return Process(process.pid, 1)


def record(tmp_path: Path, runner: Process, **changes: object) -> Record:
    made = Record(JOB_ID, str(tmp_path), "", runner, pid_namespace=own_pid_namespace())
    content = orjson.loads(made.encode()) | orjson.loads(orjson.dumps(changes))
    return Record.decode(orjson.dumps(content))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], env={}) as process:
        yield process
        process.kill()


def process_of(popen: subprocess.Popen[bytes]) -> dict[str, int]:
    return {"pid": popen.pid, "ticks": tree.start_ticks(popen.pid)}


def test_a_directory_without_records_is_fine(tmp_path: Path) -> None:
    assert recover(tmp_path) == []
    assert recover(tmp_path / "nowhere") == []


def test_a_living_runner_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    made = record(tmp_path, US, members=[process_of(sleeper)])
    made.write()
    assert recover(tmp_path) == []
    assert made.path.exists()
    assert sleeper.poll() is None


def test_a_living_guardian_is_left_to_do_it(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    made = record(
        tmp_path, dead(), guardian={"pid": US.pid, "ticks": US.ticks}, members=[process_of(sleeper)]
    )
    made.write()
    assert recover(tmp_path) == []
    assert sleeper.poll() is None


def test_a_record_of_another_container_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    made = record(tmp_path, dead(), pid_namespace=1, members=[process_of(sleeper)])
    made.write()
    assert recover(tmp_path) == []
    assert made.path.exists()
    assert sleeper.poll() is None


def test_listed_processes_are_continued_and_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    made = record(tmp_path, dead(), members=[process_of(sleeper)])
    made.write()
    sleeper.send_signal(19)
    assert recover(tmp_path) == [
        f"job {JOB_ID} had lost its `valve run` and its guardian: ended what was left of it"
    ]
    assert sleeper.wait(20) == -15
    assert not made.path.exists()


def test_a_reused_pid_is_not_touched(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    stranger = process_of(sleeper) | {"ticks": 7}
    record(tmp_path, dead(), members=[stranger]).write()
    assert len(recover(tmp_path)) == 1
    assert sleeper.poll() is None


def test_marked_processes_and_what_is_below_them_are_ended(tmp_path: Path) -> None:
    program = "import subprocess, time; subprocess.run(['sleep', '60'], env={}); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], env={tree.MARKER: JOB_ID}) as marked:
        while not tree.descendants([marked.pid]):
            assert marked.poll() is None
        below = tree.identify(tree.descendants([marked.pid]))
        record(tmp_path, dead()).write()
        assert len(recover(tmp_path)) == 1
        assert marked.wait(20) == -15
    assert not any(each.is_alive() for each in below)


def test_we_are_not_ended_although_we_carry_the_marker(tmp_path: Path) -> None:
    record(tmp_path, dead()).write()
    program = "import sys; from pathlib import Path; from valve_runtime.recovery import recover; "
    program += "print(len(recover(Path(sys.argv[1]))))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=os.environ | {tree.MARKER: JOB_ID},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1\n")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"job_id": 5}',
        b'{"job_id":"a","runtime_dir":"/","cgroup":"","runner":[1,2],"guardian":{"pid":0,"ticks":0},'
        b'"members":[],"pid_namespace":0}',
        b'{"job_id":"a","runtime_dir":"/","cgroup":"","runner":{"pid":0,"ticks":0},'
        b'"guardian":{"pid":0,"ticks":0},"members":3,"pid_namespace":0}',
    ],
)
def test_a_damaged_record_is_set_aside(tmp_path: Path, content: bytes) -> None:
    folder(tmp_path).mkdir(mode=0o700)
    (folder(tmp_path) / "bad.json").write_bytes(content)
    (message,) = recover(tmp_path)
    assert "bad.json" in message
    assert "set aside" in message
    assert (folder(tmp_path) / "bad.damaged").read_bytes() == content
    assert recover(tmp_path) == []


def test_a_record_survives_a_failed_write(tmp_path: Path) -> None:
    made = record(tmp_path, US)
    made.write()
    assert Record.decode(made.path.read_bytes()) == made
    made.path.with_suffix(f".{os.getpid()}").mkdir()  # the draft cannot be written
    with pytest.raises(OSError, match="Is a directory"):
        made.write()
    assert Record.decode(made.path.read_bytes()) == made


def test_nothing_is_done_where_pids_mean_others(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = record(tmp_path, dead(), members=[process_of(sleeper)])
    made.write()
    monkeypatch.setattr(recovery, "proc_is_ours", lambda: False)
    assert recover(tmp_path) == []
    assert made.path.exists()
    assert sleeper.poll() is None


def disobeyed(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    assert recover(tmp_path) == []
    assert sleeper.poll() is None


def test_records_behind_a_link_are_not_obeyed(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    made = record(tmp_path, dead(), members=[process_of(sleeper)])
    made.write()
    made.path.parent.rename(tmp_path / "elsewhere")
    folder(tmp_path).symlink_to(tmp_path / "elsewhere")
    disobeyed(tmp_path, sleeper)
    with pytest.raises(NotADirectoryError):
        made.write()


def test_records_that_others_could_have_written_are_not_obeyed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    made = record(tmp_path, dead(), members=[process_of(sleeper)])
    made.write()
    folder(tmp_path).chmod(0o770)
    disobeyed(tmp_path, sleeper)
    with pytest.raises(PermissionError, match="mode 0700"):
        made.write()


@pytest.mark.skipif(os.getuid() != 0, reason="gives files away")
@pytest.mark.parametrize("whole_folder", [True, False])
def test_another_users_records_are_not_obeyed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], whole_folder: bool
) -> None:
    made = record(tmp_path, dead(), members=[process_of(sleeper)])
    made.write()
    os.chown(folder(tmp_path) if whole_folder else made.path, 65534, 65534)
    disobeyed(tmp_path, sleeper)
    os.chown(folder(tmp_path), 0, 0)
    os.chown(made.path, 0, 0)
    assert len(recover(tmp_path)) == 1, "nothing else was wrong with it"


@pytest.mark.parametrize("path", ["valve-a", "/etc/valve-a", "/sys/fs/cgroup/../valve-a", "/sys/fs/cgroup"])
def test_a_record_with_a_cgroup_that_is_no_tenants_is_set_aside(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], path: str
) -> None:
    made = record(tmp_path, dead(), members=[process_of(sleeper)])
    made.write()
    made.path.write_text(made.encode().replace('"cgroup": ""', f'"cgroup": "{path}"'))
    (message,) = recover(tmp_path)
    assert "no tenant's cgroup" in message
    assert sleeper.poll() is None


def test_a_record_keeps_a_tenants_cgroup_and_names_that_are_not_text(tmp_path: Path) -> None:
    made = Record(JOB_ID, str(tmp_path / "\udcff"), "", US)
    assert Record.decode(made.encode()) == made
    try:
        cgroup = str(own_cgroup() / "valve-a-1-2")
    except CgroupUnavailableError as error:
        pytest.skip(str(error))
    made = record(tmp_path, US, cgroup=cgroup)
    assert Record.decode(made.encode()).cgroup == cgroup
