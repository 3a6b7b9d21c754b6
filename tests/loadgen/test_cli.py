"""The command line: what is refused, and that a signal ends a benchmark with its clean-up."""

import argparse
import asyncio
import os
import signal

import pytest

from valve_loadgen import cli
from valve_loadgen.errors import BenchError


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser.add_subparsers(required=True))
    return parser.parse_args(argv)


def test_defaults() -> None:
    assert str(parse("demo").out) == "out/demo"
    assert parse("colocate").minutes == 30
    assert parse("colocate", "--cooldown-ms", "50").cooldown_ms == 50
    assert parse("colocate").cooldown_ms is None
    assert parse("colocate", "--cooldown-ms", "auto").cooldown_ms is None
    assert parse("preemption").cycles == 500
    assert parse("proxy", "--json").json
    assert (parse("self-check").rate, parse("self-check").processes) == (1000, 1)
    assert parse("run", "http://x").arrivals == "poisson"


def test_colocation_takes_baselines_and_patterns() -> None:
    arguments = parse("colocate", "--baselines", "nice, cgroup", "--arrivals", "gamma", "--rate", "2")
    assert arguments.baselines == ("nice", "cgroup")
    assert (arguments.arrivals, arguments.rate) == ("gamma", 2)
    assert (parse("colocate").arrivals, parse("colocate").baselines) == ("trace", ())


@pytest.mark.parametrize(
    "argv",
    [
        ["preemption", "--cycles", "0"],
        ["colocate", "--minutes", "-1"],
        ["colocate", "--cooldown-ms", "x"],
        ["proxy", "--rps", "x"],
        [],
    ],
)
def test_wrong_use_is_refused(argv: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(*argv)


def run(work: cli.Run) -> int:
    return cli.main(argparse.Namespace(bench_run=lambda _args: work))


async def failing() -> int:
    raise BenchError("no engine; run make setup")


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing()) == 1
    assert capsys.readouterr().err == "valve bench: no engine; run make setup\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_runs_the_clean_up(number: signal.Signals) -> None:
    cleaned = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
            return 0
        finally:
            cleaned.append(True)

    assert run(work()) == 128 + number
    assert cleaned == [True]
