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

SUMMARY = "what colocation would save on a fleet, from its own traffic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "traces",
        nargs="+",
        metavar="TRACE",
        help="request traces (CSV, JSONL; .gz), a ServeGen client table, an access log, "
        "or a Prometheus range query; several files are several deployments",
    )
    parser.add_argument(
        "--replicas", type=positive(int), help="engines that serve it (monitoring input: as seen)"
    )
    parser.add_argument("--gpus-per-replica", type=positive(int), default=1, help="(1)")
    parser.add_argument(
        "--cooldown-ms", type=positive(float), help="from drained to open; default: the sidecar's rule"
    )
    parser.add_argument("--routing", help="yours: balanced, least_loaded, dedicated, pack_first")
    parser.add_argument(
        "--pack-limit", type=positive(int), help="requests a replica takes before the next is used"
    )
    engine = parser.add_mutually_exclusive_group()
    engine.add_argument(
        "--engine-figures",
        metavar="FIGURES",
        help="8b, or step_ms=8,sequence_us=80,prefill_tokens_per_s=30000,batch=256 (8b)",
    )
    engine.add_argument(
        "--calibrate", type=Path, metavar="REPORT", help="report.json of `valve bench colocate`"
    )
    parser.add_argument(
        "--load", type=positive(float), help="scale traffic to this mean load (1 = always full)"
    )
    parser.add_argument("--keep", type=positive(float), default=1.0, help="share of the requests taken (1)")
    parser.add_argument("--hours", type=positive(float), help="take only the first so many")
    parser.add_argument("--seed", type=int, default=1, help="for everything that is drawn (1)")
    parser.add_argument("--json", action="store_true", help="for programs: docs/plan.md")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots")


def main(args: argparse.Namespace) -> int:
    """0 planned, 1 the input or a figure is no good."""
    try:
        plan = _plan(args)
        _tell(plan, args)
    except BenchError as error:
        print(f"valve plan: {error}", file=sys.stderr)
        return 1
    return 0


def _plan(args: argparse.Namespace) -> "Plan":
    from valve_loadgen.plan import fleet, inputs
    from valve_loadgen.plan.engine import parse

    known = _calibration(args.calibrate) if args.calibrate else None
    engine = known.engine if known else parse(args.engine_figures or "8b")
    limit = args.pack_limit or engine.pack_limit
    traffic = inputs.read(args.traces, inputs.Cut(args.keep, args.hours, args.seed), limit)
    fixed_s = known.cooldown_s if known and known.cooldown_s else engine.cooldown_s
    options = fleet.Options(
        _replicas(args.replicas, traffic),
        engine,
        args.cooldown_ms / 1e3 if args.cooldown_ms else fixed_s,
        limit,
        args.gpus_per_replica,
        args.load,
        args.routing,
        known.offline_speed if known else 1.0,
        args.seed,
    )
    return fleet.plan(traffic, options)


def _calibration(path: Path) -> "Calibration":
    from valve_loadgen.plan import inputs, measured
    from valve_loadgen.plan.calibrate import calibrate

    return calibrate(measured.read(inputs.text(path), str(path)), str(path))


def _replicas(asked: int | None, traffic: "Traffic") -> int:
    if asked is not None:
        return asked
    if traffic.observed:
        return len(traffic.observed.names)
    raise BenchError("how many replicas serve this traffic? Say --replicas N")


def _tell(plan: "Plan", args: argparse.Namespace) -> None:
    import orjson

    from valve_loadgen.plan import report

    if args.html:
        from valve_loadgen.plan.html import html

        args.html.write_text(html(plan, shlex.join(["valve", *sys.argv[1:]])), "utf-8")
    if args.json:
        print(orjson.dumps(report.as_json(plan), option=orjson.OPT_INDENT_2).decode())
    else:
        report.show(plan)
        if args.html:
            print(f"report: {args.html}")
