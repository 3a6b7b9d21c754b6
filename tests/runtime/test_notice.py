"""What is said never stops who says it."""

from __future__ import annotations

import os
import subprocess
import sys

SAY = """
import sys
from valve_runtime.notice import say
say(sys.argv[1])
print("went on")
"""


def run_with(stderr: int, text: str = "hello", **options: object) -> tuple[int, str]:
    command = [sys.executable, "-c", SAY, text]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, **options)  # type: ignore[call-overload]
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_a_line_is_said_whatever_is_in_it() -> None:
    read_fd, write_fd = os.pipe()
    assert run_with(write_fd, "d\udcff") == (0, "went on\n")
    os.close(write_fd)
    with os.fdopen(read_fd) as pipe:
        assert pipe.read() == "valve run: d\\udcff\n"


def test_a_dead_reader_is_no_error_also_at_the_end() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    assert run_with(write_fd) == (0, "went on\n")
    os.close(write_fd)


def test_a_reader_that_does_not_read_is_not_waited_for() -> None:
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    try:
        while True:
            os.write(write_fd, bytes(65536))
    except BlockingIOError:
        os.set_blocking(write_fd, True)
    assert run_with(write_fd) == (0, "went on\n")
    os.close(write_fd)
    os.close(read_fd)


def test_a_closed_standard_error_is_no_error() -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", SAY, "hello"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "went on\n")
