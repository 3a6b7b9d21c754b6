"""How many tokens an offline engine has computed: where its metrics are, and what they say; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from . import prometheus
from .preset import Preset, Server, value_of
from .registry import KNOWN

WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - what a server binds, and nobody connects to


def metrics_url(preset: Preset, argv: Sequence[str]) -> str:
    """Of the server that the command line starts; empty if it starts none, or does not say where: another's
    tokens must not be counted.
    """
    server = preset.server
    if server is None or not _starts(server, argv) or _is_told_elsewhere(argv):
        return ""
    host = value_of(argv, "--host") or ""
    port = value_of(argv, "--port") or str(server.port)
    if "/" in host or not port.isdecimal():
        return ""
    host = "127.0.0.1" if host in WILDCARDS else f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/metrics"


def tokens_told(text: bytes) -> tuple[int, int] | None:
    """(generated, of prompts) since the engine started, by whichever engine's names are in its metrics; None
    if none are.
    """
    for server in _servers():
        tokens = prometheus.total(text, server.tokens)
        if tokens is not None:
            return max(tokens, 0), max(prometheus.total(text, server.input_tokens) or 0, 0)
    return None


def _servers() -> Iterator[Server]:
    return (adapter.preset.server for adapter in KNOWN if adapter.preset.server)


def _is_told_elsewhere(argv: Sequence[str]) -> bool:
    """In a file, or there is no port at all."""
    in_file = value_of(argv, "--config") is not None and value_of(argv, "--port") is None
    return in_file or value_of(argv, "--uds") is not None


def _starts(server: Server, argv: Sequence[str]) -> bool:
    words = [Path(word).name for word in argv]
    return any(
        tuple(words[i : i + len(launcher)]) == launcher
        for launcher in server.launchers
        for i in range(len(words))
    )
