"""Owns the frame of an HTML report: one self-contained file, light and dark, nothing fetched (pure)."""

from collections.abc import Iterable, Sequence
from html import escape

# Series colours after Okabe and Ito (colour-blind safe), lighter ones where the ground is dark.
STYLE = """
:root { color-scheme: light dark; --ground: #fbfbfa; --card: #ffffff; --ink: #1c2024; --soft: #5b6570;
  --line: #e3e6e8; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b0578d; --c4: #e69f00; --c5: #56b4e9;
  --c6: #6b7280; --good: #00795a; --bad: #b94a00; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181b; --card: #1d2125; --ink: #e7eaec;
  --soft: #9aa5af; --line: #31373d; --c0: #4aa8e0; --c1: #f08a4b; --c2: #35c49b; --c3: #dc8fbd; --c4: #f2bd4a;
  --c5: #8fd0f5; --c6: #a0a8b2; --good: #35c49b; --bad: #f08a4b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 0 0 6px; }
p { margin: 0 0 10px; max-width: 78ch; }
.soft { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin: 16px 0; overflow-x: auto; }
.grid2 { display: grid; gap: 16px; margin: 16px 0;
  grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.grid2 > section { margin: 0; }
.tiles { display: flex; flex-wrap: wrap; gap: 14px 40px; margin: 18px 0 6px; }
.tile b { display: block; font-size: 30px; line-height: 1.15; font-weight: 650; }
.tile span { color: var(--soft); font-size: 13px; }
.advice { border-left: 4px solid var(--c0); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; margin-bottom: 10px; }
th, td { padding: 6px 12px 6px 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: 13px; }
th:first-child, td:first-child { text-align: left; }
tr.chosen td { font-weight: 650; }
code, pre { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
pre { white-space: pre-wrap; margin: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 12px; } svg text.soft { fill: var(--soft); }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--soft); fill: none; }
svg .ink { stroke: var(--ink); stroke-width: 1.5; fill: none; }
svg .ink-edge { stroke: var(--ink); stroke-width: 2; }
svg .rule { stroke: var(--soft); stroke-dasharray: 3 3; fill: none; }
.good { color: var(--good); } .bad { color: var(--bad); }
"""


def page(title: str, lead: str, body: Iterable[str]) -> str:
    """A whole HTML document: the title, a sentence under it, then `body` (HTML)."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="soft">{escape(lead)}</p>{"".join(body)}</main></body></html>\n'
    )


def section(title: str, *parts: str, kind: str = "") -> str:
    """A titled card; `parts` are HTML."""
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def side_by_side(*sections: str) -> str:
    return f'<div class="grid2">{"".join(sections)}</div>'


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Big numbers: (value, what it is)."""
    shown = (
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for value, name in figures
    )
    return f'<div class="tiles">{"".join(shown)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], chosen: int | None = None) -> str:
    """A table of texts; row number `chosen` stands out."""
    lines = [
        f'<tr class="{"chosen" if index == chosen else ""}">{_cells("td", row)}</tr>'
        for index, row in enumerate(rows)
    ]
    return f"<table><thead><tr>{_cells('th', head)}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>'
