"""The options of `valve bench run`, and what is refused."""

import argparse

import pytest

from valve_loadgen import load_options
from valve_loadgen.errors import BenchError
from valve_loadgen.load_run import LoadRun
from valve_loadgen.target import Target
from valve_loadgen.workload import Span

EVERYTHING = """--endpoint completions --arrivals gamma --rate 5 --burstiness 0.5 --input-tokens 10-20
--turns 3 --slo ttft_ms=5 --storm-at-s 3 --storm-at-s 7 --warmup-s 2 --no-self-check"""


def parse(*argv: str) -> LoadRun:
    parser = argparse.ArgumentParser()
    load_options.add_arguments(parser)
    return load_options.load_run_of(parser.parse_args(["http://127.0.0.1:8000", *argv]))


def test_defaults() -> None:
    run = parse()
    assert run.target == Target("127.0.0.1", 8000)
    assert (run.workload.pattern.kind, run.workload.pattern.rate, run.workload.trace) == (
        "poisson",
        1.0,
        None,
    )
    assert (run.chat, run.check, run.processes, run.slo) == (True, True, 1, None)


def test_everything_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    run = parse(*EVERYTHING.split())
    assert (run.chat, run.check, run.storms_s, run.warmup_s) == (False, False, (3.0, 7.0), 2.0)
    assert (run.workload.pattern.kind, run.workload.pattern.burstiness) == ("gamma", 0.5)
    assert (run.workload.input_tokens, run.workload.turns) == (Span(10, 20), 3)
    assert run.headers == (("Authorization", "Bearer secret"),)


def test_a_trace_is_an_arrival_pattern_too() -> None:
    assert parse("--arrivals", "trace", "--trace", "code", "--keep", "0.1").workload.trace == "code"


@pytest.mark.parametrize("argv", [["--input-tokens", "0"], ["--output-tokens", "9-3"], ["--slo", "x=1"]])
def test_wrong_values_are_refused(argv: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(*argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--rate", "0"], "--rate must be above 0"),
        (["--duration-s", "5", "--warmup-s", "3", "--tail-s", "2"], "leave nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        parse(*argv)
