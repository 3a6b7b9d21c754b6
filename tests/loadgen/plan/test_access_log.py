"""Access logs: the shapes that nginx and others write, and what is said about others."""

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import access_log

LINE = (
    '10.0.0.7 - - [25/Nov/2026:12:00:{second:02d} +0000] "{request}" 200 512 "-" "python-httpx/0.28" {rest}'
)
POST = "POST /v1/chat/completions HTTP/1.1"


def combined(*rows: tuple[int, str], request: str = POST) -> str:
    return "\n".join(LINE.format(second=second, request=request, rest=rest) for second, rest in rows)


@pytest.mark.parametrize("rest", ["1.500", '"1.500"', "rt=1.500 uct=0.001", '"-" request_time="1.500"'])
def test_the_request_time_is_found(rest: str) -> None:
    text = combined((30, rest), (40, rest))
    assert access_log.looks_like(text)
    requests, observed = access_log.read(text, "a.log")
    assert list(requests.outputs) == [1500, 1500]
    assert requests.at_s[1] - requests.at_s[0] == pytest.approx(10.0, abs=1.0)
    assert observed is None


def test_json_lines_are_exact_and_tell_upstreams() -> None:
    text = "\n".join(
        [
            '{"msec": "1000.500", "request_time": "0.500", "request": "POST /v1/x", "upstream_addr": "a:1"}',
            '{"msec": "1003.000", "request_time": "1.000", "request": "POST /v1/x", "upstream_addr": "b:1"}',
            '{"msec": "1004.000", "request_time": "0.250", "request": "POST /v1/x", "upstream_addr": "a:1"}',
            '{"msec": "1004.100", "request_time": "0.001", "request": "GET /health", "upstream_addr": "b:1"}',
        ]
    )
    assert access_log.looks_like(text)
    requests, observed = access_log.read(text, "a.log")
    assert list(requests.at_s) == [0.0, 2.0, 3.75]
    assert requests.span_s == 4.0
    assert observed is not None
    assert observed.names == ["a:1", "b:1"]
    told = zip(observed.gaps.gap_replica, observed.gaps.gap_start, observed.gaps.gap_end, strict=True)
    assert list(told) == [(0, 0.5, 3.75), (1, 0.0, 2.0), (1, 3.0, 4.0)]
    assert observed.in_flight_s == 1.75


@pytest.mark.parametrize(
    "stamp",
    ['"time_iso8601": "2026-11-25T12:00:30.250+00:00"', '"ts": 1795608030.25', '"time": "1795608030.25"'],
)
def test_times_are_read_as_they_are_written(stamp: str) -> None:
    text = f'{{{stamp}, "duration": 1}}\n{{"ts": 1795608031.25, "duration": 1}}'
    assert access_log.read(text, "a.log")[0].at_s[1] == pytest.approx(1.0)


def test_whole_seconds_are_spread_and_reproducible() -> None:
    text = combined(*((30, "0.010"),) * 200)
    one, _ = access_log.read(text, "a.log")
    two, _ = access_log.read(text, "a.log")
    assert list(one.at_s) == list(two.at_s)
    assert 0.8 < one.at_s[-1] < 1.0


def test_only_posts_are_requests() -> None:
    text = combined((30, "0.5")) + "\n" + combined((31, "0.1"), request="GET /metrics HTTP/1.1")
    assert len(access_log.read(text, "a.log")[0]) == 1
    with pytest.raises(BenchError, match="no line is a POST"):
        access_log.read(combined((30, "0.5"), request="GET / HTTP/1.1"), "a.log")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("what is this", "not a line of nginx's combined format"),
        (LINE.format(second=3, request=POST, rest=""), "no request time"),
        ('{"request_time": 1}', "none of time_iso8601"),
        ('{"ts": 1}', "none of request_time"),
        ('{"ts": 1, "duration": -1}', "cannot take -1 s"),
        ('{"ts": "yesterday", "duration": 1}', "yesterday"),
        ('{"ts": 1,', "Expecting"),
    ],
)
def test_a_bad_line_is_named_with_the_mend(line: str, told: str) -> None:
    with pytest.raises(BenchError, match=rf"a\.log:2: .*{told}.*; each line needs its time"):
        access_log.read(combined((30, "0.5")) + "\n" + line, "a.log")


def test_other_files_do_not_look_like_one() -> None:
    assert not access_log.looks_like("arrival_s,input_tokens,output_tokens\n0,1,1")
    assert not access_log.looks_like('{"timestamp": 0, "input_length": 5, "output_length": 5}')
