"""Owns the rules by which a run's figures may be believed; every broken one gives a reason (pure)."""

from collections.abc import Iterator
from typing import Any

from valve_loadgen.results import OFFLINE_ALONE, Results

LAG_MS, LAG_SHARE = 1.0, 0.05
DELIVERED = 0.99
ERROR_SHARE = 0.01
TTFT_ERROR_MS, GAP_ERROR_MS = 0.1, 0.01


def reasons(
    results: Results, report: dict[str, Any], planned_tokens: dict[str, int], shared_core: bool
) -> list[str]:
    """Why the run is invalid; empty if it is valid. `planned_tokens`: output tokens by request name."""
    arms = {arm: figures for arm, figures in report["arms"].items() if arm != OFFLINE_ALONE}
    found = [reason for arm, figures in arms.items() for reason in _arm(arm, figures)]
    if shared_core:
        found.append("only one core: the load generator and the sidecar compete with the engines")
    if results.offline_errors:
        found.append(f"{len(results.offline_errors)} offline completions failed: {results.offline_errors[0]}")
    if results.lapses:
        found.append(f"the sidecar's lease lapsed {results.lapses} times")
    if not report["arms"]["offline_alone"]["offline_tokens_per_s"]:
        found.append("offline_alone: no offline tokens")
    return [*found, *_lengths(results, planned_tokens)]


def check_reasons(
    check: dict[str, Any], ttft_ms: float | None = None, tpot_ms: float | None = None
) -> Iterator[str]:
    """What of a self-check's report is too inexact to measure a TTFT and TPOT of that size.

    Medians may be off by TTFT_ERROR_MS and GAP_ERROR_MS or ERROR_SHARE of the figure, whichever is more.
    """
    for key, quantile, bound in (
        ("ttft_ms_error", "p50", max(TTFT_ERROR_MS, ERROR_SHARE * (ttft_ms or 0.0))),
        ("ttft_ms_error", "p99", max(LAG_MS, LAG_SHARE * (ttft_ms or 0.0))),
        ("gap_ms_error", "p50", max(GAP_ERROR_MS, ERROR_SHARE * (tpot_ms or 0.0))),
    ):
        value = check[key][quantile]
        if value is not None and value > bound:
            yield f"{key} {quantile} is {value:.3f} ms, over {bound:g} ms"
    if check["delivered_fraction"] < DELIVERED:
        yield f"only {check['delivered_fraction']:.1%} of the requests were delivered on time"
    if check["ttft_ms_error"]["p50"] is None:
        yield "no request was answered"


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
