"""Policy budget with real processes: a tenant runs in slices while a request decodes, and no oftener."""

from pathlib import Path
from typing import Any

import pytest

from valve_sidecar.config import DATA_PLANES

from .stage import Request, Sidecar, Stage, valve, wait_until

pytestmark = pytest.mark.integration
BUDGET = ("--policy", "budget", "--slo-tpot-ms", "100")  # the engine's tokens come every 5 ms
PERIOD_NS = 2**28


@pytest.fixture(autouse=True, params=DATA_PLANES)
def data_plane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALVE_DATA_PLANE", request.param)


def slices(sidecar: Sidecar) -> list[dict[str, Any]]:
    return [event for event in sidecar.events("open") if "slice_until_ns" in event]


def ended_slices(sidecar: Sidecar) -> list[dict[str, Any]]:
    return [event for event in sidecar.events("close") if not event["request_id"]]


def test_a_tenant_runs_in_slices_while_a_request_decodes(stage: Stage) -> None:
    stage.engine.behave = "pace"
    sidecar, tenant = stage.sidecar(*BUDGET), stage.tenant()
    promise = "TPOT up to 100 ms for 99 % of requests; at most 3.7 slices/s"
    wait_until(lambda: any(promise in line for line in sidecar.lines), "it says what it promises")
    tenant.wait_running()
    first = Request(sidecar.listen, "r-1")
    wait_until(lambda: len(ended_slices(sidecar)) > 1, "two slices have ended by themselves")
    wait_until(lambda: sidecar.state()["gate"] == "slice", "another is open")
    second = Request(sidecar.listen, "r-2")
    second.wait_first_token()
    stage.engine.release.set()
    for request in (first, second):
        request.wait_done()
    tenant.wait_running()
    check_events(sidecar)
    check_state(sidecar)


def check_events(sidecar: Sidecar) -> None:
    opened, told = slices(sidecar), sidecar.events("request")
    ends = [event["slice_until_ns"] for event in opened]
    assert all(end % PERIOD_NS == 0 for end in ends), "on the clock of every sidecar"
    assert len(set(ends)) == len(ends), "one a period"
    assert all(event["t_ns"] >= event["due_ns"] for event in ended_slices(sidecar))
    assert {event["request_id"]: event["closes_seen"] for event in told} == {"r-1": 1, "r-2": 0}
    assert next(event for event in told if event["request_id"] == "r-1")["slices_seen"] == len(opened)
    resumed = [event["t_ns"] for event in sidecar.events("resumed")]
    arrival_ns = min(event["arrival_ns"] for event in told)
    assert any(arrival_ns < t_ns < max(ends) for t_ns in resumed), "the tenant ran in a slice"
    after_slices = [e for e in sidecar.events("stopped") if e.get("latency_ns") and not e["request_id"]]
    assert after_slices, "the stop that ends a slice is measured"


def check_state(sidecar: Sidecar) -> None:
    state = sidecar.state()
    budget, counters = state["budget"], state["counters"]
    assert (budget["slo_ms"], budget["period_ms"], budget["problem"]) == (100, PERIOD_NS / 1e6, "")
    assert counters["slices"] == len(slices(sidecar))
    assert counters["sliced"] >= 1
    assert counters["slice_s"] > 0
    assert 0 < counters["budget_spent_s"] < counters["budget_earned_s"]


def test_an_slo_below_the_engines_pace_is_told_and_nothing_is_taken(stage: Stage) -> None:
    stage.engine.behave = "pace"
    sidecar = stage.sidecar("--policy", "budget", "--slo-tpot-ms", "1")
    request = Request(sidecar.listen, "r-1")
    wait_until(lambda: "below the engine's own pace" in sidecar.state()["budget"]["problem"], "it is told")
    wait_until(lambda: any("below the engine's own pace" in line for line in sidecar.lines), "and logged")
    stage.engine.release.set()
    request.wait_done()
    assert slices(sidecar) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--policy", "budget"), "needs one SLO to spend"),
        (("--policy", "budget", "--slo-tpot-ms", "50", "--tpot-budget", "20%"), "needs one SLO to spend"),
        (("--slo-tpot-ms", "50"), "--slo-tpot-ms says something to --policy budget only"),
        (("--policy", "budget", "--tpot-budget", "much"), "must be a share such as 20% or 0.2"),
        (("--policy", "budget", "--slo-tpot-ms", "-1"), "must be a number from 0.1 to 10000"),
    ],
)
def test_an_slo_that_makes_no_sense_is_refused_at_the_start(
    options: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    answer = valve(tmp_path, "serve", "--upstream", "http://127.0.0.1:1", *options)
    assert answer.returncode == 2
    assert says in answer.stderr


def test_slices_of_two_sidecars_overlap_so_that_the_tenant_runs(stage: Stage) -> None:
    stage.engine.behave = "pace"
    slow = ("--policy", "budget", "--slo-tpot-ms", "200")  # with periods twice as long
    sidecars, tenant = [stage.sidecar(*BUDGET), stage.sidecar(*slow)], stage.tenant()
    tenant.wait_running()
    requests = [Request(sidecar.listen, f"r-{i}") for i, sidecar in enumerate(sidecars)]
    for request in requests:
        request.wait_first_token()
    begun_ns = max(sidecar.state()["t_ns"] for sidecar in sidecars)
    wait_until(
        lambda: sum(event["t_ns"] > begun_ns for event in sidecars[1].events("resumed")) > 1,
        "the tenant has run twice while both had a request in flight",
    )
    stage.engine.release.set()
    for request in requests:
        request.wait_done()
    for event in sidecars[1].events("resumed"):
        if event["t_ns"] > begun_ns:
            assert all(open_within(sidecar, event["woken_ns"], event["t_ns"]) for sidecar in sidecars)


def test_slices_of_two_workers_overlap_so_that_the_tenant_runs(stage: Stage) -> None:
    """Each has a row and a budget of its own, and so they share only the clock."""
    stage.engine.behave = "pace"
    sidecar, tenant = stage.sidecar("--workers", "2", *BUDGET), stage.tenant()
    tenant.wait_running()
    requests = requests_at_every_worker(sidecar)
    begun_ns = sidecar.state()["t_ns"]
    wait_until(
        lambda: sum(event["t_ns"] > begun_ns for event in sidecar.events("resumed")) > 1,
        "the tenant has run twice while both workers had a request in flight",
    )
    stage.engine.release.set()
    for request in requests:
        request.wait_done()
    opened = [event for event in slices(sidecar) if event["t_ns"] > begun_ns]
    assert all(event["slice_until_ns"] % PERIOD_NS == 0 for event in opened)
    assert len({event["worker"] for event in opened}) == 2


def requests_at_every_worker(sidecar: Sidecar) -> list[Request]:
    """The kernel chooses who gets one: as many as it takes."""
    requests: list[Request] = []
    while not all(worker["in_flight"] for worker in sidecar.state()["workers"]):
        requests.append(Request(sidecar.listen, f"r-{len(requests)}"))
        requests[-1].wait_first_token()
    return requests


def open_within(sidecar: Sidecar, start_ns: int, end_ns: int) -> bool:
    """Whether this sidecar said open at any time between: the agent looked at one of them."""
    told = sorted(sidecar.events("open") + sidecar.events("close"), key=lambda event: int(event["t_ns"]))
    before = [event["kind"] for event in told if event["t_ns"] <= start_ns]
    return (
        not before
        or before[-1] == "open"
        or any(event["kind"] == "open" for event in told if start_ns < event["t_ns"] <= end_ns)
    )
