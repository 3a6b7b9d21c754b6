"""Records the bytes of an engine's responses for the tests of the token counters, one file a route:
`python tests/engines/capture.py vllm http://127.0.0.1:8000 tests/adapters/captures/vllm-0.32.0`.
"""

import sys
from pathlib import Path
from typing import Any

import httpx
import routes

PLAIN = {"stream": True}
CONTINUOUS = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}


def requests(engine: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Path and body by the name of the file."""
    asked: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, route in routes.of(engine).items():
        asked[name] = route.path, route.ask(stream=True)
        asked[f"{name}-whole"] = route.path, route.ask(stream=False)
    for name in ("chat", "completions"):
        route = routes.OPENAI[name]
        asked[f"{name}-no-usage"] = route.path, {**route.ask(stream=False), **PLAIN}
        asked[f"{name}-continuous-usage"] = route.path, {**route.ask(stream=False), **CONTINUOUS}
        asked[f"{name}-two-choices"] = route.path, {**route.ask(stream=True), "n": 2, "temperature": 1}
    return asked


def capture(engine: str, base: str, folder: Path) -> None:
    """Refused requests are not recorded."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (path, body) in requests(engine).items():
        response = httpx.post(base + path, json=body, timeout=60)
        print(response.status_code, name)
        if response.status_code == 200:
            (folder / f"{name}.txt").write_bytes(response.content)


if __name__ == "__main__":
    capture(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
