"""What a plan says of memory: every policy on the same usage; Valve's only if it is given."""

import orjson

from valve_loadgen.plan import memory_plan
from valve_loadgen.plan.engine import Engine
from valve_loadgen.plan.fleet import plan
from valve_loadgen.plan.inputs import Traffic
from valve_loadgen.plan.observed import Observed, outcome
from valve_loadgen.plan.splits import Prealloc
from valve_sidecar.reclaim_limit import PER_HOUR, ReclaimLimit
from valve_sidecar.reservation import Reservation

from .planned import OPTIONS, chat


def test_valve_reclaims_within_its_limit_and_far_less_than_pages_kept_ready() -> None:
    told = plan(Traffic(chat(2.0)), OPTIONS, lambda _: Reservation(ReclaimLimit())).memory
    assert told is not None
    replays = told.replays
    assert set(replays) == {memory_plan.VALVE, memory_plan.READY, memory_plan.PEAK}
    assert 0 < replays["valve"].most_in_an_hour <= PER_HOUR
    assert replays["valve"].reclaims_per_hour * 100 < replays["prealloc"].reclaims_per_hour
    assert replays["split_at_peak"].stalls == 0
    assert told.replicas == 4
    assert told.total_pages == Engine().kv_pages
    assert orjson.loads(orjson.dumps(told.as_json()))["policies"]["valve"]["most_in_an_hour"] <= PER_HOUR
    assert [row[0] for row in told.rows()] == list(memory_plan.TITLES.values())


def test_without_valve_s_policy_the_others_are_told() -> None:
    told = plan(Traffic(chat(1.0)), OPTIONS).memory
    assert told is not None
    assert "valve" not in told.replays


def test_where_tokens_are_not_known_nothing_is_told() -> None:
    seen = Observed(outcome([(0, 0.0, 50.0)]), ["a"], 100.0, 100.0, 1.0)
    assert plan(Traffic(observed=seen), OPTIONS).memory is None


def test_policies_see_the_same_usage() -> None:
    seen: list[object] = []

    def remember(usage: object) -> Prealloc:
        seen.append(usage)
        return Prealloc()

    plan(Traffic(chat(1.0)), OPTIONS, remember)
    assert len(seen) == 4
