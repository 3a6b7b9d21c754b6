"""requests.csv: a header, a line a request."""

import csv
from pathlib import Path

from valve_loadgen.exchange import Exchange
from valve_loadgen.requests_csv import COLUMNS, write


def test_every_request_has_its_line(tmp_path: Path) -> None:
    answered = Exchange("a", "", 1, 2, 3, 9, 200, [4, 5, 6], 7, prompt_tokens=8)
    failed = Exchange("b", "", 1, error="cut, early", cancelled=True)
    write(tmp_path / "requests.csv", [answered, failed])
    with (tmp_path / "requests.csv").open(newline="") as file:
        header, first, second = csv.reader(file)
    assert header == list(COLUMNS)
    assert first == ["a", "1", "2", "3", "4", "6", "9", "200", "8", "7", "3", "0", ""]
    assert dict(zip(header, second, strict=True)) == {
        **dict.fromkeys(COLUMNS, "0"),
        "request_id": "b",
        "sched_ns": "1",
        "first_token_ns": "",
        "last_token_ns": "",
        "prompt_tokens": "",
        "cancelled": "1",
        "error": "cut, early",
    }
