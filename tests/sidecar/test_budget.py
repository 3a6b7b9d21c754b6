"""The budget policy: what a slice needs, what the reserve learns, and its promises on a simulated engine."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valve_sidecar.budget import LATE, NEVER_NS, Account, Budget, Goal, Verdict, period_ns

MS = 1_000_000
SLO_NS = 50 * MS
T0 = 1 << 40  # a period's end, whatever the period


def budget(**more: int) -> Budget:
    return Budget(Goal(slo_ns=SLO_NS, **more))


def rich(now_ns: int) -> Account:
    """A stream that has earned a second more than it has spent, and had a token just now."""
    return Account(since_ns=now_ns - 4_000 * MS, last_ns=now_ns, tokens=101)


# ---- a slice ----


def test_a_slice_opens_when_it_is_paid_for_and_ends_with_the_period() -> None:
    policy = budget()
    assert policy.decide([rich(T0)], T0) == Verdict(True, T0 + policy.period_ns)
    assert policy.decide([rich(T0)], T0 + policy.period_ns - 1).open


def test_a_slice_that_is_over_ends_before_another_opens_however_late_that_is_seen() -> None:
    policy = budget()
    policy.decide([rich(T0)], T0)
    late_ns = T0 + policy.period_ns + 30 * MS
    verdict = policy.decide([rich(late_ns)], late_ns)
    assert (verdict.open, policy.slices) == (False, 1)
    assert policy.decide([rich(verdict.wake_ns)], verdict.wake_ns).open


def test_no_slice_without_anything_in_flight_or_before_every_first_token() -> None:
    assert budget().decide([], T0) == Verdict(False, NEVER_NS)
    assert budget().decide([rich(T0), Account()], T0) == Verdict(False, NEVER_NS)


def test_an_arrival_ends_a_slice_at_once_and_no_other_follows_in_the_period() -> None:
    policy = budget()
    policy.decide([rich(T0)], T0)
    policy.close(T0 + 10 * MS)
    verdict = policy.decide([rich(T0 + 20 * MS)], T0 + 20 * MS)
    assert (verdict.open, policy.cut) == (False, 1)
    assert policy.decide([rich(T0 + policy.period_ns)], T0 + policy.period_ns).open


def test_the_poorest_stream_decides() -> None:
    policy = budget()
    poor = Account(since_ns=T0 - 100 * MS, last_ns=T0, tokens=3)  # earned 100, spent 100
    assert not policy.decide([rich(T0), poor], T0).open


def test_what_the_engine_or_the_window_says_bars_slices() -> None:
    policy = budget()
    policy.decide([rich(T0)], T0)
    policy.load(waiting=True, capacity=0)
    assert policy.decide([rich(T0)], T0 + MS) == Verdict(False, NEVER_NS), "a request waits in the engine"
    policy.load(waiting=False, capacity=2)
    later = T0 + policy.period_ns
    assert not policy.decide([rich(later)] * 2, later).open, "a next request would have to wait"
    assert policy.decide([rich(later)], later).open


def test_no_slice_for_less_than_its_own_costs() -> None:
    policy = budget()
    policy.costs(stop_ns=5 * MS, resume_ns=5 * MS)
    end_ns = T0 + policy.period_ns
    assert not policy.decide([rich(end_ns - 39 * MS)], end_ns - 39 * MS).open
    assert policy.decide([rich(end_ns - 41 * MS)], end_ns - 41 * MS).open


def test_a_stream_has_had_a_token_in_the_period_before_a_slice() -> None:
    stream = rich(T0 - 1)
    assert not budget().decide([stream], T0 + MS).open
    assert budget().decide([rich(T0 + MS)], T0 + MS).open


def paced(**more: int) -> Budget:
    """One that knows the engine's pace: 8 ms a token."""
    policy = budget(**more)
    decode(policy, 8 * MS, tokens=1, count=100)
    return policy


def test_a_slice_opens_late_in_an_iteration() -> None:
    policy = paced()
    verdict = policy.decide([rich(T0)], T0)
    assert verdict == Verdict(False, T0 + int(LATE * policy.base_ns))
    assert policy.decide([rich(T0)], verdict.wake_ns) == Verdict(True, T0 + policy.period_ns)


def test_a_token_that_is_due_already_is_not_waited_for() -> None:
    assert paced().decide([rich(T0)], T0 + 9 * MS).open


def test_streams_out_of_step_cost_an_iteration_at_most() -> None:
    policy, now_ns = paced(), T0
    while not policy.decide([rich(now_ns)], now_ns).open:
        now_ns += MS  # always another one's token
    assert now_ns - T0 == pytest.approx(policy.base_ns, abs=MS)


def test_a_client_that_takes_nothing_neither_pays_nor_bars() -> None:
    stuck = Account(since_ns=1, last_ns=2, tokens=1, held_back=True)
    assert budget().decide([rich(T0), stuck], T0).open


@given(st.integers(1, 10**10), st.integers(0, 10**10))
def test_periods_are_powers_of_two_that_keep_the_rate(slo_ns: int, least_ns: int) -> None:
    span_ns = period_ns(slo_ns, least_ns)
    assert span_ns & (span_ns - 1) == 0
    assert span_ns >= min(max(2 * slo_ns, least_ns), 1 << 32)


# ---- what it learns ----


def end(policy: Budget, *, missed: bool, sliced: bool = True) -> None:
    took_ns = 9 * SLO_NS + missed
    policy.finished(Account(since_ns=T0, last_ns=T0 + took_ns, tokens=10, sliced=sliced), 10)


def test_a_miss_doubles_the_reserve_and_two_hundred_others_halve_it() -> None:
    policy = budget()
    before = policy.reserve_ns
    end(policy, missed=True)
    assert policy.reserve_ns == 2 * before
    for _ in range(199):
        end(policy, missed=False)
    assert policy.reserve_ns == pytest.approx(before, rel=0.01)


def test_requests_that_no_slice_was_taken_from_teach_nothing() -> None:
    policy = budget()
    before = policy.reserve_ns
    for missed in (True, False):
        end(policy, missed=missed, sliced=False)
    assert (policy.reserve_ns, policy.ended) == (before, 0)


@given(st.lists(st.booleans(), max_size=400))
def test_the_reserve_does_not_wind_up(misses: list[bool]) -> None:
    policy = budget()
    for missed in misses:
        end(policy, missed=missed)
    assert SLO_NS <= policy.reserve_ns <= 32 * SLO_NS


def test_the_window_halves_on_a_late_first_token_and_grows_by_one_each_round() -> None:
    policy = budget(ttft_ns=100 * MS)
    policy.first_token(200 * MS, 0)
    assert policy.window > 1000, "alone, it was its own prompt"
    policy.first_token(200 * MS, 15)
    assert policy.window == 8
    for _ in range(8):
        policy.first_token(50 * MS, 8)
    assert 8.9 < policy.window < 9.1


def decode(policy: Budget, gap_ns: int, tokens: int, count: int) -> None:
    stream = Account()
    for step in range(1, count + 1):
        policy.decoded(stream, T0 + step * gap_ns, tokens, calm=True)


def test_a_relative_budget_waits_for_the_baseline_and_follows_it() -> None:
    policy = Budget(Goal(over=0.2))
    assert not policy.decide([rich(T0)], T0).open
    decode(policy, 40 * MS, tokens=4, count=30)  # four tokens an event
    assert policy.slo_ns == pytest.approx(12 * MS, rel=0.03)
    decode(policy, 20 * MS, tokens=1, count=400)
    assert policy.slo_ns == pytest.approx(24 * MS, rel=0.03)


def test_what_comes_after_a_slice_says_nothing_about_the_baseline() -> None:
    policy, stream, now_ns = Budget(Goal(over=0.2)), Account(), T0
    for step in range(400):
        held_up = step % 20 == 0  # the tokens of a slice come at its end, all at once
        now_ns += 100 * MS if held_up else 1000 if step % 20 < 3 else 10 * MS
        policy.decoded(stream, now_ns, 1, calm=not held_up)
    assert policy.base_ns == pytest.approx(10 * MS, rel=0.1)


# ---- on a simulated engine ----


@dataclass
class Stream:
    at_ns: int
    prompt: int
    left: int
    account: Account = field(default_factory=Account)
    counted: int = 0  # tokens that its events have shown
    first_ns: int = 0


@dataclass
class Engine:
    """Continuous batching; while a slice is open it runs at `share` of its speed. `event`: tokens an event.

    Slices are paid for by streams; the engine's own prompts delay them besides.
    """

    policy: Budget
    step_ns: int = 8 * MS
    sequence_ns: int = 80_000
    token_ns: int = 33_000
    share: float = 0.0
    event: int = 1
    stop_ns: int = 300_000
    now_ns: int = T0
    waiting: list[Stream] = field(default_factory=list)
    running: list[Stream] = field(default_factory=list)
    tpots_ns: list[float] = field(default_factory=list)
    slice_ns: int = 0

    def play(self, arrivals: list[Stream]) -> None:
        arrivals = sorted(arrivals, key=lambda stream: stream.at_ns)
        while arrivals or self.waiting or self.running:
            if not self.waiting and not self.running:
                self.now_ns = max(self.now_ns, arrivals[0].at_ns)
            self._admit(arrivals)
            self._iterate(arrivals)

    def _admit(self, arrivals: list[Stream]) -> None:
        while arrivals and arrivals[0].at_ns <= self.now_ns:
            self.policy.close(self.now_ns)
            self.waiting.append(arrivals.pop(0))

    def _iterate(self, arrivals: list[Stream]) -> None:
        taken, slices = self.waiting[:1], self.policy.slices
        work_ns = self.step_ns + self.sequence_ns * len(self.running)
        self._work(work_ns + self.token_ns * sum(stream.prompt for stream in taken), arrivals)
        calm = not taken and slices == self.policy.slices and not self.policy.slice_end_ns
        for stream in self.running[:]:
            self.policy.decoded(stream.account, self.now_ns, 1, calm=calm)
            self._yield_token(stream)
        for stream in taken:
            self.waiting.remove(stream)
            self.running.append(stream)
            self._yield_token(stream)

    def _work(self, left_ns: float, arrivals: list[Stream]) -> None:
        while left_ns > 0:
            flights = [stream.account for stream in (*self.running, *self.waiting)]
            was_open = self.policy.slice_end_ns > 0
            verdict = self.policy.decide(flights, self.now_ns)
            if was_open and not verdict.open:
                self.now_ns += self.stop_ns
            until_ns = min(verdict.wake_ns, arrivals[0].at_ns if arrivals else NEVER_NS)
            until_ns = max(until_ns, self.now_ns + 1)
            pace = self.share if verdict.open else 1.0
            done_ns = self.now_ns + left_ns / pace if pace else NEVER_NS
            stop_ns = int(min(until_ns, done_ns + 1))
            left_ns -= (stop_ns - self.now_ns) * pace
            self.slice_ns += (stop_ns - self.now_ns) if verdict.open else 0
            self.now_ns = stop_ns
            self._admit(arrivals)

    def _yield_token(self, stream: Stream) -> None:
        stream.counted += 1
        stream.left -= 1
        account = stream.account
        if stream.counted == 1:
            account.since_ns = stream.first_ns = self.now_ns
        if stream.counted % self.event == 0 or not stream.left or stream.counted == 1:
            account.last_ns, account.tokens = self.now_ns, stream.counted
        if not stream.left:
            self.running.remove(stream)
            self.policy.finished(account, stream.counted)
            if stream.counted > 1:
                self.tpots_ns.append((self.now_ns - stream.first_ns) / (stream.counted - 1))

    @property
    def attainment(self) -> float:
        return sum(tpot <= SLO_NS for tpot in self.tpots_ns) / len(self.tpots_ns)


def traffic(seed: int, count: int, gap_ms: float, prompt: int, output: int, burst: int = 1) -> list[Stream]:
    draw, at_ns, streams = random.Random(seed), T0, []
    for number in range(count):
        if number % burst == 0:
            at_ns += int(draw.expovariate(1 / (gap_ms * burst)) * MS)
        tokens = 2 + int(draw.expovariate(1 / output))
        streams.append(Stream(at_ns, 1 + int(draw.expovariate(1 / prompt)), tokens))
    return streams


@pytest.mark.parametrize(
    ("load", "engine", "least_share"),
    [
        ({"gap_ms": 300, "prompt": 1000, "output": 200}, {}, 0.45),
        ({"gap_ms": 300, "prompt": 1000, "output": 200}, {"share": 0.5}, 0.6),
        ({"gap_ms": 300, "prompt": 1000, "output": 200, "burst": 12}, {}, 0.3),
        ({"gap_ms": 1500, "prompt": 6000, "output": 300}, {}, 0.3),
        ({"gap_ms": 60, "prompt": 100, "output": 200}, {}, 0.3),
        ({"gap_ms": 300, "prompt": 1000, "output": 200}, {"event": 4}, 0.4),
    ],
    ids=["even", "half speed", "bursts", "long prompts", "large batches", "four tokens an event"],
)
def test_it_keeps_the_slo_and_spends_what_it_leaves(
    load: dict[str, int], engine: dict[str, float], least_share: float
) -> None:
    policy = budget()
    policy.costs(300_000, 100_000)
    stage = Engine(policy, **engine)
    stage.play(traffic(1, 700, **load))
    span_ns = stage.now_ns - T0
    alone = Engine(budget())
    alone.policy.load(waiting=True, capacity=0)
    alone.play(traffic(1, 700, **load))
    assert stage.attainment >= alone.attainment - 0.01, "a burst's prompts make streams miss without us"
    assert policy.missed <= 0.01 * policy.ended
    assert stage.slice_ns / span_ns > least_share
    assert policy.slices <= span_ns / policy.period_ns + 1


def test_an_engine_slower_than_the_slo_gets_no_slice_at_its_cost() -> None:
    stage = Engine(budget(), step_ns=60 * MS)
    stage.play(traffic(2, 60, gap_ms=2000, prompt=100, output=50))
    assert stage.policy.slices == 0


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32),
    st.integers(20, 800),
    st.integers(1, 4000),
    st.integers(1, 200),
    st.integers(1, 8),
    st.sampled_from((0.0, 0.3, 0.9)),
)
def test_whatever_the_load_a_slice_leaves_the_reserve_and_the_rate(
    seed: int, gap_ms: int, prompt: int, output: int, burst: int, share: float
) -> None:
    policy = Checked(Goal(slo_ns=SLO_NS))
    policy.costs(300_000, 100_000)
    stage = Engine(policy, share=share)
    stage.play(traffic(seed, 40, gap_ms, prompt, output, burst))
    assert policy.slices <= (stage.now_ns - T0) / policy.period_ns + 1


class Checked(Budget):
    """Looks after each decision whether what rule 2 says held."""

    opened_with = 0.0

    def decide(self, accounts: list[Account], now_ns: int) -> Verdict:  # type: ignore[override]
        before = self.slice_end_ns
        verdict = super().decide(accounts, now_ns)
        if verdict.open and not before:
            self.opened_with = self.reserve_ns
        if before and now_ns <= before:
            for account in accounts:
                balance_ns = account.since_ns + SLO_NS * (account.tokens - 1) - now_ns
                assert not account.since_ns or not account.sliced or balance_ns >= self.opened_with - 1
        return verdict


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from((10, 25, 50, 120)), min_size=2, max_size=4), st.integers(0, 1000))
def test_slices_of_several_sidecars_overlap(slos_ms: list[int], offset_ms: int) -> None:
    """Each with streams of its own that can always pay: all are open in the last part of the longest
    period, where a tenant is let run."""
    policies = [Budget(Goal(slo_ns=slo_ms * MS)) for slo_ms in slos_ms]
    longest_ns = max(policy.period_ns for policy in policies)
    end_ns = (T0 + offset_ms * MS | (longest_ns - 1)) + 1
    for policy in policies:
        now_ns = end_ns - policy.period_ns // 2
        last = Account(since_ns=now_ns - 1000 * MS, last_ns=now_ns, tokens=1 + 10_000)
        assert policy.decide([last], now_ns) == Verdict(True, end_ns)
