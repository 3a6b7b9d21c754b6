"""Owns how `valve bench proxy` is shown: a table for a terminal, a plot as SVG (pure)."""

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

BAR, GAP, LABELS, WIDTH = 16, 6, 110, 360
OURS, OTHERS = "#1668a8", "#9aa5b1"

# title, unit, path into a peer's figures
COLUMNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("requests per second", "", ("rps",)),
    ("CPU per request", "us", ("cpu_us_per_request",)),
    ("added at 50 rps, p50", "us", ("added_us", "p50")),
    ("added at 50 rps, p99", "us", ("added_us", "p99")),
    ("added TTFT, 1 stream, p50", "us", ("stream", "added_ttft_us", "p50")),
    ("added TTFT, 1 stream, p99", "us", ("stream", "added_ttft_us", "p99")),
    ("added TTFT, 128 streams, p50", "us", ("stream", "added_ttft_128_us", "p50")),
    ("added TTFT, 128 streams, p99", "us", ("stream", "added_ttft_128_us", "p99")),
    ("CPU per chunk, 128 streams", "us", ("stream", "cpu_us_per_chunk")),
    ("1 MB prompt over direct", "x", ("prompt_1mb_over_direct",)),
    ("client send to gate, p50", "us", ("send_to_gate_us", "p50")),
    ("client send to gate, p99", "us", ("send_to_gate_us", "p99")),
    ("of which the machine's own, p50", "us", ("bare_epoll_us", "p50")),
    ("of which the machine's own, p99", "us", ("bare_epoll_us", "p99")),
    ("cancel while streaming", "us", ("cancel_us", "streaming")),
    ("cancel before the first byte", "us", ("cancel_us", "before_first_byte")),
    ("cancel of a silent stream", "us", ("cancel_us", "silent_stream")),
    ("request beside a busy admin side, p99", "us", ("beside_admin_us", "p99")),
)


def figure(peer: dict[str, Any], path: Sequence[str]) -> float | None:
    """None for what was not measured on this peer."""
    value: Any = peer
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else float(value)


def written(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def render(result: dict[str, Any]) -> str:
    """One line for each figure, one column for each peer."""
    names = list(result["peers"])
    lines = ["".join([f"{'':42}", *(f"{name:>15}" for name in names)])]
    for title, unit, path in COLUMNS:
        values = [written(figure(result["peers"][name], path)) for name in names]
        head = f"{title} [{unit}]" if unit else title
        lines.append("".join([f"{head:42}", *(f"{value:>15}" for value in values)]))
    return "\n".join([*lines, f"medians of {result['rounds']} rounds; {result['placement']}"])


def plot(result: dict[str, Any]) -> str:
    """An SVG of bars: one group for each figure, one bar for each peer."""
    parts, top = [], 10
    for title, unit, path in COLUMNS:
        group, top = bars(result["peers"], (title, unit, path), top)
        parts += group
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + WIDTH + 90}" height="{top}" '
    style = 'font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n'
    return head + style + "\n".join(parts) + "\n</svg>\n"


def bars(peers: dict[str, Any], column: tuple[str, str, tuple[str, ...]], top: int) -> tuple[list[str], int]:
    """One group, and where the next one begins."""
    title, unit, path = column
    values = {name: value for name, peer in peers.items() if (value := figure(peer, path)) is not None}
    largest = max([*values.values(), 1e-9])
    parts = [text(0, top + 10, f"{title} {f'({unit})' if unit else ''}", weight="bold")]
    top += 18
    for name, value in values.items():
        parts += bar(name, value, max(value, 0) / largest, top)
        top += BAR + GAP
    return parts, top + 12


def bar(name: str, value: float, share: float, top: int) -> list[str]:
    colour = OURS if name.startswith("valve") else OTHERS
    width = max(1, round(share * WIDTH))
    return [
        text(8, top + 12, name),
        f'<rect x="{LABELS}" y="{top}" width="{width}" height="{BAR}" fill="{colour}"/>',
        text(LABELS + width + 5, top + 12, written(value)),
    ]


def text(x: int, y: int, content: str, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" font-weight="{weight}">{escape(content)}</text>'
