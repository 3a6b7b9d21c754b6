"""The checker finds what it must: each promise has a good history, and bad ones that it must flag."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from .checker import check
from .history import HELD, Census, Change, Exchange, Flight, History, Injection, Movement, Recovery
from .scenario import GATE, LOST, STOP, TURNED_AWAY, TWICE, UNANSWERED

S = 1_000_000_000


def good() -> History:
    """A request from 1 s to 5 s stops a tenant from 1.1 s to 6 s."""
    return History(
        "alone",
        1,
        injections=[Injection(0, "stop_engine", "closed", [], 1 * S, 5 * S)],
        exchanges=[Exchange("r", "whole", 1 * S, 2 * S, 5 * S, 5 * S, "exact")],
        flights=[Flight("r", 1 * S, 5 * S, 1)],
        changes=[
            Change("t", "stopped", S + 1, S + S // 10),
            Change("t", "resumed", 6 * S, 6 * S + 1),
        ],
        movements=[Movement("t", S // 2, S // 2), Movement("t", 7 * S, 7 * S)],
        recoveries=[Recovery(0, 100.0)],
        censuses=[Census(0, {"worker descriptors": 20}), Census(9 * S, {"worker descriptors": 22})],
        open_ns=[S // 2, 7 * S],
    )


def excused_by(history: History, *effects: str) -> History:
    history.injections.append(Injection(1, "kill_worker", "closed", list(effects), 1 * S, 6 * S))
    return history


def promises(history: History) -> set[str]:
    return {violation.promise for violation in check(history)}


def test_a_good_history_breaks_nothing() -> None:
    assert check(good()) == []


def exchange(outcome: str, meant: str = "whole", first_ns: int = 2 * S) -> Exchange:
    return Exchange("bad", meant, 1 * S, first_ns, max(first_ns, 1), 5 * S, outcome)


@pytest.mark.parametrize("outcome", ["cut", "refused", "status_500", "status_503", "silent"])
def test_a_lost_request(outcome: str) -> None:
    history = good()
    history.exchanges.append(exchange(outcome))
    assert promises(history) == {"requests"}
    assert promises(excused_by(history, LOST)) == set()


def test_to_be_turned_away_is_not_to_be_cut() -> None:
    history = excused_by(good(), TURNED_AWAY)
    history.exchanges.append(exchange("status_503", first_ns=0))
    assert promises(history) == set()
    history.exchanges.append(exchange("cut"))
    assert promises(history) == {"requests"}


@pytest.mark.parametrize(("effect", "fine"), [(UNANSWERED, True), (TURNED_AWAY, False)])
def test_to_be_left_without_an_answer(effect: str, fine: bool) -> None:
    history = excused_by(good(), effect)
    history.exchanges.append(exchange("cut", first_ns=0))
    assert (promises(history) == set()) is fine
    history.exchanges[-1] = exchange("cut")
    assert promises(history) == {"requests"}, "it had begun"


def test_an_excuse_counts_in_its_time_only() -> None:
    history = good()
    history.injections.append(Injection(1, "kill_worker", "open", [LOST], 6 * S, 7 * S))
    history.exchanges.append(exchange("cut"))
    assert promises(history) == {"requests"}


@pytest.mark.parametrize("meant", ["whole", "broken"])
def test_an_altered_answer_has_no_excuse(meant: str) -> None:
    history = excused_by(good(), LOST, TURNED_AWAY)
    history.exchanges.append(exchange("altered", meant))
    assert promises(history) == {"requests"}


def test_a_broken_answer_must_not_look_whole() -> None:
    history = good()
    history.exchanges.append(exchange("cut", "broken"))
    assert promises(history) == set()
    history.exchanges.append(exchange("exact", "broken"))
    assert promises(history) == {"requests"}


def test_two_closes_in_a_life() -> None:
    history = good()
    history.flights.append(Flight("twice", 1 * S, 5 * S, 2))
    assert promises(history) == {"at_most_once"}
    assert promises(excused_by(history, TWICE)) == set()


def test_two_stops_in_a_life_whatever_the_sidecar_says() -> None:
    history = good()
    history.changes[1:1] = [
        Change("t", "resumed", S + S // 5, S + S // 4),
        Change("t", "stopped", 2 * S, 3 * S),
    ]
    assert promises(history) == {"at_most_once"}


def test_the_stop_after_a_breather_is_not_a_second_one() -> None:
    history = good()
    history.changes[1:1] = [
        Change("t", "breather", 2 * S, 2 * S + 1),
        Change("t", "stopped", 4 * S, 4 * S + 1),
    ]
    history.movements.append(Movement("t", 3 * S, 3 * S))
    assert promises(history) == set()


def test_a_gate_that_is_open_beside_a_request() -> None:
    history = good()
    history.open_ns.append(3 * S)
    assert promises(history) == {"gate"}
    assert promises(excused_by(history, GATE)) == set()


def test_a_short_request_within_a_long_one() -> None:
    history = good()
    history.exchanges.append(Exchange("short", "whole", 2 * S, 2 * S + 1, 2 * S + 2, 2 * S + 3, "exact"))
    history.open_ns.append(4 * S)
    assert promises(history) == {"gate"}


def test_a_tenant_that_is_resumed_beside_a_request() -> None:
    history = good()
    history.changes[1] = Change("t", "resumed", 4 * S, 4 * S + 1)
    assert promises(history) == {"gate"}


@pytest.mark.parametrize(("after_ns", "before_ns"), [(2 * S, 2 * S), (2 * S, 6 * S), (S + S // 10, 2 * S)])
def test_a_tenant_that_moves_while_it_is_stopped(after_ns: int, before_ns: int) -> None:
    history = good()
    history.movements.append(Movement("t", after_ns, before_ns))
    assert promises(history) == {"halted"}
    assert promises(excused_by(history, STOP)) == set()


def test_what_is_on_the_gpu_may_run_on_where_only_submissions_are_stopped() -> None:
    history = good()
    history.movements.append(Movement("t", 9 * S // 2, 9 * S // 2))
    assert promises(history) == {"halted", "drained"}
    history.changes[0] = replace(history.changes[0], level=HELD)
    assert promises(history) == set()


def test_a_movement_that_may_have_been_after_the_resume() -> None:
    history = good()
    history.movements.append(Movement("t", 2 * S, 6 * S + 1))
    assert promises(history) == set()


def test_a_tenant_that_was_never_resumed() -> None:
    history = good()
    del history.changes[1]
    assert promises(history) == {"halted"}


def test_a_tenant_that_never_stops_beside_a_request() -> None:
    history = good()
    history.changes.clear()
    history.movements.append(Movement("t", 4 * S + S // 2, 4 * S + S // 2))
    assert promises(history) == {"drained"}
    assert promises(excused_by(history, GATE)) == set()


def test_what_does_not_recover() -> None:
    history = good()
    history.recoveries.append(Recovery(0, 2001.0))
    assert promises(history) == {"converged"}
    history.recoveries[-1] = Recovery(0, 5.0, "the tenant stays stopped")
    assert promises(history) == {"converged"}


@pytest.mark.parametrize(
    ("name", "before", "after", "flagged"),
    [
        ("worker descriptors", 20, 29, True),
        ("worker descriptors", 20, 28, False),
        ("processes", 5, 6, True),
        ("files", 5, 6, True),
        ("cgroups", 1, 2, True),
        ("worker memory_kib", 0, 49 * 1024, True),
        ("processes", 5, 4, False),
    ],
)
def test_what_is_left_over(name: str, before: int, after: int, flagged: bool) -> None:
    history = good()
    history.censuses = [Census(0, {name: before}), Census(9 * S, {name: after})]
    assert promises(history) == ({"leaks"} if flagged else set())


def test_what_is_left_when_all_have_ended() -> None:
    history = good()
    history.censuses.append(Census(10 * S, {"left processes": 1}))
    assert promises(history) == {"leaks"}


def test_patience_is_for_what_takes_time_only() -> None:
    history = good()
    history.recoveries.append(Recovery(0, 2001.0))
    assert check(history, patience=2.0) == []
    history.exchanges.append(exchange("cut"))
    assert [violation.promise for violation in check(history, patience=2.0)] == ["requests"]


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    good().write(tmp_path / "history.json")
    assert History.read(tmp_path / "history.json") == good()
