"""What seeing costs: `make bench-observability`, or `python -m bench.observability --scale 0.1` in tests/.

Prints JSON: CPU and first-byte time of a request with everything off and on, lateness of an event loop
that feeds the exporter, and how soon the page shows a change of the gate. Needs chromium for the last.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

import orjson

from valve_loadgen import machine

from .lateness import measure_lateness
from .page_delay import measure_page
from .request_cost import measure_requests

PARTS: dict[str, Callable[[float], Any]] = {
    "request": lambda scale: asyncio.run(measure_requests(scale)),
    "lateness": measure_lateness,
    "page": lambda scale: asyncio.run(measure_page(scale)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the samples; 0.1: does it work? (1)")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; repeatable")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends all that it has started
    result = {"machine": machine.describe()}
    result |= {name: PARTS[name](arguments.scale) for name in arguments.part or PARTS}
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
