"""Which promises a history breaks: pure, and apart from everything that made the history."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from .history import HALTED, HELD, Change, Exchange, History, Injection, Movement
from .scenario import GATE, LOST, STOP, TURNED_AWAY, TWICE, UNANSWERED

CONVERGE_MS = 2000.0
BESIDE_NS = 2_000_000_000  # an unacknowledged stop may take so long; it is told as slow long before
BREATHER_NS = 3_000_000_000  # two seconds, and the stop that ends them
AWAY = ("refused", "status_502", "status_503")
# How much more there may be at the end than at the beginning.
NONE_AFTERWARDS = ("left processes",)
TOLERANCES = {"descriptors": 8, "memory_kib": 48 * 1024}  # kept connections; caches


@dataclass(frozen=True, slots=True)
class Violation:
    """`promise`: the rule's name; `at_ns`: about when."""

    promise: str
    at_ns: int
    text: str


def check(history: History, patience: float = 1.0) -> list[Violation]:
    """Every violation, in order of time. An empty history breaks nothing, so look at what it counts.

    `patience`: how many times the promised time a recovery or a stop may take; no other promise has a time.
    """
    timed = (partial(not_recovered, patience=patience), partial(ran_beside_requests, patience=patience))
    found = [violation for rule in (*RULES, *timed) for violation in rule(history)]
    return sorted(found, key=lambda violation: violation.at_ns)


class Excuses:
    """The injections that allow one effect, by time."""

    def __init__(self, injections: Iterable[Injection], effect: str) -> None:
        self._spans = [(each.begun_ns, each.ended_ns) for each in injections if effect in each.effects]

    def cover(self, begin_ns: int, end_ns: int) -> bool:
        """Whether one of them overlaps [begin, end]."""
        return any(begin <= end_ns and end >= begin_ns for begin, end in self._spans)


# ---- requests ----


def lost_or_altered(history: History) -> Iterator[Violation]:
    """No online request is lost or altered for a reason of ours; nothing broken looks whole."""
    excuses = {effect: Excuses(history.injections, effect) for effect in (LOST, TURNED_AWAY, UNANSWERED)}
    for each in history.exchanges:
        effects = _what_may_do_this(each)
        excused = any(excuses[effect].cover(each.sent_ns, each.ended_ns) for effect in effects)
        if problem := _problem(each, excused):
            yield Violation("requests", each.ended_ns, f"{each.request_id}: {problem} {each.detail}")


def _what_may_do_this(each: Exchange) -> tuple[str, ...]:
    """The effects of which one suffices."""
    if each.first_ns or each.outcome not in (*AWAY, "cut"):
        return (LOST,)
    return (LOST, UNANSWERED) if each.outcome == "cut" else (LOST, UNANSWERED, TURNED_AWAY)


def _problem(each: Exchange, excused: bool) -> str:
    if each.outcome == "altered":
        return "altered"
    if each.meant == "broken":
        return "a broken answer looks whole" if each.outcome == "exact" else ""
    return "" if each.outcome in ("exact", "left") or excused else f"lost ({each.outcome})"


# ---- the gate ----


def preempted_twice(history: History) -> Iterator[Violation]:
    """At most one preemption in a request's life while the lease of its holder is live."""
    excuses = Excuses(history.injections, TWICE)
    for flight in history.flights:
        stops = _most_stops(history.changes, flight.arrival_ns, flight.finished_ns)
        seen = max(flight.closes_seen, stops)
        if seen > 1 and not excuses.cover(flight.arrival_ns, flight.finished_ns):
            yield Violation("at_most_once", flight.arrival_ns, f"{flight.request_id}: {seen} preemptions")


def _most_stops(changes: list[Change], begin_ns: int, end_ns: int) -> int:
    """Of any one tenant; a stop that ends a breather is none of its own."""
    stops: dict[str, int] = {}
    for change in changes:
        if begin_ns < change.woken_ns < end_ns:
            step = {"stopped": 1, "breather": -1}.get(change.kind, 0)
            stops[change.tenant] = stops.get(change.tenant, 0) + step
    return max(stops.values(), default=0)


def open_beside_requests(history: History) -> Iterator[Violation]:
    """Some live holder says closed for as long as a request is in flight, and no tenant is resumed."""
    excuses, flying = Excuses(history.injections, GATE), InFlight(history.exchanges)
    resumed = [change.woken_ns for change in history.changes if change.kind == "resumed"]
    for what, moments in (("the gate is open", history.open_ns), ("a tenant is resumed", resumed)):
        for at_ns in moments:
            beside = flying.at(at_ns)
            if beside and not excuses.cover(at_ns, at_ns):
                yield Violation("gate", at_ns, f"{what} while {beside.request_id} is in flight")


class InFlight:
    """Which request is in flight at a moment, by the engine's stamps: after its first byte left the engine
    and before its last did.
    """

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self._spans = sorted((e for e in exchanges if e.first_ns), key=lambda e: e.first_ns)
        self._begins = [e.first_ns for e in self._spans]
        self._longest_ns = max((e.last_ns - e.first_ns for e in self._spans), default=0)

    def at(self, at_ns: int, for_ns: int = 0) -> Exchange | None:
        """One that has been in flight for at least `for_ns` then."""
        index = bisect_right(self._begins, at_ns - for_ns) - 1
        while index >= 0 and self._begins[index] + self._longest_ns >= at_ns:
            each = self._spans[index]
            if each.first_ns < at_ns < each.last_ns:
                return each
            index -= 1
        return None


# ---- tenants ----


def moved_while_stopped(history: History) -> Iterator[Violation]:
    """Nothing computes between the acknowledgement that it is halted and the next resume."""
    excuses, periods = Excuses(history.injections, STOP), stopped_periods(history.changes, HALTED)
    for each in history.movements:
        period = _period_of(each, periods.get(each.tenant, []))
        if period and not excuses.cover(each.after_ns, each.before_ns):
            yield Violation("halted", each.after_ns, f"{each.tenant} moved, stopped since {period[0]}")


def stopped_periods(changes: Iterable[Change], level: str) -> dict[str, list[tuple[int, int]]]:
    """(seen stopped at this level, woken to run again) by tenant; what is never resumed stays so for ever."""
    periods: dict[str, list[tuple[int, int]]] = {}
    for change in sorted(changes, key=lambda change: change.done_ns):
        of_tenant = periods.setdefault(change.tenant, [])
        if of_tenant and of_tenant[-1][1] == FOR_EVER:
            of_tenant[-1] = (of_tenant[-1][0], change.woken_ns)
        if change.kind == "stopped" and change.level == level:
            of_tenant.append((change.done_ns, FOR_EVER))
    return periods


FOR_EVER = 1 << 62


def _period_of(movement: Movement, periods: list[tuple[int, int]]) -> tuple[int, int] | None:
    index = bisect_right(periods, (movement.after_ns, FOR_EVER)) - 1
    if index < 0 or movement.before_ns > periods[index][1]:
        return None
    return periods[index]


def ran_beside_requests(history: History, patience: float) -> Iterator[Violation]:
    """However slow a stop is: no tenant runs for long beside a request, but for a breather, and for what it had
    on the GPU when only its submissions could be stopped.
    """
    excuses, flying = Excuses(history.injections, GATE), InFlight(history.exchanges)
    held = stopped_periods(history.changes, HELD)
    breathers = [(c.tenant, c.woken_ns) for c in history.changes if c.kind == "breather"]
    for each in history.movements:
        beside = flying.at(each.after_ns, round(patience * BESIDE_NS))
        breathes = any(
            tenant == each.tenant and 0 < each.after_ns - at_ns < BREATHER_NS for tenant, at_ns in breathers
        )
        breathes = breathes or bool(_period_of(each, held.get(each.tenant, [])))
        if beside and not breathes and not excuses.cover(each.after_ns, each.before_ns):
            yield Violation("drained", each.after_ns, f"{each.tenant} runs beside {beside.request_id}")


# ---- afterwards ----


def not_recovered(history: History, patience: float) -> Iterator[Violation]:
    """Nothing stays frozen or gated for ever: all is as it should be within 2 s after a fault."""
    ends_ns = {each.number: each.ended_ns for each in history.injections}
    for each in history.recoveries:
        problem = each.problem or (
            f"took {each.took_ms:.0f} ms" if each.took_ms > patience * CONVERGE_MS else ""
        )
        if problem:
            yield Violation("converged", ends_ns.get(each.number, 0), f"fault {each.number}: {problem}")


def leaked(history: History) -> Iterator[Violation]:
    """No descriptors, processes, files, cgroups or memory are left over."""
    before: dict[str, int] = {}
    after: dict[str, tuple[int, int]] = {}
    for census in history.censuses:
        before = census.counts | before
        after |= {name: (count, census.at_ns) for name, count in census.counts.items()}
    for name, (count, at_ns) in after.items():
        more = count - (0 if name in NONE_AFTERWARDS else before[name])
        if more > TOLERANCES.get(name.rpartition(" ")[2], 0):
            yield Violation("leaks", at_ns, f"{more} more {name} than at the beginning")


RULES: tuple[Callable[[History], Iterator[Violation]], ...] = (
    lost_or_altered,
    preempted_twice,
    open_beside_requests,
    moved_while_stopped,
    leaked,
)
PROMISES = ("requests", "at_most_once", "gate", "halted", "drained", "converged", "leaks")
