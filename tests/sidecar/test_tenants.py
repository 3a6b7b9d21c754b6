"""Which close does a tenant's stop answer, and how long did it take."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from valve_runtime.node import Node
from valve_sidecar.events import EventLog
from valve_sidecar.flight import Flight
from valve_sidecar.tenants import Harvest, TenantWatch, generation_reached
from valve_sidecar.trace import TraceContext


def ack(kind: str, generation: int, done_ns: int, level: str = "compute_halted") -> SimpleNamespace:
    return SimpleNamespace(
        kind=kind, generation=generation, done_ns=done_ns, woken_ns=done_ns - 10, level=level
    )


@dataclass
class ScriptedNode:
    """What the segment would show; tests append acknowledgements per row."""

    acks: dict[int, list[SimpleNamespace]] = field(default_factory=dict)
    pids: dict[int, int] = field(default_factory=dict)
    runners: dict[int, int] = field(default_factory=dict)

    def tenants(self) -> list[Any]:
        return [
            SimpleNamespace(
                row=row,
                pid=self.pids.get(row, 100 + row),
                job="batch",
                rank=row,
                mechanism="freezer_cgroup",
                ack_generation=4,
                runner_pid=self.runners.get(row, 0),
            )
            for row in self.acks
        ]

    def acknowledgements(self, row: int, since: int) -> tuple[list[Any], int, int]:
        return self.acks[row][since:], len(self.acks[row]), 0


class Scene:
    def __init__(self) -> None:
        self.events, self.latencies = EventLog(), list[int]()
        self.watch = TenantWatch(self.events, self.latencies.append)
        self.node = ScriptedNode({0: [], 1: []})  # two tenants that run, at generation 4
        self.collect()

    def collect(self, now_ns: int = 0) -> None:
        self.watch.collect(cast(Node, self.node), now_ns)

    def close(self, generation: int, readable_ns: int) -> Flight:
        flight = Flight("r-1", "/v1/completions", None, readable_ns, generation=generation)
        self.watch.closed(flight)
        return flight

    def told(self) -> list[dict[str, Any]]:
        return list(self.events.since(0, 100)["events"])


def test_every_tenant_s_stop_answers_the_close_and_is_told_once() -> None:
    scene = Scene()
    scene.close(generation=5, readable_ns=1000)
    scene.node.acks |= {0: [ack("stopped", 5, 1200)], 1: [ack("stopped", 5, 1300)]}
    scene.collect()
    scene.collect()
    assert scene.latencies == [200, 300]
    assert [event["rank"] for event in scene.events.since(0, 10)["events"]] == [0, 1]


def test_in_another_segment_rows_and_generations_begin_anew() -> None:
    scene = Scene()
    scene.close(generation=5000, readable_ns=1000)
    scene.node.acks[0] = [ack("stopped", 5000, 1200)]
    scene.collect()
    scene.node = ScriptedNode({0: []})
    scene.collect()
    scene.close(generation=5, readable_ns=3000)
    scene.node.acks[0] = [ack("stopped", 5, 3100)]
    scene.collect()
    assert scene.latencies == [200, 100]


def test_a_later_close_does_not_take_an_earlier_stop_and_a_second_stop_is_not_the_first_close_s() -> None:
    scene = Scene()
    scene.close(generation=5, readable_ns=1000)
    scene.close(generation=7, readable_ns=5000)
    scene.node.acks = {0: [ack("stopped", 5, 1200), ack("resumed", 6, 4000), ack("stopped", 7, 5100)]}
    scene.collect()
    assert scene.latencies == [200, 100]


def test_a_stop_that_answers_another_sidecar_s_close_is_not_ours() -> None:
    scene = Scene()
    scene.node.acks = {0: [ack("stopped", 4, 500)]}
    scene.close(generation=5, readable_ns=1000)
    scene.collect()
    assert scene.latencies == []


def test_a_tenant_that_was_stopped_before_we_saw_it_answers_no_close_of_ours() -> None:
    scene = Scene()
    scene.close(generation=5, readable_ns=1000)
    scene.node.acks[7] = [ack("stopped", 9, 9_000_000_000)]
    scene.collect()
    assert scene.latencies == []
    scene.close(generation=11, readable_ns=10_000_000_000)
    scene.node.acks[7] += [ack("resumed", 10, 9_500_000_000), ack("stopped", 11, 10_000_000_400)]
    scene.collect()
    assert scene.latencies == [400]


def test_only_halted_compute_counts_as_preemption() -> None:
    scene = Scene()
    scene.close(generation=5, readable_ns=1000)
    scene.node.acks = {0: [ack("stopped", 5, 1200, level="submission_stopped")]}
    scene.collect()
    assert scene.latencies == []


def test_a_new_tenant_in_an_old_row_is_read_from_its_beginning() -> None:
    scene = Scene()
    scene.node.acks = {0: [ack("stopped", 1, 10), ack("resumed", 2, 20)]}
    scene.collect()
    scene.node.acks, scene.node.pids = {0: [ack("stopped", 3, 30)]}, {0: 999}
    scene.collect()
    assert [event["pid"] for event in scene.events.since(0, 10)["events"]] == [100, 100, 999]


def test_a_stop_after_a_breather_answers_only_a_close_that_came_since() -> None:
    scene = Scene()
    scene.close(generation=5, readable_ns=1000)
    scene.node.acks[0] = [ack("stopped", 5, 1200), ack("breather", 5, 5000, "running")]
    scene.node.acks[0] += [ack("stopped", 5, 9000)]
    scene.collect()
    assert scene.latencies == [200]
    scene.close(generation=7, readable_ns=10_000)
    scene.node.acks[0] += [ack("breather", 6, 9500, "running"), ack("stopped", 7, 10_400)]
    scene.collect()
    assert scene.latencies == [200, 400]
    kinds = [event["kind"] for event in scene.events.since(0, 100)["events"]]
    assert kinds == ["stopped", "breather", "stopped", "breather", "stopped"]


@pytest.mark.parametrize(
    ("generation", "acknowledged", "reached"),
    [(5, 5, True), (5, 6, True), (6, 5, False), (0xFFFF_FFFF, 0, True), (0, 0xFFFF_FFFF, False)],
)
def test_generations_wrap(generation: int, acknowledged: int, reached: bool) -> None:
    assert generation_reached(generation, acknowledged) is reached


def test_a_rank_s_stop_is_told_but_the_job_s_is_what_counts() -> None:
    scene = Scene()
    scene.node.runners = {1: 100}
    scene.close(generation=5, readable_ns=1000)
    scene.node.acks |= {0: [ack("stopped", 5, 1400)], 1: [ack("stopped", 5, 1300)]}
    scene.collect()
    assert scene.latencies == [400]
    assert len(scene.events.since(0, 10)["events"]) == 2


def test_a_stop_tells_which_request_it_answers_and_the_request_how_long_it_took() -> None:
    scene = Scene()
    flight = scene.close(generation=5, readable_ns=1000)
    flight.trace = TraceContext("a" * 32, "b" * 16)
    scene.node.acks |= {0: [ack("stopped", 5, 1200)], 1: [ack("stopped", 5, 1300)]}
    scene.collect()
    assert flight.preemption_ns == 300, "the last tenant counts"
    first = scene.told()[0]
    assert (first["latency_ns"], first["request_id"]) == (200, "r-1")
    assert (first["trace_id"], first["span_id"]) == ("a" * 32, "b" * 16)


def test_tenants_are_told_in_the_order_of_time() -> None:
    scene = Scene()
    scene.node.acks |= {0: [ack("stopped", 5, 1400), ack("resumed", 6, 2000)], 1: [ack("stopped", 5, 1300)]}
    scene.collect()
    assert [event["t_ns"] for event in scene.told()] == [1300, 1400, 2000]


def test_time_counts_as_harvested_while_any_tenant_runs() -> None:
    scene = Scene()  # both run from 0 on
    scene.node.acks[0] = [ack("stopped", 5, 1010)]  # woken, and from then on stopping, at 1000
    scene.collect(2000)
    assert scene.watch.harvested_ns(2000) == 2000
    scene.node.acks[1] = [ack("stopped", 5, 2510)]
    scene.collect(3000)
    assert scene.watch.harvested_ns(3000) == 2500
    scene.node.acks[0] = [*scene.node.acks[0], ack("resumed", 6, 4000)]
    scene.collect(5000)
    assert scene.watch.harvested_ns(5000) == 3500


def test_a_tenant_that_is_gone_harvests_no_longer() -> None:
    scene = Scene()
    scene.node.acks.clear()
    scene.collect(700)
    assert scene.watch.harvested_ns(9000) == 700


def test_harvest_of_an_unknown_tenant_s_stop() -> None:
    harvest = Harvest()
    harvest.stopped((1, 1), 50)
    assert harvest.total_ns(100) == 0


def test_a_tenant_that_joins_a_closed_gate_was_not_preempted() -> None:
    scene = Scene()
    scene.close(generation=5, readable_ns=1000)
    scene.node.acks[7] = []
    scene.collect(now_ns=2000)
    scene.node.acks[7] = [ack("stopped", 5, 3000)]
    scene.collect(now_ns=4000)
    assert scene.latencies == []
