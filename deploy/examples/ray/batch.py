"""A Ray Data batch on offline engines that are Valve's tenants: each worker starts its own under `valve run`.

    python batch.py in.jsonl out/ --workers 2 -- ENGINE_COMMAND --port {port}

Ray's own processes are never stopped: a raylet that stands still is taken for dead. What is stopped is the
engine; its worker waits for the answer, so requests have no time-out.
"""

import argparse
import json
import os
import socket
import subprocess
import time
import urllib.request
from typing import Any

import ray

START_S = 600.0


class Tenant:
    """One worker with its engine; lives as long as Ray keeps the actor."""

    def __init__(self, valve: list[str], command: list[str]) -> None:
        port = str(free_port())
        self.url = f"http://127.0.0.1:{port}"
        engine = [part.replace("{port}", port) for part in command]
        job = ["run", "--job", f"ray-{os.getpid()}", "--"]
        self.engine = subprocess.Popen([*valve, *job, *engine], stdout=subprocess.DEVNULL)
        self.wait()

    def wait(self) -> None:
        """Raises RuntimeError when the engine ends, or is not there after START_S."""
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if (code := self.engine.poll()) is not None:
                raise RuntimeError(f"the engine ended with exit code {code}")
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=60):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"the engine at {self.url} is not there after {START_S:g} s")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"prompt": row["prompt"], "max_tokens": int(row["max_tokens"])}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/completions", body, headers)
        with urllib.request.urlopen(request) as answer:
            return {**row, "text": json.load(answer)["choices"][0]["text"], "worker": os.getpid()}

    def __del__(self) -> None:
        if hasattr(self, "engine"):
            self.engine.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("input", help="JSON lines with prompt and max_tokens")
    parser.add_argument("output", help="folder for JSON lines with text")
    parser.add_argument("--workers", type=int, default=2, help="engines (2)")
    parser.add_argument("--valve", default="valve", help="the command (valve)")
    parser.add_argument("command", nargs="+", help="the engine's; {port} is its port")
    args = parser.parse_args()
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.read_json(args.input).repartition(2 * args.workers)
    given = {"valve": args.valve.split(), "command": args.command}
    pool = ray.data.ActorPoolStrategy(size=args.workers)
    rows.map(Tenant, fn_constructor_kwargs=given, compute=pool, num_cpus=0.1).write_json(args.output)


if __name__ == "__main__":
    main()
