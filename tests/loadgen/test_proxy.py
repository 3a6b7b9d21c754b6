"""The figures of `valve bench proxy` from blocks made by hand."""

from valve_loadgen.proxy import ProxyPlan, render, report


def test_the_proxy_report() -> None:
    blocks = [([1.0] * 100, [1.25] * 100)] * 10
    result = report(ProxyPlan(), blocks)
    same = [0.25, 0.25]
    assert result["added_ms"] == {"p50": 0.25, "p50_ci95": same, "p99": 0.25, "p99_ci95": same}
    assert result["verdict"] == "met"
    assert "added p50 0.250 ms" in render(result)
