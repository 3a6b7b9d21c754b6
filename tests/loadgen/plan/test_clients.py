"""Tables of clients: the drawn requests have the rate, the burstiness and the lengths of the table."""

import itertools
import json
import random
from statistics import fmean, pstdev

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import clients
from valve_loadgen.plan.clients import Window, arrivals

HEAD = "client,t_s,rate_rps,iat_cv,dist,shape,scale\n"
TOKENS = json.dumps(
    {
        "quantiles": [50],
        "clients": {
            "a": {"input_tokens": {"q": [100]}, "output_tokens": {"q": [10]}},
            "b": {"text_tokens": {"q": [7]}, "image_tokens": {"q": [1000]}, "output_tokens": {"q": [20]}},
        },
    }
)


@pytest.mark.parametrize(("family", "shape"), [("G", 1.0), ("G", 0.3), ("G", 4.0), ("W", 0.5), ("W", 2.0)])
def test_a_window_has_its_rate_however_bursty(family: str, shape: float) -> None:
    source = random.Random(1)
    window = Window(1200.0, 0.5, family, shape)
    counts = [len(list(arrivals(window, 1.0, source))) for _ in range(600)]
    assert fmean(counts) / clients.WINDOW_S == pytest.approx(0.5, rel=0.05)


def test_gaps_have_the_shape_of_the_fit() -> None:
    """Gamma: coefficient of variation 1 / sqrt(shape)."""
    source = random.Random(2)
    stamps = [list(arrivals(Window(0.0, 5.0, "G", 0.25), 1.0, source)) for _ in range(60)]
    gaps = [late - early for each in stamps for early, late in itertools.pairwise(each)]
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(2.0, rel=0.05)


def test_clients_become_deployments_with_their_own_lengths() -> None:
    text = HEAD + "a,0,0.5,1,G,1,2\nb,600,0.2,1,W,1,5\n"
    requests = clients.read(text, TOKENS, "t.csv", 1.0, None, 1)
    assert requests.span_s == 1200.0
    assert list(requests.deployments) == ["a", "b"]
    assert list(requests.at_s) == sorted(requests.at_s)
    told = set(zip(requests.group, requests.inputs, requests.outputs, strict=True))
    assert told == {(0, 100, 10), (1, 1007, 20)}
    assert all(at_s < 600 for at_s, group in zip(requests.at_s, requests.group, strict=True) if group == 0)
    assert list(clients.read(text, TOKENS, "t.csv", 1.0, None, 1).at_s) == list(requests.at_s)
    assert list(clients.read(text, TOKENS, "t.csv", 1.0, None, 2).at_s) != list(requests.at_s)


def test_keep_and_hours_take_less() -> None:
    text = HEAD + "".join(f"a,{600 * number},1,1,G,1,1\n" for number in range(12))
    whole = clients.read(text, TOKENS, "t.csv", 1.0, None, 1)
    assert len(clients.read(text, TOKENS, "t.csv", 0.25, None, 1)) / len(whole) == pytest.approx(
        0.25, rel=0.15
    )
    assert clients.read(text, TOKENS, "t.csv", 1.0, 1.0, 1).span_s == 3600.0


def test_a_client_without_lengths_borrows_some() -> None:
    requests = clients.read(HEAD + "z,0,1,1,G,1,1\n", TOKENS, "t.csv", 1.0, None, 1)
    assert len(set(requests.outputs)) == 1
    assert requests.outputs[0] in (10, 20)


@pytest.mark.parametrize(
    "row", ["a,0,1,1,G,1", "a,0,1,1,X,1,1", "a,0,0,1,G,1,1", "a,0,1,1,G,-1,1", "a,soon,1,1,G,1,1"]
)
def test_a_bad_row_is_named(row: str) -> None:
    with pytest.raises(BenchError, match=r"t\.csv:3: not a row of client,t_s"):
        clients.read(HEAD + "a,0,1,1,G,1,1\n" + row + "\n", TOKENS, "t.csv", 1.0, None, 1)


def test_too_many_requests_are_refused_with_the_mend() -> None:
    with pytest.raises(BenchError, match=r"about 60 million requests; take fewer with --keep 0\.3"):
        clients.read(HEAD + "a,0,100000,1,G,1,1\n", TOKENS, "t.csv", 1.0, None, 1)


def test_a_bad_table_of_tokens_is_named() -> None:
    with pytest.raises(BenchError, match="table of tokens"):
        clients.read(HEAD + "a,0,1,1,G,1,1\n", "{}", "t.csv", 1.0, None, 1)
