"""What a person is shown: every arm, every ratio with its interval and verdict, every reason against it."""

import io

from rich.console import Console

from valve_loadgen.results import Results
from valve_loadgen.table import render

from .test_results import four_arms, window


def shown(results: Results, reasons: list[str]) -> str:
    stream = io.StringIO()
    report = {**results.report(), "rounds": 8, "reasons": reasons}
    Console(file=stream, width=140).print(render(report))
    return stream.getvalue()


def test_the_table_shows_arms_ratios_and_verdicts() -> None:
    text = shown(four_arms(), [])
    for part in (
        "online alone",
        "offline alone",
        "shared, no gate",
        "shared with Valve",
        "110 / 118",
        "68.0",
        "68%",
    ):
        assert part in text
    assert "1.009 [1.009, 1.009]" in text
    assert "< 1.05" in text
    assert "met" in text
    assert "INVALID" not in text


def test_a_run_without_figures_is_shown_with_its_reasons() -> None:
    text = shown(Results(), ["the client sent late"])
    assert "INVALID: the client sent late" in text
    assert "inconclusive" in text


def test_a_baseline_has_its_row_and_its_column() -> None:
    results = four_arms()
    results.windows += [window("shared_nice", index, 120, 15, 400) for index in range(8)]
    text = shown(results, [])
    assert "shared, nice 19" in text
    assert "1.500 [1.500, 1.500]" in text
