"""What is read of a process."""

import sys
from pathlib import Path

from valve_loadgen.peers import Peer
from valve_loadgen.processes import Processes
from valve_loadgen.soak import open_files, resident_kib

HOLD = (
    "import time; files = [open('/dev/null') for _ in range(20)]; print('ready', flush=True); time.sleep(60)"
)


def test_memory_and_files_of_a_process(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("holder", [sys.executable, "-c", HOLD])
        while "ready" not in child.log.read_text():
            child.check()
        peer = Peer("holder", 0, child)
        assert resident_kib(peer) > 1000
        assert open_files(peer) >= 23
