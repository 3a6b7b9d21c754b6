"""What seeing costs: `make bench-observability`, or `python -m bench.observability --quick` in tests/.

Prints JSON: CPU and first-byte time of a request with everything off and on, lateness of an event loop
that feeds the exporter, and how soon the page shows a change of the gate. Needs chromium for the last.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import orjson

from valve_loadgen import machine

from .lateness import measure_lateness
from .page_delay import measure_page
from .request_cost import measure_requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples: does it work at all?")
    scale = 0.1 if parser.parse_args().quick else 1.0
    result = {
        "machine": machine.describe(),
        "request": asyncio.run(measure_requests(scale)),
        "lateness": measure_lateness(scale),
        "page": asyncio.run(measure_page(scale)),
    }
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
