"""The figures of `valve bench proxy` from rounds made by hand."""

from valve_loadgen.proxy import Figures, report


def figures(latency_us: float, *, ours: bool = False) -> Figures:
    own = ["gate_us", "beside_admin_us"] if ours else ["bare_epoll_us"]
    names = ["latency_us", "ttft_1_us", "ttft_128_us", *own]
    quantiles = {f"{name}_{q}": latency_us for name in names for q in ("p50", "p99")}
    return {
        "rps": 1e6 / latency_us,
        "cpu_us_per_request": 10,
        "cpu_us_per_chunk": 5,
        "prompt_us": latency_us,
    } | quantiles


def test_the_report_has_medians_and_what_is_added_in_the_same_round() -> None:
    rounds = [
        {"direct": figures(100), "valve": figures(150, ours=True), "nginx": figures(160)},
        {"direct": figures(200), "valve": figures(300, ours=True), "nginx": figures(250)},
        {"direct": figures(100), "valve": figures(170, ours=True), "nginx": figures(170)},
    ]
    result = report(rounds)
    assert list(result["peers"]) == ["valve", "nginx"]
    valve, nginx = result["peers"]["valve"], result["peers"]["nginx"]
    assert valve["added_us"] == valve["stream"]["added_ttft_us"] == {"p50": 70, "p99": 70}
    assert nginx["added_us"]["p50"] == 60
    assert valve["prompt_1mb_over_direct"] == 1.5
    assert valve["send_to_gate_us"]["p99"] == 170
    assert "send_to_gate_us" not in nginx
    assert valve["bare_epoll_us"]["p50"] == 100, "the direct rounds'"
    assert result["rounds"] == 3
