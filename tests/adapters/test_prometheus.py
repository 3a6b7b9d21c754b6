"""Single gauges out of Prometheus text, as engines write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_adapters.prometheus import fraction, gauges, label, total

TEXT = b"""# HELP e:running Running. e:running 7
# TYPE e:running gauge
e:running{engine="0",model_name="m"} 2.0
e:running{engine="1",model_name="a}b {c} 9"} 3.0
e:running_max{engine="0"} 9.0
e:usage{engine="0"} 0.25
e:usage{engine="1"} 7.5e-01
e:plain 1e+00
e:stamped{a="b"} 4.0 1700000000000
e:odd{a="b"} NaN
e:odd{a="c"} +Inf
e:odd{a="d"} none
"""


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("e:running", [2, 3]),
        ("e:usage", [0.25, 0.75]),
        ("e:plain", [1]),
        ("e:stamped", [4]),
        ("e:odd", []),
        ("e:runn", []),
        ("e.running", []),
        ("HELP", []),
    ],
)
def test_gauges(name: str, values: list[float]) -> None:
    assert gauges(TEXT, name) == values


def test_counts_add_up_over_ranks_and_the_fullest_counts() -> None:
    assert total(TEXT, "e:running") == 5
    assert fraction(TEXT, "e:usage") == 0.75
    assert total(TEXT, "e:nothing") is None
    assert fraction(TEXT, "e:nothing") is None


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(text: bytes) -> None:
    assert all(isinstance(value, float) for value in gauges(text + b"\ne:a " + text, "e:a"))


def test_a_label_of_an_info_metric() -> None:
    text = b'# TYPE size gauge\nsize{a="1",blocks="64",b=""} 1.0\nsize{blocks="7"} 1.0\n'
    assert label(text, "size", "blocks") == "64"
    assert label(text, "size", "a") == "1"
    assert label(text, "size", "locks") == ""
    assert label(text, "other", "blocks") == ""
