"""The budget in C against the one in Python: the same decisions and figures whatever happens."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from valve_sidecar.budget import Account, Budget, Goal

from .probe import BudgetProbe

MS = 1_000_000
GOALS = st.builds(
    Goal,
    slo_ns=st.sampled_from((0, 12 * MS, 50 * MS)),
    over=st.sampled_from((0.2, 3.0)),
    ttft_ns=st.sampled_from((0, 200 * MS)),
    period_min_ns=st.sampled_from((0, 300 * MS)),
)
LESSONS = ("costs", "load", "first", "base")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("arrive", "token", "token", "token", "rich", "finish", "hold", "close", *LESSONS)),
        st.integers(0, 4),
        st.integers(0, 60 * MS),
    ),
    max_size=120,
)


@settings(deadline=None, max_examples=200)
@given(GOALS, STEPS)
def test_both_decide_and_learn_the_same(goal: Goal, steps: list[tuple[str, int, int]]) -> None:
    ours, reference = BudgetProbe(goal), Budget(goal)
    accounts: dict[int, Account] = {}
    now_ns = 1 << 40
    for what, key, amount in steps:
        now_ns += amount
        _take(what, key, amount, now_ns, accounts, ours, reference)
        verdict = reference.decide([accounts[key] for key in sorted(accounts)], now_ns)
        assert ours.decide(now_ns) == (verdict.open, verdict.wake_ns)
        assert ours.figures() == _figures(reference)
    ours.close()


def _take(
    what: str,
    key: int,
    amount: int,
    now_ns: int,
    accounts: dict[int, Account],
    ours: BudgetProbe,
    reference: Budget,
) -> None:
    if what in ("arrive", "token", "rich", "hold", "finish", "base"):
        _move(what, key, amount, now_ns, accounts, ours, reference)
    elif what == "close":
        reference.close(now_ns)
        ours.learn("closed", now_ns, 0)
    elif what == "costs":
        reference.costs(amount // 16, amount // 64)
        ours.learn("costs", amount // 16, amount // 64)
    elif what == "load":
        reference.load(amount % 3 == 0, key)
        ours.learn("load", int(amount % 3 == 0), key)
    else:
        reference.first_token(amount * 6, key)
        ours.learn("first_token", amount * 6, key)


def _move(
    what: str,
    key: int,
    amount: int,
    now_ns: int,
    accounts: dict[int, Account],
    ours: BudgetProbe,
    reference: Budget,
) -> None:
    """Something happens to request `key`; it arrives if it is not there."""
    account = accounts.setdefault(key, Account())
    if what in ("token", "rich"):
        account.since_ns = account.since_ns or now_ns
        account.last_ns, account.tokens = now_ns, account.tokens + 1 + amount % 3
        account.tokens += 400 if what == "rich" else 0
    if what == "hold":
        account.held_back = not account.held_back
    ours.account(key, account)
    for step in range(200 if what == "base" else 0):
        calm, at_ns = step > 0 and (step + amount) % 7 > 0, now_ns - (200 - step) * (amount + 1)
        reference.decoded(account, at_ns, 1 + amount % 3, calm=calm)
        ours.decoded(key, at_ns, 1 + amount % 3, calm=calm)
    if what == "finish":
        reference.finished(account, account.tokens)
        ours.finished(key, account.tokens)
        del accounts[key]


@settings(deadline=None)
@given(st.integers(4 * MS, 12 * MS), st.lists(st.integers(1, 14 * MS), min_size=10, max_size=60))
def test_both_wait_for_the_end_of_an_iteration(pace_ns: int, gaps_ns: list[int]) -> None:
    """One rich stream, asked when the verdict says or a token comes, whichever is first."""
    ours, reference, account = BudgetProbe(Goal(slo_ns=50 * MS)), Budget(Goal(slo_ns=50 * MS)), Account()
    now_ns = 1 << 40
    for step in range(200):
        reference.decoded(account, now_ns - (200 - step) * pace_ns, 1, calm=step > 0)
        ours.decoded(0, now_ns - (200 - step) * pace_ns, 1, calm=step > 0)
    account.since_ns, account.tokens = now_ns, 10_000
    for gap_ns in gaps_ns:
        account.last_ns = now_ns
        ours.account(0, account)
        for at_ns in (now_ns, now_ns + gap_ns // 2, now_ns + gap_ns):
            verdict = reference.decide([account], at_ns)
            assert ours.decide(at_ns) == (verdict.open, verdict.wake_ns)
        now_ns += gap_ns
    ours.close()


def _figures(budget: Budget) -> tuple[float, ...]:
    return (
        budget.slices,
        budget.cut,
        budget.ended,
        budget.missed,
        budget.slo_ns,
        budget.period_ns,
        budget.slice_end_ns,
        budget.reserve_ns,
        budget.base_ns,
        budget.window,
    )
