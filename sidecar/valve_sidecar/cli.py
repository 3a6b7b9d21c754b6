"""The `valve` command: its arguments, and which module does the work. Errors become one line and an exit
code. A command's modules are imported when it is called: a sidecar must not carry the benchmarks' memory.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from valve_adapters.kv_pool import KvPoolError, left_to_the_program, on_pool
from valve_adapters.preset import WEEK_S, Prepared, Preset, prepare
from valve_adapters.progress import metrics_url, tokens_told
from valve_adapters.registry import by_name, guess
from valve_runtime.devices import refuse_mps, resolve
from valve_runtime.errors import TenantError, ValveRuntimeError
from valve_runtime.kv_pool import PoolOptions, check_devices, pages_of
from valve_runtime.ledger import PAGE_BYTES
from valve_runtime.notice import say
from valve_runtime.progress import Metrics
from valve_runtime.recovery import recover
from valve_runtime.run import RunOptions, run
from valve_runtime.run_online import OnlineOptions, run_online
from valve_runtime.rundir import choose_runtime_dir

from .config import DATA_PLANES, ENGINES, LOG_LEVELS, POLICIES, Mode, ServeConfig, load_config
from .errors import SidecarError
from .logs import log_like_a_service, set_up_logging
from .version import installed_version

if TYPE_CHECKING:
    from valve_adapters.adapter import Adapter

    from .admin_client import AdminClient

EPILOG = "Every option of serve can also be set as VALVE_<OPTION> or in a TOML file (--config)."


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 good, 1 failed, 2 wrong use; `valve run` passes its command's on."""
    set_up_logging()
    arguments = sys.argv[1:] if arguments is None else arguments
    args = _parser(arguments[0] if arguments else "").parse_args(arguments)
    try:
        return int(args.act(args))
    except (SidecarError, ValveRuntimeError) as error:
        print(f"valve {args.command}: {error}", file=sys.stderr)
        return int(error.exit_code)


def _parser(wanted: str) -> argparse.ArgumentParser:
    """`wanted`: the command, for those whose modules know their arguments."""
    parser = argparse.ArgumentParser(prog="valve", description=__doc__.split(":")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_run(commands)
    _add_status(commands)
    _add_top(commands)
    _add_events(commands)
    _add_doctor(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(act=_version)
    _add_bench(commands, wanted == "bench")
    _add_plan(commands, wanted == "plan")
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="proxy an online engine and gate offline work", epilog=EPILOG)
    parser.add_argument("--upstream", help="the online engine: http://HOST:PORT or unix:/PATH")
    parser.add_argument("--listen", help="where clients connect: HOST:PORT or unix:/PATH (127.0.0.1:8780)")
    parser.add_argument("--admin", help="health, metrics and state: HOST:PORT or unix:/PATH (127.0.0.1:8781)")
    parser.add_argument("--admin-token-file", help="who asks --admin over TCP must send this file's token")
    parser.add_argument("--mode", choices=[str(m) for m in Mode], help="enforce, only observe, or bypass")
    parser.add_argument(
        "--policy", choices=POLICIES, help="when the gate is closed (drain): docs/policies.md"
    )
    parser.add_argument("--slo-tpot-ms", help="policy budget: what a token may take, for 99 %% of requests")
    parser.add_argument("--tpot-budget", help="instead: above the engine's own pace, such as 20%%")
    parser.add_argument("--slo-ttft-ms", help="policy budget: fewer requests at once where TTFT is above")
    parser.add_argument("--slices-per-s", help="policy budget: at most so many (as the SLO wants)")
    parser.add_argument("--engine", choices=ENGINES, help="what the online engine is (auto)")
    parser.add_argument(
        "--device", action="append", help="what it computes on: cpu, a GPU's index or UUID; repeatable"
    )
    parser.add_argument("--workers", help="processes that share the port (1)")
    parser.add_argument("--data-plane", choices=DATA_PLANES, help="what carries requests (native)")
    parser.add_argument(
        "--measure-arrivals",
        action="store_true",
        default=None,
        help="a histogram of the time from a request's head to the gate signalled",
    )
    parser.add_argument("--cooldown-ms", help="fixed cool-down; default: twice the largest recent decode gap")
    parser.add_argument(
        "--kv-reserve",
        metavar="PAGES",
        help="KV pages (2 MiB) kept for online work where tenants share them: a number, or auto (auto)",
    )
    parser.add_argument("--reclaims-per-hour", help="how often tenants may lose KV pages, at most (30)")
    parser.add_argument("--grace-s", help="on SIGTERM, how long running exchanges may take (300)")
    parser.add_argument("--otlp-endpoint", help="send traces to this OpenTelemetry collector (OTLP/HTTP)")
    parser.add_argument("--trace-share", help="of requests without a trace of their client's, 0 to 1 (1)")
    parser.add_argument("--log-level", choices=LOG_LEVELS, help="debug tells every preemption (info)")
    _add_runtime_dir(parser)
    parser.add_argument("--config", type=Path, help="TOML file with the same keys")
    parser.set_defaults(act=_serve)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("run", help="run a program as an offline tenant: valve run -- CMD ARGS...")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="what the command runs (auto)")
    parser.add_argument("--job", help="its name in status and metrics")
    parser.add_argument("--rank", type=int, default=0, help="which part of the job this is (0)")
    parser.add_argument(
        "--device", action="append", help="what it computes on: cpu, a GPU's index or UUID; repeatable"
    )
    parser.add_argument("--gpu", help="the GPUs that it may see: indexes or UUIDs, comma separated")
    parser.add_argument(
        "--max-stopped-s",
        type=_seconds,
        help="run for two seconds after being stopped for so long, although online work is in flight; "
        "0 = never (default: what the engine needs)",
    )
    parser.add_argument(
        "--metrics-url",
        type=_url,
        metavar="URL",
        help="where its engine tells its metrics, for the count of offline tokens (what the command line "
        "says of a server; else the count is unknown)",
    )
    _add_pool(parser)
    _add_runtime_dir(parser)
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD ARGS...")
    parser.set_defaults(act=_run)


def _add_pool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kv-pool",
        type=_pages,
        metavar="SIZE",
        help="keep the engine's KV cache in a pool of that much address space, whose memory comes and goes "
        "(24GiB; docs/memory.md)",
    )
    parser.add_argument(
        "--kv-pool-start",
        type=_pages,
        metavar="SIZE",
        help="memory to begin with (online: all of it; offline: what there is)",
    )
    parser.add_argument(
        "--online",
        action="store_true",
        help="an online engine: no gate, only --kv-pool, and it never loses KV",
    )


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("status", help="sidecars and tenants on this machine")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--watch", action="store_true", help="again every second, until ctrl-C")
    _add_runtime_dir(parser)
    parser.set_defaults(act=_status)


def _add_top(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("top", help="what a sidecar and its tenants do now, in this terminal")
    _add_admin(parser)
    parser.set_defaults(act=_top)


def _add_events(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("events", help="what has happened, a line each (docs/events.md)")
    parser.add_argument("--follow", action="store_true", help="go on with what happens from now on")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--since", type=int, default=0, help="sequence number to begin with (0)")
    _add_admin(parser)
    parser.set_defaults(act=_events)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("doctor", help="what this machine can do, and what would mend the rest")
    parser.add_argument("--json", action="store_true", help="for programs")
    _add_runtime_dir(parser)
    parser.set_defaults(act=_doctor)


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser], wanted: bool) -> None:
    parser = commands.add_parser("bench", help="measure: demo, colocate, preemption, proxy")
    if wanted:
        from valve_loadgen import cli as bench

        bench.add_arguments(parser.add_subparsers(dest="bench", required=True, metavar="BENCHMARK"))
        parser.set_defaults(act=bench.main)


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser], wanted: bool) -> None:
    parser = commands.add_parser("plan", help="what colocation would save on a fleet, from its own traffic")
    if wanted:
        from valve_loadgen.plan import cli as plan

        from .reclaim_limit import ReclaimLimit
        from .reservation import Reservation

        plan.add_arguments(parser)
        parser.set_defaults(act=partial(plan.main, policy=lambda _usage: Reservation(ReclaimLimit())))


def _add_admin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--admin", help="the sidecar's admin address (VALVE_ADMIN, else 127.0.0.1:8781)")
    parser.add_argument("--admin-token-file", help="its token, where it has one (VALVE_ADMIN_TOKEN_FILE)")


def _add_runtime_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runtime-dir", help="where the node segment lies (/run/valve, or per user)")


def _runtime_dir(args: argparse.Namespace) -> Path:
    """Chooses it and mends what dead runs left behind in it."""
    directory = choose_runtime_dir(args.runtime_dir)
    for message in recover(directory):
        print(f"valve: {message}", file=sys.stderr)
    return directory


def _serve(args: argparse.Namespace) -> int:
    from .serve import serve

    keys = (
        "upstream",
        "listen",
        "admin",
        "admin_token_file",
        "mode",
        "policy",
        "slo_tpot_ms",
        "tpot_budget",
        "slo_ttft_ms",
        "slices_per_s",
        "engine",
        "device",
        "workers",
        "data_plane",
        "measure_arrivals",
        "cooldown_ms",
        "kv_reserve",
        "reclaims_per_hour",
        "grace_s",
        "otlp_endpoint",
        "trace_share",
        "log_level",
    )
    flags = {key: getattr(args, key) for key in (*keys, "runtime_dir")}
    config = load_config(flags, args.config)
    log_like_a_service(config.log_level)
    args.runtime_dir = config.runtime_dir or None
    _runtime_dir(args)
    return serve(config)


def _run(args: argparse.Namespace) -> int:
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not argv:
        print("valve run: no command; write: valve run -- CMD ARGS...", file=sys.stderr)
        return 2
    gpus = args.gpu.split(",") if args.gpu is not None else []
    devices = resolve((*(args.device or ()), *gpus))
    refuse_mps(devices)
    pool = _pool(args, devices)
    prepared = _prepare(args, argv, pool)
    if args.online and pool:
        online = OnlineOptions(
            args.job, devices, _runtime_dir(args), pool, _names_gpus(args), prepared.environment
        )
        run_online(prepared.argv, online)
    options = RunOptions(
        args.job,
        devices,
        args.rank,
        _runtime_dir(args),
        pinned=_names_gpus(args),
        environment=prepared.environment,
        max_stopped_s=prepared.max_stopped_s,
        pool=pool,
        metrics=_metrics(args, argv),
    )
    return run(prepared.argv, options)


def _pool(args: argparse.Namespace, devices: tuple[str, ...]) -> PoolOptions | None:
    """Raises DeviceError, or TenantError for options that do not go together."""
    if args.kv_pool is None:
        if args.online or args.kv_pool_start is not None:
            raise TenantError("--online and --kv-pool-start are about a KV pool: give its size by --kv-pool")
        return None
    check_devices(devices)
    start = args.kv_pool_start if args.kv_pool_start is not None else args.kv_pool * args.online
    if start > args.kv_pool:
        raise TenantError("--kv-pool-start is more than --kv-pool")
    return PoolOptions(args.kv_pool, start, args.online)


def _prepare(args: argparse.Namespace, argv: list[str], pool: PoolOptions | None) -> Prepared:
    """Applies the engine's preset, and tells what that changes. Raises TenantError."""
    adapter = _adapter(args, argv)
    prepared = Prepared(argv, {}, 0) if args.online else prepare(adapter.preset, argv, os.environ)
    if args.max_stopped_s is not None:
        prepared = replace(prepared, max_stopped_s=args.max_stopped_s)
    if pool:
        prepared = _prepare_pool(adapter.preset, prepared, pool)
    if prepared.told:
        say(f"for {adapter.name}: {prepared.told}")
    if prepared.max_stopped_s:
        say(f"stopped for {prepared.max_stopped_s:g} s at most: then it runs for 2 s, whatever the gate says")
    return prepared


def _metrics(args: argparse.Namespace, argv: list[str]) -> Metrics | None:
    url = args.metrics_url or metrics_url(_adapter(args, argv).preset, argv)
    return Metrics(url, tokens_told) if url else None


def _adapter(args: argparse.Namespace, argv: list[str]) -> Adapter:
    return guess(argv) if args.engine == "auto" else by_name(args.engine)


def _prepare_pool(preset: Preset, prepared: Prepared, pool: PoolOptions) -> Prepared:
    """Raises TenantError."""
    size = pool.pages * PAGE_BYTES
    if left := left_to_the_program(preset, prepared.argv, size):
        say(f"this program has to start its engine with {left}")
    try:
        return on_pool(preset, prepared, os.environ, size)
    except KvPoolError as error:
        raise TenantError(str(error)) from error


def _pages(text: str) -> int:
    try:
        return pages_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is no http:// or https:// address")
    return text


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= WEEK_S:
        raise argparse.ArgumentTypeError(f"must be from 0 to {WEEK_S}, not {text}")
    return number


def _names_gpus(args: argparse.Namespace) -> bool:
    """By --gpu, or by CUDA_VISIBLE_DEVICES, whose indexes CUDA may count in another order than NVML does."""
    return args.gpu is not None or (not args.device and "CUDA_VISIBLE_DEVICES" in os.environ)


def _status(args: argparse.Namespace) -> int:
    from .status import read_status, render_status, watch_status

    runtime_dir = _runtime_dir(args)
    if args.watch:
        watch_status(runtime_dir)
        return 0
    status = read_status(runtime_dir)
    print(orjson.dumps(status, option=orjson.OPT_INDENT_2).decode() if args.json else render_status(status))
    return 0


def _top(args: argparse.Namespace) -> int:
    from .top import top

    with _admin(args) as client, suppress(KeyboardInterrupt):
        top(client)
    return 0


def _events(args: argparse.Namespace) -> int:
    from .tail import print_events

    with _admin(args) as client, suppress(KeyboardInterrupt):
        try:
            print_events(client, args.since, follow=args.follow, as_json=args.json)
        except BrokenPipeError:  # whoever read has enough; Python would complain once more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _admin(args: argparse.Namespace) -> AdminClient:
    from .access import read_token
    from .admin_client import AdminClient

    token = read_token(args.admin_token_file or os.environ.get("VALVE_ADMIN_TOKEN_FILE", ""))
    return AdminClient(args.admin or os.environ.get("VALVE_ADMIN") or ServeConfig().admin, token)


def _doctor(args: argparse.Namespace) -> int:
    from valve_runtime.doctor import examine, healthy, render_checks

    checks = examine(_runtime_dir(args))
    print(render_checks(checks, as_json=args.json))
    return 0 if healthy(checks) else 1


def _version(_args: argparse.Namespace) -> int:
    print(installed_version())
    return 0
