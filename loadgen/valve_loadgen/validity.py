"""Owns the rules by which a run's figures may be believed; every broken one gives a reason (pure)."""

from collections.abc import Iterator
from typing import Any

from valve_loadgen.results import NO_GATE, ONLINE_ALONE, VALVE, Results

LAG_MS, LAG_SHARE = 1.0, 0.05
DELIVERED = 0.99


def reasons(
    results: Results, report: dict[str, Any], planned_tokens: dict[str, int], shared_core: bool
) -> list[str]:
    """Why the run is invalid; empty if it is valid. `planned_tokens`: output tokens by request name."""
    found = [reason for arm in (ONLINE_ALONE, NO_GATE, VALVE) for reason in _arm(arm, report["arms"][arm])]
    if shared_core:
        found.append("only one core: the load generator and the sidecar compete with the engines")
    if results.offline_errors:
        found.append(f"{len(results.offline_errors)} offline completions failed: {results.offline_errors[0]}")
    if results.lapses:
        found.append(f"the sidecar's lease lapsed {results.lapses} times")
    if not report["arms"]["offline_alone"]["offline_tokens_per_s"]:
        found.append("offline_alone: no offline tokens")
    return [*found, *_lengths(results, planned_tokens)]


def _arm(arm: str, figures: dict[str, Any]) -> Iterator[str]:
    if not figures["requests"]:
        yield f"{arm}: no requests"
        return
    failed = len(figures["errors"])
    if failed > (1 - DELIVERED) * figures["requests"]:
        yield f"{arm}: {failed} of {figures['requests']} requests failed: {figures['errors'][0]}"
    lag, ttft = figures["send_lag_ms"], figures["ttft_ms"]
    bound_ms = max(LAG_MS, LAG_SHARE * (ttft["p50"] or 0.0))
    if lag and lag["p99"] > bound_ms:
        yield f"{arm}: the client sent late, p99 {lag['p99']:.2f} ms over the bound of {bound_ms:.2f} ms"


def _lengths(results: Results, planned_tokens: dict[str, int]) -> Iterator[str]:
    exchanges = [each for window in results.windows for each in window.exchanges if each.ok]
    unequal = [each for each in exchanges if each.tokens != planned_tokens.get(each.name, each.tokens)]
    if unequal:
        each = unequal[0]
        asked = planned_tokens[each.name]
        yield f"{len(unequal)} responses not as long as asked: {each.request_id} {each.tokens}, not {asked}"
