"""Owns the arguments of `valve bench ...` and runs the one asked for; imports each only then."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from valve_loadgen import load_options
from valve_loadgen.engines import ENGINES
from valve_loadgen.errors import BenchError
from valve_loadgen.layout import LAYOUTS

Run = Coroutine[Any, Any, int]
Parsers = argparse._SubParsersAction


def add_arguments(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    """Mounts run, demo, colocate, preemption, proxy, spread and self-check."""
    demo = subparsers.add_parser("demo", help="four arms on real engines, about three minutes")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="report.json and logs (out/demo)")
    demo.set_defaults(bench_run=_demo)
    colocate = subparsers.add_parser("colocate", help="the demo's scenario at length")
    _add_colocate(colocate)
    preemption = subparsers.add_parser("preemption", help="how fast a real tenant stops, and whether it does")
    preemption.add_argument("--cycles", type=positive(int), default=500, help="stops (500)")
    preemption.add_argument(
        "--threads", type=positive(int), default=4, help="the tenant's computing threads (4)"
    )
    preemption.set_defaults(bench_run=_preemption)
    proxy = subparsers.add_parser("proxy", help="what the sidecar adds to a request, against other proxies")
    _add_proxy(proxy)
    spread = subparsers.add_parser(
        "spread", help="round robin against pack-first routing, before four sidecars"
    )
    _add_spread(spread)
    check = subparsers.add_parser("self-check", help="how exact the load generator is on this machine")
    check.add_argument("--rate", type=positive(float), default=1000.0, help="requests per second (1000)")
    check.add_argument("--seconds", type=positive(float), default=5.0, help="how long (5)")
    check.add_argument("--processes", type=positive(int), default=1, help="that send (1)")
    check.set_defaults(bench_run=_self_check)
    run = subparsers.add_parser("run", help="an open-loop run against any OpenAI-compatible URL")
    load_options.add_arguments(run)
    run.set_defaults(bench_run=_run)
    for parser in (demo, colocate, preemption, proxy, spread, check, run):
        parser.add_argument("--json", action="store_true", help="print the report as JSON and nothing else")


def _add_colocate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=positive(float), default=30.0, help="about how long (30)")
    parser.add_argument("--window-s", type=positive(float), default=20.0, help="of an arm in a round (20)")
    parser.add_argument("--out", type=Path, default=Path("out/colocate"), help="report.json and logs")
    parser.add_argument("--trace", default="conv", help="conv, code, or a CSV file (conv)")
    parser.add_argument("--keep", type=positive(float), default=0.15, help="fraction of arrivals kept (0.15)")
    parser.add_argument("--stretch", type=positive(float), default=1.0, help="factor on arrival times (1)")
    load_options.add_pattern(parser, "trace")
    parser.add_argument("--seed", type=int, default=1, help="for thinning and prompts (1)")
    parser.add_argument(
        "--cooldown-ms",
        type=cooldown,
        default=None,
        help="time from drained to resume (auto: the sidecar's own rule)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="llamacpp", help="both engines (llamacpp)")
    parser.add_argument("--offline-engine", choices=ENGINES, help="another one for offline (the same)")
    parser.add_argument(
        "--baselines",
        type=names,
        default=(),
        help="arms of what else one would do, such as nice,sched_idle,cgroup (none)",
    )
    parser.add_argument(
        "--budget",
        type=positive(float),
        metavar="TIMES",
        help="also the budget policy, its TPOT SLO so many times online alone's (none)",
    )
    parser.add_argument(
        "--output-divisor",
        type=positive(float),
        default=10.0,
        help="the trace's output lengths over this, within 60 to 240 over this (10)",
    )
    parser.set_defaults(bench_run=_colocate)


def names(text: str) -> tuple[str, ...]:
    """An argparse type: names apart by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _add_proxy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=positive(int), default=5, help="of every measurement (5)")
    parser.add_argument("--seconds", type=positive(float), default=3.0, help="of one measurement (3)")
    parser.add_argument("--rps", type=positive(float), default=50.0, help="requests per second (50)")
    parser.add_argument("--peer", action="append", default=[], help="only this proxy; repeatable (all found)")
    layouts = "; ".join(f"{name}: {meaning}" for name, meaning in LAYOUTS.items())
    parser.add_argument("--layout", choices=tuple(LAYOUTS), default="own", help=f"{layouts} (own)")
    parser.add_argument("--plot", type=Path, help="an SVG of the figures")
    parser.set_defaults(bench_run=_proxy)


def _add_spread(parser: argparse.ArgumentParser) -> None:
    engines = "timed: keeps a GPU's time and computes nothing; llamacpp: a real one (timed)"
    parser.add_argument("--engine", choices=("timed", "llamacpp"), default="timed", help=f"online, {engines}")
    parser.add_argument("--replicas", type=positive(int), default=4, help="each a share of a core (4)")
    parser.add_argument("--rounds", type=positive(int), default=3, help="of both arms (3)")
    parser.add_argument("--window-s", type=positive(float), default=30.0, help="of an arm in a round (30)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/spread"), help="report.json and logs (out/spread)"
    )
    parser.set_defaults(bench_run=_spread)


def cooldown(text: str) -> float | None:
    """An argparse type: milliseconds above 0, or None for auto."""
    return None if text == "auto" else positive(float)(text)


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """An argparse type: a number of `kind` above 0."""

    def parse(text: str) -> float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return parse


def main(args: argparse.Namespace) -> int:
    """Runs `args.bench_run`. 0 done, 1 a check failed or it could not run, 128 + signal if ended."""
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_signal(args.bench_run(args)))
    except BenchError as error:
        print(f"valve bench: {error}", file=sys.stderr)
        return 1


async def _until_signal(work: Run) -> int:
    """Cancels `work` on SIGINT, SIGTERM or SIGHUP, so that its clean-up runs."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    caught: list[int] = []

    def end(number: int) -> None:
        caught.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        return 128 + caught[0] if caught else 1


async def _demo(args: argparse.Namespace) -> int:
    from valve_loadgen.demo import DEMO, play

    _print_json(args, await play(DEMO, args.out, args.json))
    return 0  # a noisy machine makes the figures invalid, and says so, but the demo has run


async def _colocate(args: argparse.Namespace) -> int:
    from valve_loadgen.arrivals import Load, lengths
    from valve_loadgen.colocate import Scenario
    from valve_loadgen.demo import play

    pattern = load_options.pattern_of(args)
    keep = args.keep if pattern is None else 1.0
    load = Load(args.trace, keep, args.stretch, lengths(args.output_divisor), args.seed, pattern)
    kinds = (args.engine, args.offline_engine or args.engine)
    scenario = Scenario.of_minutes(
        args.minutes, load, args.cooldown_ms, args.window_s, kinds, args.baselines, args.budget
    )
    return _print_json(args, await play(scenario, args.out, args.json))


async def _preemption(args: argparse.Namespace) -> int:
    from valve_loadgen.preemption import PreemptionPlan, preemption
    from valve_loadgen.preemption_report import render
    from valve_loadgen.screen import Screen

    with Screen(steps=1, quiet=args.json) as screen:
        result = await preemption(PreemptionPlan(args.cycles, args.threads), screen)
    if not args.json:
        print(render(result))
    _print_json(args, result)
    return 1 if result["heartbeat"]["violations"] else 0


async def _proxy(args: argparse.Namespace) -> int:
    from valve_loadgen.peers import found
    from valve_loadgen.proxy import ProxyPlan, proxy
    from valve_loadgen.proxy_report import plot, render
    from valve_loadgen.screen import Screen

    compared = tuple(args.peer) or tuple(found())
    plan = ProxyPlan(args.rounds, args.rps, args.seconds, args.seconds, compared, args.layout)
    with Screen(plan.rounds * (len(plan.peers) + 1), quiet=args.json) as screen:
        result = await proxy(plan, screen)
    if args.plot:
        args.plot.write_text(plot(result))
    if not args.json:
        print(render(result))
    return _print_json(args, result)


async def _spread(args: argparse.Namespace) -> int:
    from valve_loadgen import spread_table
    from valve_loadgen.screen import Screen
    from valve_loadgen.spread import ALONE, ARMS, SpreadPlan, spread

    plan = SpreadPlan(args.engine, args.replicas, args.rounds, args.window_s)
    with Screen(plan.rounds * len((ALONE, *ARMS)), quiet=args.json) as screen:
        report = await spread(plan, args.out, screen)
    if not args.json:
        spread_table.show(report)
        print(f"report: {args.out / 'report.json'}, logs: {args.out / 'logs'}")
    return _print_json(args, report)


async def _run(args: argparse.Namespace) -> int:
    from valve_loadgen import load_table
    from valve_loadgen.load_run import load_run
    from valve_loadgen.screen import Screen

    run = load_options.load_run_of(args)
    with Screen(round(run.workload.duration_s), quiet=args.json) as screen:
        report = await load_run(run, args.out, screen)
    if not args.json:
        load_table.show(report)
        print(f"report: {args.out / 'report.html'} and report.json, requests: {args.out / 'requests.csv'}")
    return _print_json(args, report)


async def _self_check(args: argparse.Namespace) -> int:
    from valve_loadgen.self_check import SelfCheckPlan, render, self_check

    plan = SelfCheckPlan(args.rate, args.seconds, args.processes)
    told = await self_check(plan)
    if not args.json:
        print(render(told, plan))
    return _print_json(args, told)


def _print_json(args: argparse.Namespace, report: dict[str, Any]) -> int:
    """0, or 1 for a report that says of itself that it is not valid."""
    import orjson

    if args.json:
        print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0 if report.get("valid", True) else 1
