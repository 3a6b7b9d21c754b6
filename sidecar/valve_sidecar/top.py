"""`valve top`: the live page's figures in a terminal."""

from __future__ import annotations

import io
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from valve_runtime.ledger import PAGE_BYTES

from .admin_client import AGAIN_S, AdminClient
from .errors import SidecarError
from .strip import Strip

SPAN_NS = 60_000_000_000
EVENTS = 8
LABEL = 18  # columns in front of a strip
BARS = " ▁▂▃▄▅▆▇█"
GATES = {
    "open": ("○ open", "yellow"),
    "slice": ("◐ slice", "yellow"),
    "closed": ("■ closed", "blue"),
    "cooling": ("◔ cooling", "green"),
}
OPEN_GATES = ("open", "slice")
KINDS = {
    "close": "gate closed",
    "open": "gate opened",
    "lapse": "lease lapsed",
    "reclaim": "memory reclaimed",
    "reclaimed": "memory lost",
    "give_back": "memory given back",
}
STATES = {"running": ("▶ running", "yellow"), "stopping": ("◧ stopping", ""), "stopped": ("■ stopped", "")}
Record = dict[str, Any]


class Screen:
    """Keeps what frames have told of the last minute, and draws it."""

    def __init__(self) -> None:
        self._gate = Strip()
        self._tenants: dict[tuple[int, int], Strip] = {}
        self._flights: deque[tuple[int, int]] = deque(maxlen=1_024)
        self._events: deque[Record] = deque(maxlen=EVENTS)
        self._known_ns = 0  # what was before is not known

    def take(self, frame: Record) -> None:
        self._known_ns = self._known_ns or frame["known_ns"]
        self._flights.append((frame["t_ns"], frame["in_flight"]))
        for event in frame["events"]:
            if "slice" not in event:
                self._events.append(event)
            if event["kind"] in ("close", "open", "lapse"):
                self._gate.change(event["t_ns"], stopped=event["kind"] == "close")
            if event["kind"] in ("stopped", "resumed"):
                strip = self._tenants.setdefault((event["row"], event["pid"]), Strip())
                strip.change(event["t_ns"], stopped=event["kind"] == "stopped")

    def draw(self, frame: Record, width: int, note: str = "") -> RenderableType:
        parts = [header(frame, note), figures(frame), Text(), self._strips(frame, width)]
        return Group(*parts, Text(), tenant_table(frame), *memory(frame), Text(), self._event_table(frame))

    def _strips(self, frame: Record, width: int) -> RenderableType:
        columns = max(width - LABEL, 10)
        closed = frame["gate"] not in OPEN_GATES
        lines = [
            ("in flight", self._flight_bars(frame["t_ns"] - SPAN_NS, columns), "blue"),
            ("gate", self._strip(self._gate, frame["t_ns"], columns, closed), "green"),
        ]
        for job in [tenant for tenant in frame["tenants"] if not tenant["runner_pid"]]:
            strip = self._tenants.get((job["row"], job["pid"]), Strip())
            text = self._strip(strip, frame["t_ns"], columns, job["state"] == "stopped")
            lines.append((job["job"], text, "yellow"))
        shown = [Text.assemble(label(name), (text, style)) for name, text, style in lines]
        return Group(*shown, Text("last minute: █ may run, · stopped, ▄ both", style="dim"))

    def _strip(self, strip: Strip, now_ns: int, columns: int, stopped_now: bool) -> str:
        return strip.render(
            now_ns - SPAN_NS, now_ns, columns, known_ns=self._known_ns, stopped_now=stopped_now
        )

    def _flight_bars(self, start_ns: int, columns: int) -> str:
        step_ns = SPAN_NS / columns
        most = [0] * columns
        for t_ns, count in self._flights:
            place = int((t_ns - start_ns) / step_ns)
            if 0 <= place <= columns:
                most[min(place, columns - 1)] = max(most[min(place, columns - 1)], count)
        top = max([1, *most])
        return "".join(BARS[-(-count * (len(BARS) - 1) // top)] for count in most)

    def _event_table(self, frame: Record) -> Table:
        table = plain_table("AGO", "EVENT", "WHAT")
        for event in sorted(self._events, key=lambda event: event["t_ns"], reverse=True):
            ago = f"{(frame['t_ns'] - event['t_ns']) / 1e9:.1f} s"
            table.add_row(ago, KINDS.get(event["kind"], event["kind"]), Text(event_text(event)))
        return table


def label(name: str) -> str:
    shown = name if len(name) < LABEL else name[: LABEL - 2] + "…"
    return shown.ljust(LABEL)


def header(frame: Record, note: str) -> Text:
    words = f"  {frame['upstream']} ({frame['engine']}), mode {frame['mode']}, {frame['version']}  "
    text = Text.assemble(("valve", "bold"), words, (note or "q: quit", "bold red" if note else "dim"))
    if frame["budget"] and frame["budget"]["problem"]:
        text.append(f"\n{frame['budget']['problem']}", style="bold red")
    if not frame["gated"]:
        why = frame["problem"] or f"mode {frame['mode']}"
        text.append(f"\nnothing is stopped: {why}", style="bold red")
    return text


def figures(frame: Record) -> Table:
    word, colour = GATES[frame["gate"]]
    stops, shares, requests = frame["preemption"], frame["shares"], frame["requests"]
    most = f"at most {frame['closes_per_request_max']} per request"
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(4):
        table.add_column()
    table.add_row("gate", Text(word, style=f"bold {colour}"), "in flight", f"{frame['in_flight']}")
    table.add_row("TTFT", latency(requests["ttft_ms"]), "TPOT", latency(requests["tpot_ms"]))
    table.add_row("preemption", f"p50 {us(stops['p50_us'])}, p99 {us(stops['p99_us'])}", "", most)
    if shares:
        used = min(shares["harvested"] / shares["drained"], 1.0) if shares["drained"] else 0.0
        table.add_row("idle", f"{shares['drained']:.0%} of the last minute", "used", f"{used:.0%} of that")
    if frame["budget"]:
        table.add_row("budget", budget_text(frame["budget"]), "slices", slices_text(frame["budget"], shares))
    return table


def budget_text(budget: Record) -> str:
    """What is promised, what of it is spent, and what the request with least has left."""
    if not budget["slo_ms"]:
        return "measuring the baseline"
    spent = "-" if budget["spent"] is None else f"{budget['spent']:.0%}"
    left = "-" if budget["balance_ms"] is None else f"{budget['balance_ms']:.0f} ms"
    return f"TPOT {budget['slo_ms']:.3g} ms: {spent} spent, least left {left}"


def slices_text(budget: Record, shares: Record | None) -> str:
    share = f"{shares['sliced']:.0%} of the last minute; " if shares else ""
    return f"{share}{budget['missed']} of {budget['sliced']} requests above the SLO"


def tenant_table(frame: Record) -> RenderableType:
    if not frame["tenants"]:
        return Text("no tenant: start one with `valve run -- CMD`")
    table = plain_table("TENANT", "STATE", "MECHANISM", "DEVICES", "STOPS", "TOKENS", "TROUBLE")
    for tenant in frame["tenants"]:
        name = ("  " if tenant["runner_pid"] else "") + tenant["job"]
        word, colour = STATES.get(tenant["state"], (tenant["state"], ""))
        trouble = ", ".join(f"{key.replace('_', ' ')} {n}" for key, n in tenant["trouble"].items())
        devices, stops = ", ".join(tenant["devices"]) or "-", str(tenant["stops"])
        row = (tenant["mechanism"], devices, stops, tokens_text(tenant), Text(trouble or "-"))
        table.add_row(Text(name), Text(word, style=colour), *row)
    return table


def tokens_text(tenant: Record) -> str:
    """Generated ones; unknown is not none."""
    return "-" if tenant["tokens"] is None else f"{tenant['tokens']:,}"


def memory(frame: Record) -> list[RenderableType]:
    """A line of bars for each device whose KV memory is shared."""
    return [memory_line(device) for device in frame["memory"]]


def memory_line(device: Record) -> Text:
    columns, total = 40, max(device["limit"], 1)
    online, tenants = (round(device[owner] * columns / total) for owner in ("online", "tenants"))
    text = Text.assemble(label("KV memory"), ("█" * online, "blue"), ("▒" * tenants, "yellow"))
    text.append("·" * max(columns - online - tenants, 0), style="dim")
    text.append(
        f" online {gib(device['online'])}, tenants {gib(device['tenants'])} of {gib(device['limit'])}; "
        f"reserved {gib(device['reserved'])}, reclaims {device['reclaims']}"
    )
    return text


def gib(pages: int) -> str:
    return f"{pages * PAGE_BYTES / (1 << 30):.1f} GiB"


def plain_table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title)
    return table


def event_text(event: Record) -> str:
    if event["kind"] == "stopped" and "latency_ns" in event and not event["request_id"]:
        return f"{event['job']}, {us(event['latency_ns'] / 1000)} after a slice"
    if event["kind"] == "close" and not event["request_id"]:
        return "the slice is over"
    if "slice_until_ns" in event:
        return f"for a slice of {(event['slice_until_ns'] - event['t_ns']) / 1e6:.0f} ms"
    if event["kind"] == "stopped" and "latency_ns" in event:
        return f"{event['job']}, {us(event['latency_ns'] / 1000)} after request {event['request_id']}"
    if event["kind"] == "close":
        return f"by request {event['request_id']}"
    if event["kind"] == "reclaimed":
        took = us((event["t_ns"] - event["noticed_ns"]) / 1000)
        return f"{event['job']}, {gib(event['pages'])} in {took}"
    if event["kind"] in ("reclaim", "give_back"):
        return f"{gib(event['pages'])}: {gib(event['reserved'])} of {event['device']} are online's"
    return str(event.get("job", ""))


def latency(figures: Record) -> str:
    """Now, and whether requests that stop offline work fare worse than the others."""
    if figures["now"] is None:
        return "-"
    text = f"{figures['now']:.1f} ms"
    if figures["stopping"] is not None and figures["others"]:
        text += f" (with a stop {figures['stopping'] / figures['others'] - 1:+.1%})"
    return text


def us(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} us" if value < 1000 else f"{value / 1000:.2f} ms"


def top(client: AdminClient) -> None:
    """Until q or ctrl-C; without a terminal one picture, as text. Raises SidecarError without a sidecar."""
    frames, screen = client.frames(), Screen()
    frame = next(frames)
    screen.take(frame)
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        print(as_text(screen.draw(frame, 100)))
        return
    with keys(), Live(screen=True, auto_refresh=False) as live:
        while not quit_pressed():
            live.update(screen.draw(frame, live.console.width), refresh=True)
            try:
                frame = next(frames)
                screen.take(frame)
            except SidecarError:
                live.update(
                    screen.draw(frame, live.console.width, "no connection, trying again"), refresh=True
                )
                time.sleep(AGAIN_S)
                frames = client.frames()


def as_text(picture: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip()


@contextmanager
def keys() -> Iterator[None]:
    """Single keys reach us at once and are not shown."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def quit_pressed() -> bool:
    while select.select([sys.stdin], [], [], 0)[0]:
        key = sys.stdin.read(1)
        if key in ("q", ""):
            return True
    return False
