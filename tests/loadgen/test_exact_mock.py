"""The exact mock and its truth, with the real client before it."""

import struct

import pytest

from valve_loadgen.arrivals import Planned
from valve_loadgen.client import Client
from valve_loadgen.cpus import available
from valve_loadgen.errors import BenchError
from valve_loadgen.exact_mock import PROGRAM, Truth, exact_mock, read_truths
from valve_loadgen.workers import Sending, named, send

PLAN = [Planned(f"r{i}", i * 3_000_000, "x", 4) for i in range(6)]

CLOCKS_APART_NS = 20_000  # how well either side knows the offset between the kernel's clock and its own


def test_truths_are_read_as_they_were_written() -> None:
    log = struct.pack("@64sQ2Q", b"one", 5, 7, 9) + struct.pack("@64sQ2Q", b"two", 15, 17, 29)
    assert dict(read_truths(log, 2)) == {"one": Truth(5, (7, 9)), "two": Truth(15, (17, 29))}
    assert Truth(5, (7, 9)).ttft_ns == 2


def test_a_mock_that_is_not_built_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valve_loadgen.exact_mock.PROGRAM", PROGRAM.with_name("none"))
    with pytest.raises(BenchError, match="make native"), exact_mock(frozenset(available())):
        pass


@pytest.mark.parametrize("processes", [1, 2])
async def test_every_request_has_its_truth_and_no_stamp_precedes_it(processes: int) -> None:
    with exact_mock(frozenset(available()), ttft_ms=4.0, gap_ms=1.0, tokens=4) as mock:
        sent = await send(PLAN, named(Sending(mock.target, connections=2)), processes)
    assert [each.name for each in sent.exchanges] == [plan.name for plan in PLAN]
    assert sent.cpu_s > 0
    for each in sent.exchanges:
        truth = mock.truths[each.request_id]
        assert each.ok
        assert each.tokens == len(each.token_ns) == 4
        assert each.send_ns <= truth.received_ns + CLOCKS_APART_NS
        assert truth.ttft_ns >= 4_000_000
        for seen_ns, left_ns in zip(each.token_ns, truth.sent_ns, strict=True):
            assert seen_ns >= left_ns - CLOCKS_APART_NS


async def test_the_mock_answers_what_is_asked_of_a_server() -> None:
    with exact_mock(frozenset(available())) as mock:
        client = Client(mock.target)
        status, body = await client.get("/v1/models")
        client.close()
    assert (status, b'"exact-mock"' in body) == (200, True)
