"""Owns the arguments of `valve plan`; imports what it runs only then."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from valve_loadgen.cli import positive
from valve_loadgen.errors import BenchError

if TYPE_CHECKING:
    from valve_loadgen.plan.calibrate import Calibration
    from valve_loadgen.plan.fleet import Plan
    from valve_loadgen.plan.inputs import Traffic
    from valve_loadgen.plan.measured import Measured
    from valve_loadgen.plan.memory import MakePolicy

TRACES = (
    "request traces (CSV, JSONL; .gz), a ServeGen client table, an access log, or a Prometheus range query; "
    "several traces are several deployments"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("traces", nargs="*", metavar="TRACE", help=TRACES)
    _add_fleet(parser)
    _add_engine(parser)
    scale = parser.add_argument_group("how much of the traffic")
    scale.add_argument("--keep", type=share, default=1.0, help="share of the requests that is taken (1)")
    scale.add_argument("--hours", type=positive(float), help="take only the first so many")
    scale.add_argument("--load", type=positive(float), help="scale it to this mean load; 1 = always full")
    scale.add_argument("--seed", type=int, default=1, help="for everything that is drawn (1)")
    parser.add_argument("--json", action="store_true", help="for programs: docs/plan.md")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots")


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    fleet = parser.add_argument_group("the fleet")
    fleet.add_argument("--replicas", type=positive(int), help="engines; default: as many as monitoring saw")
    fleet.add_argument("--gpus-per-replica", type=positive(int), default=1, help="(1)")
    fleet.add_argument("--routing", help="yours: balanced, least_loaded, dedicated or pack_first")
    fleet.add_argument("--pack-limit", type=positive(int), help="requests to a replica with pack_first")
    fleet.add_argument("--cooldown-ms", type=positive(float), help="default: the sidecar's own rule")
    fleet.add_argument(
        "--slo-tpot-ms", type=positive(float), help="for policy budget; default: 6.25 steps (50 for 8b)"
    )


def _add_engine(parser: argparse.ArgumentParser) -> None:
    engine = parser.add_argument_group("the engine").add_mutually_exclusive_group()
    engine.add_argument(
        "--engine-figures",
        metavar="FIGURES",
        default="8b",
        help="8b, or step_ms=8,sequence_us=80,prefill_tokens_per_s=30000,batch=256 (8b)",
    )
    engine.add_argument("--calibrate", type=Path, metavar="REPORT", help="of `valve bench colocate`")
    parser.add_argument(
        "--check", type=Path, metavar="REPORT", help="predict the harvest of this run instead"
    )


def share(text: str) -> float:
    """An argparse type: above 0, at most 1."""
    value = positive(float)(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text} is more than all (1)")
    return value


def main(args: argparse.Namespace, policy: "MakePolicy | None" = None) -> int:
    """0 planned, 1 the input or a figure is no good, or a check missed its goal. `policy`: Valve's for
    memory, which the load generator does not know.
    """
    try:
        if args.check:
            return _check(args)
        _tell(_plan(args, policy), args)
    except BenchError as error:
        print(f"valve plan: {error}", file=sys.stderr)
        return 1
    return 0


def _plan(args: argparse.Namespace, policy: "MakePolicy | None") -> "Plan":
    from valve_loadgen.plan import fleet, inputs
    from valve_loadgen.plan.engine import parse

    if not args.traces:
        raise BenchError("plan what? Give a trace, a client table, an access log or a Prometheus export")
    known = _calibration(args.calibrate) if args.calibrate else None
    engine = known.engine if known else parse(args.engine_figures)
    limit = args.pack_limit or engine.pack_limit
    traffic = inputs.read(args.traces, inputs.Cut(args.keep, args.hours, args.seed), limit)
    options = fleet.Options(
        _replicas(args.replicas, traffic),
        engine,
        _cooldown_s(args.cooldown_ms, known) or engine.cooldown_s,
        limit,
        args.gpus_per_replica,
        args.load,
        args.routing,
        known.offline_speed if known else 1.0,
        args.seed,
        args.slo_tpot_ms,
    )
    return fleet.plan(traffic, options, policy)


def _cooldown_s(asked_ms: float | None, known: "Calibration | None") -> float | None:
    if asked_ms is not None:
        return asked_ms / 1e3
    return known.cooldown_s if known else None


def _replicas(asked: int | None, traffic: "Traffic") -> int:
    if asked is not None:
        return asked
    if traffic.observed:
        return len(traffic.observed.names)
    raise BenchError("how many replicas serve this traffic? Say --replicas N")


def _check(args: argparse.Namespace) -> int:
    import orjson

    from valve_loadgen.plan.check import check

    if not args.calibrate or args.traces:
        raise BenchError("--check REPORT needs --calibrate ANOTHER_REPORT, and no trace")
    found = check(_calibration(args.calibrate), _measured(args.check))
    print(orjson.dumps(found.as_json(), option=orjson.OPT_INDENT_2).decode() if args.json else found)
    return 0 if found.within_goal else 1


def _calibration(path: Path) -> "Calibration":
    from valve_loadgen.plan.calibrate import calibrate

    return calibrate(_measured(path), str(path))


def _measured(path: Path) -> "Measured":
    from valve_loadgen.plan import inputs, measured

    return measured.read(inputs.text(path), str(path))


def _tell(plan: "Plan", args: argparse.Namespace) -> None:
    import orjson

    from valve_loadgen.plan import report

    if args.html:
        _write(plan, args.html)
    if args.json:
        print(orjson.dumps(report.as_json(plan), option=orjson.OPT_INDENT_2).decode())
    else:
        report.show(plan)
        if args.html:
            print(f"report: {args.html}")


def _write(plan: "Plan", path: Path) -> None:
    from valve_loadgen.plan.html import html

    try:
        path.write_text(html(plan, shlex.join(["valve", *sys.argv[1:]])), "utf-8")
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error}") from error
