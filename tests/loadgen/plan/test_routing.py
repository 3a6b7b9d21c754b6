"""Which replicas serve whom: every deployment has some, none is left over, the needy get more."""

from hypothesis import given
from hypothesis import strategies as st

from valve_loadgen.plan.kernel import Rule
from valve_loadgen.plan.routing import BALANCED, DEDICATED, PACK_FIRST, ROUTINGS

loads = st.lists(st.floats(0, 10), min_size=1, max_size=12)


@given(loads, st.integers(1, 30))
def test_dedicated_replicas_are_all_used_and_shared_only_if_they_must_be(
    load: list[float], replicas: int
) -> None:
    fleet = ROUTINGS[DEDICATED].build(load, replicas, 8)
    owned = [set(range(base, base + size)) for base, size in fleet.parts]
    assert all(own and own <= set(range(replicas)) for own in owned)
    if len(load) <= replicas:
        assert sorted(replica for own in owned for replica in own) == list(range(replicas))
    else:
        assert all(len(own) == 1 for own in owned)


def test_further_replicas_go_where_the_load_by_replica_is_highest() -> None:
    assert ROUTINGS[DEDICATED].build([1.0, 6.0, 0.1], 6, 8).parts == [(0, 1), (1, 4), (5, 1)]


def test_too_many_deployments_are_spread_by_load() -> None:
    assert ROUTINGS[DEDICATED].build([1.0, 5.0, 4.5, 1.0], 2, 8).parts == [(1, 1), (0, 1), (1, 1), (0, 1)]


def test_a_pool_is_one_for_all_deployments() -> None:
    assert ROUTINGS[BALANCED].build([1.0, 2.0], 5, 8).parts == [(0, 5), (0, 5)]
    packed = ROUTINGS[PACK_FIRST].build([1.0], 5, 8)
    assert (packed.rule, packed.pack_limit) == (Rule.PACK_FIRST, 8)
