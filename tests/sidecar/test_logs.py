"""The two looks of a log line."""

import contextlib
import logging
import os
from collections.abc import Iterator

import orjson
import pytest

from valve_sidecar.logs import LINES_MAX, UnwaitingStandardError, set_up_logging

log = logging.getLogger("valve_sidecar.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("valve_sidecar")
    before = root.handlers[:], root.level, own.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    own.setLevel(before[2])


def test_json_has_the_fields_of_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("debug", as_json=True)
    log.debug(
        "stopped %s", "batch", extra={"fields": {"trace_id": "4bf9", "latency_ns": 7, "level": "halted"}}
    )
    told = orjson.loads(capsys.readouterr().err)
    assert told["time"].endswith("Z")
    assert told | {"time": ""} == {
        "time": "",
        "level": "debug",
        "logger": "valve_sidecar.test",
        "message": "stopped batch",
        "trace_id": "4bf9",
        "latency_ns": 7,
    }


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(as_json=True)
    try:
        raise ValueError("a defect")
    except ValueError:
        log.exception("relaying")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: a defect" in orjson.loads(line)["exception"]


def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    log.warning("the gate works again")
    log.debug("not told")
    assert capsys.readouterr().err == "valve: WARNING: the gate works again\n"


def test_our_questions_to_the_engine_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("debug")
    logging.getLogger("httpx").info("GET /health")
    assert capsys.readouterr().err == ""


def test_a_log_that_nobody_reads_holds_nobody_up() -> None:
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(write_fd, b"x" * 4096):
            pass
    os.set_blocking(write_fd, True)
    handler = UnwaitingStandardError(write_fd)
    for _ in range(LINES_MAX + 100):
        handler.emit(logging.makeLogRecord({"msg": "a line"}))
    assert handler.dropped >= 99, "one line is with the thread that waits"
    with os.fdopen(read_fd, "rb") as reader:
        line = next(line.lstrip(b"x") for line in reader)
    assert line == b"a line\n"
