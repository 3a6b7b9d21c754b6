"""Owns what a person sees while a benchmark runs: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Screen:
    """A context; `steps` is how often `advance` will be called. `quiet` shows nothing."""

    def __init__(self, steps: int, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.console = Console(file=stream or sys.stderr, quiet=quiet)
        self._quiet = quiet
        self._start_s = time.monotonic()
        self._bar: Progress | None = None
        if self.console.is_terminal and not quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self.console)
            self._task = self._bar.add_task("starting", total=steps)

    def __enter__(self) -> "Screen":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def stage(self, text: str, quietly: bool = False) -> None:
        """What begins now; `quietly` shows it on a bar only."""
        if self._bar:
            self._bar.update(self._task, description=text)
        elif not quietly:
            elapsed_s = time.monotonic() - self._start_s
            self.console.print(f"[{elapsed_s:6.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def advance(self) -> None:
        if self._bar:
            self._bar.advance(self._task)
