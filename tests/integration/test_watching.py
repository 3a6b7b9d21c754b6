"""What a person types to look on: `valve top`, `valve events`, `valve status --watch`, on real terminals."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import orjson
import pytest

from .stage import Request, Sidecar, Stage, start_valve, valve, wait_until

pytestmark = pytest.mark.integration


class Terminal:
    """A command on a terminal of its own; `text` is all it has written, escape sequences included."""

    def __init__(self, stage: Stage, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        environment = os.environ | {
            "VALVE_RUNTIME_DIR": str(stage.runtime_dir), "TERM": "xterm", "COLUMNS": "110", "LINES": "40"
        }  # fmt: skip
        command = [sys.executable, "-m", "valve_sidecar", *arguments]
        ends = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, **ends)
        os.close(slave)
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.text += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                return

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.text, f"{text!r} is shown")

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        self._reader.join(20)
        os.close(self._master)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    started: list[Terminal] = []
    yield started
    for terminal in started:
        terminal.end()


def test_top_follows_and_q_ends_it(stage: Stage, terminals: list[Terminal]) -> None:
    sidecar, tenant = stage.sidecar(), stage.tenant("nightly")
    tenant.wait_running()
    sidecar.wait_tenant_seen()
    terminals.append(top := Terminal(stage, "top", "--admin", sidecar.admin))
    top.wait_for("○ open")
    top.wait_for("nightly")
    request = Request(sidecar.listen, "r-77")
    request.wait_first_token()
    top.wait_for("■ closed")
    top.wait_for("after request r-77")
    stage.engine.release.set()
    top.type("q")
    assert top.process.wait(20) == 0


def test_top_waits_for_a_sidecar_that_is_started_again(stage: Stage, terminals: list[Terminal]) -> None:
    first = stage.sidecar()
    terminals.append(top := Terminal(stage, "top", "--admin", first.admin))
    top.wait_for("○ open")
    first.process.kill()
    top.wait_for("no connection, trying again")
    again = len(top.text)
    stage.sidecar("--admin", first.admin.removeprefix("http://"))
    wait_until(lambda: "q: quit" in top.text[again:], "it is shown again")


def test_top_without_a_terminal_is_one_picture(stage: Stage) -> None:
    done = valve(stage.runtime_dir, "top", "--admin", stage.sidecar().admin)
    assert done.returncode == 0
    assert "○ open" in done.stdout
    assert "\x1b" not in done.stdout


def test_top_has_the_last_minute_at_once_and_lists_no_slices(stage: Stage) -> None:
    stage.engine.behave = "pace"
    sidecar, tenant = stage.sidecar("--policy", "budget", "--slo-tpot-ms", "100"), stage.tenant()
    tenant.wait_running()
    Request(sidecar.listen, "r-1").wait_first_token()
    wait_until(lambda: sidecar.state()["counters"]["slices"] > 1, "slices")
    text = valve(stage.runtime_dir, "top", "--admin", sidecar.admin).stdout
    share = re.search(r"slices +(\d+)% of the last minute", text)
    assert share
    assert int(share[1]) > 0
    events = text.partition("AGO")[2]
    assert "by request r-1" in events
    assert "slice" not in events


def test_status_again_and_again(stage: Stage, terminals: list[Terminal]) -> None:
    terminals.append(status := Terminal(stage, "status", "--watch"))
    status.wait_for("no tenant")
    stage.tenant("nightly").wait_running()
    status.wait_for("nightly")
    status.process.send_signal(signal.SIGINT)
    assert status.process.wait(20) == 0


def test_events_for_programs(stage: Stage) -> None:
    sidecar = stage.sidecar()
    follow = start_valve(
        stage.runtime_dir, "events", "--follow", "--json", "--admin", sidecar.admin, stdout=subprocess.PIPE
    )
    try:
        stage.engine.release.set()
        Request(sidecar.listen, "r-1").wait_done()
        assert follow.stdout
        kinds = [orjson.loads(follow.stdout.readline())["kind"] for _ in range(3)]
        assert sorted(kinds) == ["close", "open", "request"]
    finally:
        follow.send_signal(signal.SIGINT)
        assert follow.wait(20) == 0
        follow.communicate()


def test_events_for_people_whose_pipe_ends_early(stage: Stage) -> None:
    sidecar = stage.sidecar()
    ask_often(stage, sidecar)
    events = start_valve(
        stage.runtime_dir,
        "events",
        "--admin",
        sidecar.admin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert events.stdout
    events.stdout.close()
    assert events.wait(20) == 0
    assert events.stderr
    with events.stderr as stderr:
        assert stderr.read() == ""


def ask_often(stage: Stage, sidecar: Sidecar) -> None:
    stage.engine.release.set()
    for _ in range(3):
        Request(sidecar.listen).wait_done()


def test_without_a_sidecar_it_says_what_to_do(stage: Stage) -> None:
    for command in ("top", "events"):
        done = valve(stage.runtime_dir, command, "--admin", "127.0.0.1:1")
        assert done.returncode == 1
        assert "start one, or say where it is with --admin" in done.stderr
