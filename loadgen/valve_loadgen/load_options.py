"""Owns the options of `valve bench run`: from arguments to a LoadRun."""

import argparse
import os
from pathlib import Path

from valve_loadgen.errors import BenchError
from valve_loadgen.load_run import LoadRun
from valve_loadgen.patterns import KINDS, Pattern
from valve_loadgen.slo import Slo
from valve_loadgen.target import Target
from valve_loadgen.workload import Span, Workload


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The endpoint, what comes when, how long it is, and what is counted."""
    parser.add_argument("url", metavar="URL", help="http(s)://HOST[:PORT][/BASE] or unix:/PATH")
    parser.add_argument("--model", help="model name (the first of /v1/models)")
    parser.add_argument("--endpoint", choices=("chat", "completions"), default="chat", help="(chat)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/run"), help="report.json, requests.csv, report.html"
    )
    _add_arrivals(parser.add_argument_group("arrivals"))
    _add_requests(parser.add_argument_group("requests"))
    _add_counting(parser.add_argument_group("counting"))


def add_pattern(group: argparse._ActionsContainer, default: str) -> None:
    """Which kind of arrivals, and the figures of each kind."""
    group.add_argument("--arrivals", choices=(*KINDS, "trace"), default=default, help=f"({default})")
    group.add_argument("--rate", type=float, default=1.0, help="requests per second (1)")
    group.add_argument("--to-rate", type=float, default=10.0, help="ramp: the rate at the end (10)")
    group.add_argument(
        "--burstiness", type=float, default=0.25, help="gamma: 1 is Poisson, less bursts (0.25)"
    )
    group.add_argument("--on-s", type=float, default=5.0, help="onoff: seconds with arrivals (5)")
    group.add_argument("--off-s", type=float, default=15.0, help="onoff: seconds without (15)")


def pattern_of(args: argparse.Namespace) -> Pattern | None:
    """The pattern that `args` ask for; None for a trace."""
    if args.arrivals == "trace":
        return None
    return Pattern(args.arrivals, args.rate, args.burstiness, args.on_s, args.off_s, args.to_rate)


def _add_arrivals(group: argparse._ArgumentGroup) -> None:
    add_pattern(group, "poisson")
    group.add_argument("--trace", default="conv", help="trace: a trace file, or conv or code (conv)")
    group.add_argument("--keep", type=float, default=1.0, help="trace: fraction of arrivals kept (1)")
    group.add_argument("--stretch", type=float, default=1.0, help="trace: factor on times (1)")
    group.add_argument("--duration-s", type=float, default=30.0, help="of the arrivals (30)")
    group.add_argument("--seed", type=int, default=1, help="(1)")
    group.add_argument(
        "--processes", type=int, default=1, help="that send; more when one core is not enough (1)"
    )


def _add_requests(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--input-tokens", type=span, default=Span(128, 128), help="N or LOW-HIGH (128)")
    group.add_argument("--output-tokens", type=span, default=Span(64, 64), help="N or LOW-HIGH (64)")
    group.add_argument("--turns", type=int, default=1, help="of a conversation (1)")
    group.add_argument("--think-s", type=float, default=1.0, help="between its turns (1)")
    group.add_argument(
        "--cancel-fraction", type=float, default=0.0, help="of requests that the client drops (0)"
    )
    group.add_argument("--cancel-after-ms", type=float, default=500.0, help="how long after the send (500)")
    group.add_argument(
        "--storm-at-s", type=float, action="append", default=[], help="drop every connection then"
    )


def _add_counting(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--warmup-s", type=float, default=0.0, help="at the start, sent but not counted (0)")
    group.add_argument("--tail-s", type=float, default=0.0, help="at the end, sent but not counted (0)")
    group.add_argument("--slo", type=slo, help="for goodput, such as ttft_ms=500,tpot_ms=50")
    group.add_argument("--no-self-check", action="store_true", help="save its three seconds")


def span(text: str) -> Span:
    """An argparse type: N or LOW-HIGH."""
    low, _, high = text.partition("-")
    found = Span(int(low), int(high or low))
    if not 0 < found.low <= found.high:
        raise argparse.ArgumentTypeError(f"{text} is not N or LOW-HIGH")
    return found


def slo(text: str) -> Slo:
    """An argparse type."""
    try:
        return Slo.parse(text)
    except BenchError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def load_run_of(args: argparse.Namespace) -> LoadRun:
    """The run that `args` ask for; an API key comes from OPENAI_API_KEY. Raises BenchError."""
    _check(args)
    key = os.environ.get("OPENAI_API_KEY")
    return LoadRun(
        target=Target.parse(args.url),
        workload=_workload(args),
        model=args.model,
        chat=args.endpoint == "chat",
        headers=(("Authorization", f"Bearer {key}"),) if key else (),
        processes=args.processes,
        warmup_s=args.warmup_s,
        tail_s=args.tail_s,
        slo=args.slo,
        storms_s=tuple(args.storm_at_s),
        check=not args.no_self_check,
    )


def _workload(args: argparse.Namespace) -> Workload:
    return Workload(
        args.duration_s,
        pattern_of(args) or Pattern(),
        args.trace if args.arrivals == "trace" else None,
        args.keep,
        args.stretch,
        args.input_tokens,
        args.output_tokens,
        args.turns,
        args.think_s,
        args.cancel_fraction,
        args.cancel_after_ms,
        args.seed,
    )


def _check(args: argparse.Namespace) -> None:
    for name in ("rate", "to_rate", "burstiness", "on_s", "stretch", "duration_s", "turns", "processes"):
        if getattr(args, name) <= 0:
            raise BenchError(f"--{name.replace('_', '-')} must be above 0")
    if args.warmup_s + args.tail_s >= args.duration_s:
        raise BenchError("--warmup-s and --tail-s leave nothing of --duration-s to count")
