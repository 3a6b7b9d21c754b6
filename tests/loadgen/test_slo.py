"""SLOs and goodput."""

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.exchange import Exchange
from valve_loadgen.slo import Slo

MS = 1_000_000


def answered(ttft_ms: int, tpot_ms: int = 10, tokens: int = 3, **more: object) -> Exchange:
    stamps = [(ttft_ms + i * tpot_ms) * MS for i in range(tokens)]
    exchange = Exchange("id", "a", 0, 1, stamps[0], stamps[-1], 200, stamps, tokens)
    for name, value in more.items():
        setattr(exchange, name, value)
    return exchange


SLO = Slo.parse("ttft_ms=100, tpot_ms=20")


@pytest.mark.parametrize(
    ("exchange", "met"),
    [
        (answered(100, 20), True),
        (answered(101, 20), False),
        (answered(100, 21), False),
        (answered(50, tokens=1), True),
        (answered(50, error="cut"), False),
    ],
)
def test_all_bounds_must_be_met(exchange: Exchange, met: bool) -> None:
    assert SLO.met(exchange) is met


def test_goodput_counts_failures_but_not_what_the_client_cancelled() -> None:
    exchanges = [answered(50), answered(500), answered(50, error="cut"), answered(50, cancelled=True)]
    told = SLO.goodput(exchanges, 2.0)
    assert told == {
        "slo": {"ttft_ms": 100.0, "tpot_ms": 20.0},
        "requests_per_s": 0.5,
        "fraction": pytest.approx(1 / 3),
    }


@pytest.mark.parametrize("text", ["", "ttft_ms", "ttft_ms=x", "itl_ms=5", "ttft_ms=0"])
def test_what_is_no_slo(text: str) -> None:
    with pytest.raises(BenchError, match="is no SLO"):
        Slo.parse(text)
