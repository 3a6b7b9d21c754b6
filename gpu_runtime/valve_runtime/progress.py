"""Keeps the count of a job's tokens in its row, as the metrics of its own engine tell it.

By a thread of `valve run`. While the job is stopped it waits for the answer, as anybody who asks would.
"""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from .notice import say

READ_S = 2.0
ANSWER_S = 60.0
MAX_BYTES = 4 << 20

Tokens = tuple[int, int]  # generated, and of prompts
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the engine is on this machine


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where an engine tells them, and how its tokens are read out of the text: None if they are not in it."""

    url: str
    read: Callable[[bytes], Tokens | None]


class Sum:
    """Adds up counters that begin at 0 again whenever the engine does. Pure."""

    def __init__(self) -> None:
        self._last: Tokens = (0, 0)
        self.total: Tokens = (0, 0)

    def take(self, now: Tokens) -> None:
        grown = [new - old if new >= old else new for new, old in zip(now, self._last, strict=True)]
        self.total = (self.total[0] + grown[0], self.total[1] + grown[1])
        self._last = now


class Progress:
    """`tell` gets both sums; not after `stop`, which waits for nothing."""

    def __init__(self, metrics: Metrics, tell: Callable[[int, int], None]) -> None:
        self._metrics, self._tell = metrics, tell
        self._sum = Sum()
        self._said = False
        self._telling = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="valve-progress", daemon=True).start()

    def stop(self) -> None:
        with self._telling:
            self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(READ_S):
            try:
                self._take(ask(self._metrics.url))
            except urllib.error.HTTPError as error:
                self._say_once(f"{self._metrics.url} answers {error.code}")
            except (OSError, http.client.HTTPException):
                pass  # it is not up yet, or stopped, or at its end
            except (ValueError, OverflowError) as error:  # no URL or port after all; infinitely many tokens
                self._say_once(f"{self._metrics.url}: {error}")

    def _take(self, text: bytes) -> None:
        tokens = self._metrics.read(text)
        if tokens is None:
            self._say_once(f"{self._metrics.url} tells no tokens that we know")
            return
        self._sum.take(tokens)
        with self._telling:
            if not self._stopping.is_set():
                self._tell(*self._sum.total)

    def _say_once(self, problem: str) -> None:
        if not self._said:
            say(f"no count of offline tokens: {problem}")
        self._said = True


def ask(url: str) -> bytes:
    """Raises OSError (HTTPError among them), HTTPException."""
    with _OPENER.open(url, timeout=ANSWER_S) as answer:
        return bytes(answer.read(MAX_BYTES))
