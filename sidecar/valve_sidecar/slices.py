"""Carries out what the budget decides, and tells of it; the native plane's is in native/intake/gate.c."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .budget import NEVER_NS, Budget, Goal
from .flight import Flight

NO_BUDGET: dict[str, float] = dict.fromkeys(
    ("slices", "slices_cut", "slice_s", "sliced", "sliced_missed", "budget_earned_s", "budget_spent_s"), 0
)


class Slices:
    """`held`: what is in flight, empty when nothing may open; `begin` and `end` move the gate, the latter
    told when that was due.
    """

    def __init__(
        self,
        goal: Goal,
        held: Callable[[], Sequence[Flight]],
        begin: Callable[[int], None],
        end: Callable[[int], None],
    ) -> None:
        self.budget = Budget(goal)
        self._held, self._begin, self._end = held, begin, end
        self._timer: asyncio.TimerHandle | None = None
        self._began_ns = self._ended_ns = 0
        self._slice_ns = self._earned_ns = self._spent_ns = 0

    @property
    def open(self) -> bool:
        return self.budget.slice_end_ns > 0

    def look(self) -> None:
        """Something has changed, or is due."""
        now_ns, due_ns, flights = time.monotonic_ns(), self.budget.slice_end_ns, self._held()
        verdict = self.budget.decide([flight.account for flight in flights], now_ns)
        if verdict.open and not due_ns:
            self._began_ns = now_ns
            self._begin(self.budget.slice_end_ns)
        if due_ns and not verdict.open:
            self.account(now_ns)
            self._end(min(due_ns, now_ns))
        self._look_again(verdict.wake_ns, now_ns)

    def cut(self) -> None:
        """An arrival, or a lapsed lease, has ended the slice that is open."""
        now_ns = time.monotonic_ns()
        self.budget.close(now_ns)
        self.account(now_ns)

    def account(self, now_ns: int) -> None:
        self._slice_ns += now_ns - self._began_ns
        self._ended_ns = now_ns + self.budget.stop_ns

    def stop(self) -> None:
        self._look_again(NEVER_NS, 0)

    # ---- what the intake tells ----

    def arrived(self, flight: Flight, others: int) -> None:
        flight.slices_before, flight.others = self.budget.slices, others

    def token(self, flight: Flight, now_ns: int, decode_gap_ns: int, tokens: int) -> None:
        """`decode_gap_ns`: 0 if a prompt lengthened it; `tokens`: so far."""
        account = flight.account
        first = not account.since_ns
        if first:
            account.since_ns = now_ns
            self.budget.first_token(now_ns - flight.readable_ns, flight.others)
        else:
            calm = self._undisturbed(flight) and decode_gap_ns > 0
            self.budget.decoded(account, now_ns, max(tokens - account.tokens, 0), calm=calm)
        account.last_ns, account.tokens = now_ns, tokens
        if first:
            self.look()

    def held_back(self, flight: Flight, since_ns: int, now_ns: int) -> None:
        """Its client took nothing meanwhile: that time is not the engine's."""
        if flight.account.since_ns:
            flight.account.since_ns += now_ns - since_ns
            flight.account.last_ns = now_ns
            self.look()

    def finished(self, flight: Flight) -> None:
        account, tokens = flight.account, flight.tokens
        flight.slices_seen = self.budget.slices - flight.slices_before
        if account.since_ns and tokens > 1:
            self._earned_ns += self.budget.slo_ns * (tokens - 1)
            self._spent_ns += account.last_ns - account.since_ns
            self.budget.finished(account, tokens)

    def _undisturbed(self, flight: Flight) -> bool:
        return not self.open and self._ended_ns <= flight.account.last_ns and not flight.account.held_back

    def _look_again(self, at_ns: int, now_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at_ns != NEVER_NS:
            self._timer = asyncio.get_running_loop().call_later((at_ns - now_ns) / 1e9, self.look)

    # ---- what it tells ----

    def counters(self) -> dict[str, float]:
        budget = self.budget
        return {
            "slices": budget.slices,
            "slices_cut": budget.cut,
            "slice_s": self._slice_ns / 1e9,
            "sliced": budget.ended,
            "sliced_missed": budget.missed,
            "budget_earned_s": self._earned_ns / 1e9,
            "budget_spent_s": self._spent_ns / 1e9,
        }

    def state(self) -> dict[str, Any]:
        budget, now_ns = self.budget, time.monotonic_ns()
        paid_ns = min((budget.paid_until_ns(each.account) for each in self._held()), default=NEVER_NS)
        kept_ns = int(budget.reserve_ns) + budget.stop_ns
        balance_ns = NEVER_NS if paid_ns == NEVER_NS else max(paid_ns + kept_ns - now_ns, 0)
        return budget_state(
            budget.slice_end_ns,
            budget.slo_ns,
            budget.period_ns,
            int(budget.reserve_ns),
            int(budget.base_ns),
            balance_ns,
        )


def budget_state(
    slice_until_ns: int, slo_ns: int, period_ns: int, reserve_ns: int, base_ns: int, balance_ns: int
) -> dict[str, Any]:
    """As /state has it; docs/events.md."""
    return {
        "slice_until_ns": slice_until_ns,
        "slo_ms": slo_ns / 1e6,
        "period_ms": period_ns / 1e6,
        "reserve_ms": reserve_ns / 1e6,
        "baseline_ms": base_ns / 1e6,
        "balance_ms": None if balance_ns == NEVER_NS else balance_ns / 1e6,
        "problem": too_tight(slo_ns, base_ns),
    }


def too_tight(slo_ns: int, base_ns: int) -> str:
    """Why there is nothing to spend; empty if there is."""
    if not slo_ns or base_ns < slo_ns:
        return ""
    return (
        f"the TPOT SLO of {slo_ns / 1e6:.3g} ms is below the engine's own pace of {base_ns / 1e6:.3g} ms: "
        "no slice can be paid for; raise --slo-tpot-ms"
    )


def merge_budgets(parts: Iterable[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Of several workers the first's, with the tightest balance and the first problem."""
    told = [part for part in parts if part]
    if not told:
        return None
    balances = [part["balance_ms"] for part in told if part["balance_ms"] is not None]
    return told[0] | {
        "slice_until_ns": min(part["slice_until_ns"] for part in told),
        "reserve_ms": max(part["reserve_ms"] for part in told),
        "balance_ms": min(balances, default=None),
        "problem": next((part["problem"] for part in told if part["problem"]), ""),
    }
