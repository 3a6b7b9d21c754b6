"""The reservation: never above the limit, never too small for online work, and given back in the end."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from valve_sidecar import reservation
from valve_sidecar.reclaim_limit import WINDOW_S, ReclaimLimit
from valve_sidecar.reservation import DECREASE_S, INCREASE, PEAK_S, Reservation

TOTAL = 1000
FLOOR = 1  # a 1,024th
PAGES = st.integers(0, 2 * TOTAL)
GREED = st.sampled_from([0.0, 0.5, 1.0])
STEPS = st.lists(
    st.tuples(st.one_of(st.floats(0, 20), st.floats(0, 2 * WINDOW_S)), PAGES, PAGES, GREED), max_size=80
)


@dataclass
class Device:
    """Tenants take a share of what is not reserved, at once, and give back what is."""

    policy: Reservation
    tenants: int = 0
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.reclaims_s: list[float] = []

    def step(self, passed_s: float, used: int, soon: int = 0, greed: float = 1.0) -> int:
        self.now_s += passed_s
        pages = self.policy.reserve(self.now_s, used, soon, self.tenants, TOTAL)
        room = TOTAL - pages
        if self.tenants > room:
            self.reclaims_s.append(self.now_s)
        self.tenants = min(room, max(self.tenants, int(room * greed)))
        return pages


@given(st.integers(1, 4), STEPS)
def test_no_trace_reclaims_above_the_limit_or_starves_online(
    per_hour: int, steps: list[tuple[float, int, int, float]]
) -> None:
    device = Device(Reservation(ReclaimLimit(per_hour)))
    for passed_s, used, soon, greed in steps:
        pages = device.step(passed_s, used, soon, greed)
        assert min(used + soon, TOTAL) <= pages <= TOTAL
    for first_s in device.reclaims_s:
        assert sum(0 <= at_s - first_s < WINDOW_S for at_s in device.reclaims_s) <= per_hour
    assert device.policy.reclaims == len(device.reclaims_s)
    assert device.policy.refused == 0


def test_a_reclaim_takes_twice_the_demand_and_the_excess_is_given_back() -> None:
    device = Device(Reservation(ReclaimLimit()))
    assert device.step(0, 0) == FLOOR
    assert device.step(1, 100) == 100 * INCREASE
    assert device.step(DECREASE_S / 4, 100) == 150
    assert device.step(DECREASE_S, 100) == 100
    assert device.policy.reclaimed == 200 - FLOOR


def test_a_peak_is_remembered_and_then_forgotten() -> None:
    device = Device(Reservation(ReclaimLimit()))
    device.step(0, 0)
    device.step(1, 100)
    assert device.step(PEAK_S - 120, 10) == 100
    assert device.step(120, 10) == 10
    assert device.policy.reclaims == 1


def test_what_was_only_announced_is_no_peak() -> None:
    device = Device(Reservation(ReclaimLimit()))
    device.step(0, 0)
    assert device.step(1, 10, soon=90) == 200
    assert device.step(DECREASE_S, 10) == 10


def test_growing_into_what_tenants_leave_is_no_reclaim() -> None:
    policy = Reservation(ReclaimLimit(1))
    assert policy.reserve(0.0, 400, 0, 100, TOTAL) == 400
    assert policy.reserve(1.0, 900, 0, 100, TOTAL) == 900
    assert policy.reclaims == 0


def test_the_last_reclaim_takes_all_and_nothing_is_given_back_until_another_is_permitted() -> None:
    device = Device(Reservation(ReclaimLimit(2)))
    device.step(0, 0)
    device.step(1, 100)
    assert device.step(1, 300) == TOTAL
    assert device.step(WINDOW_S - 10, 0) == TOTAL
    assert device.step(20, 0) < TOTAL


def test_it_starts_from_what_is_reserved_already() -> None:
    device = Device(Reservation(ReclaimLimit(), start_pages=500))
    assert device.step(0, 0) == 500
    assert device.step(DECREASE_S / 2, 0) == 250


def test_memory_does_not_grow_with_time() -> None:
    policy = Reservation(ReclaimLimit())
    for second in range(20_000):
        policy.reserve(second, second * 7919 % 500, 0, 0, TOTAL)
    assert len(policy._peaks) <= PEAK_S / reservation.PEAK_STEP_S + 1


def test_tenants_that_have_not_given_back_yet_are_not_asked_beyond_the_limit() -> None:
    policy = Reservation(ReclaimLimit(1))
    policy.reserve(0.0, 0, 0, TOTAL - FLOOR, TOTAL)
    assert policy.reserve(1.0, 50, 0, TOTAL - FLOOR, TOTAL) == TOTAL
    assert policy.reserve(2.0, 60, 0, TOTAL - FLOOR, TOTAL) == TOTAL
    assert policy.reclaims == 1
