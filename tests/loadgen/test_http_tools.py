"""What the measuring programs print, read."""

import pytest

from valve_loadgen.cpus import available
from valve_loadgen.errors import BenchError
from valve_loadgen.http_tools import Tools, parse_wrk

GOOD = "Running 2s test\n  54056 requests in 2.02s, 12.11MB read\nRequests/sec:  26793.12\n"


@pytest.mark.parametrize(
    ("counted", "expected"), [("2.02s", (54056, 2.02)), ("500.00ms", (54056, 0.5)), ("1.00m", (54056, 60.0))]
)
def test_the_figures_of_wrk(counted: str, expected: tuple[int, float]) -> None:
    assert parse_wrk(GOOD.replace("2.02s", counted)) == expected


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 12", "  Socket errors: connect 0, read 1, write 0, timeout 0"]
)
def test_failures_are_no_figures(line: str) -> None:
    with pytest.raises(BenchError, match="failures"):
        parse_wrk(GOOD + line)


async def test_a_bare_epoll_is_told_of_every_send() -> None:
    cpus = frozenset(available())
    took_us = await Tools(cpus).wakes(min(cpus), 200, 0.1, 1)
    assert len(took_us) == 20
    assert all(0 < each < 60e6 for each in took_us)


def test_no_figures() -> None:
    with pytest.raises(BenchError, match="no figures"):
        parse_wrk("unable to connect")
