"""An EMULATION of TensorRT-LLM's HTTP surface: that engine cannot run without a GPU. It computes nothing.

Taken from its source, github.com/NVIDIA/TensorRT-LLM: serve/openai_server.py at 00057725 (routes, disconnect,
metrics), serve/postprocess_handlers.py at 01bf1923 (what a stream's chunks hold). Written anew, not copied.
What matters to a sidecar is as there:
  - a client that goes is noticed by looking once a second; until then it runs on (await_disconnected);
  - GET /metrics takes what it tells out of a queue, so every reader takes it from the others;
  - /prometheus/metrics is there only with return_perf_metrics, and its gauges move when a request completes;
  - a chat stream begins with a chunk that has a role only, and its data line ends with a blank;
  - usage comes with every chunk (continuous_usage_stats), in a chunk of its own at the end, or not at all;
  - GET /health_generate generates; /health does not.
Left out: responses, messages, images, reasoning, tools, and what it does with prompts.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web

TIMEOUT_KEEP_ALIVE = 5
DISCONNECT_POLL_S = 1.0
IDLE_POSTS = (
    "/kv_cache_events /v1/kv_cache_hints /steady_clock_offset /release_memory /resume_memory /update_weights"
)


class Generation:
    """One request in the executor."""

    def __init__(self, engine: EmulatedTensorRTLLM, request: web.Request, tokens: int) -> None:
        self._engine, self._request, self._tokens = engine, request, tokens
        self._aborted = False

    async def outputs(self) -> AsyncIterator[int]:
        """The number of tokens so far, after each iteration."""
        self._engine.running += 1
        watch = asyncio.create_task(self._await_disconnected())
        try:
            for length in range(1, self._tokens + 1):
                await asyncio.sleep(self._engine.step_s)
                self._engine.stats.append({"iter": length, "numActiveRequests": self._engine.running})
                if self._aborted:
                    return
                yield length
            self._engine.completed += 1
        finally:
            watch.cancel()
            self._engine.running -= 1
            self._engine.ended_ns = time.monotonic_ns()

    def _is_disconnected(self) -> bool:
        return self._request.transport is None or self._request.transport.is_closing()

    async def _await_disconnected(self) -> None:
        while not self._is_disconnected():  # noqa: ASYNC110 - as the engine does
            await asyncio.sleep(DISCONNECT_POLL_S)
        self._aborted = True


class EmulatedTensorRTLLM:
    """Serves on `url` from construction to `close`. Its counters may be read from any thread."""

    def __init__(self, step_s: float = 0.01, *, return_perf_metrics: bool = False) -> None:
        self.step_s = step_s
        self.running = self.completed = 0
        self.ended_ns = 0  # when the last generation did
        self.stats: deque[dict[str, int]] = deque()
        self.posts: list[str] = []
        self._return_perf_metrics = return_perf_metrics
        self._loop, self._ready = asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        runner = web.AppRunner(self._app(), keepalive_timeout=TIMEOUT_KEEP_ALIVE)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def _app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._answer_empty),
                web.get("/health_generate", self._health_generate),
                web.get("/version", self._version),
                web.get("/v1/models", self._models),
                web.get("/metrics", self._metrics),
                web.post("/v1/completions", self._completions),
                web.post("/v1/chat/completions", self._chat),
                *(web.post(path, self._answer_empty) for path in IDLE_POSTS.split()),
            ]
        )
        if self._return_perf_metrics:
            app.add_routes([web.get("/prometheus/metrics", self._prometheus)])
        return app

    # ---- routes ----

    async def _answer_empty(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            self.posts.append(request.path)
        return web.Response()

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "1.2.1"})

    async def _models(self, _request: web.Request) -> web.Response:
        card = {"id": "m", "object": "model", "created": 1, "owned_by": "tensorrt_llm"}
        return web.json_response({"object": "list", "data": [card]})

    async def _metrics(self, _request: web.Request) -> web.Response:
        taken = [self.stats.popleft() for _ in range(len(self.stats))]
        return web.json_response(taken)

    async def _prometheus(self, _request: web.Request) -> web.Response:
        lines = [f"trtllm_num_requests_running {1.0 if self.completed else 0.0}", ""]
        return web.Response(text="\n".join(lines))

    async def _health_generate(self, request: web.Request) -> web.Response:
        async for _ in Generation(self, request, 1).outputs():
            pass
        return web.Response(text="Generation health check OK")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, "chat.completion")

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, "text_completion")

    # ---- generation ----

    async def _generate(self, request: web.Request, kind: str) -> web.StreamResponse:
        body = await request.json()
        generation = Generation(self, request, int(body.get("max_tokens", 16)))
        if body.get("stream"):
            return await self._stream(request, generation, kind, body.get("stream_options") or {})
        length = max([length async for length in generation.outputs()], default=0)
        message = {"message": {"role": "assistant", "content": " w" * length}}
        choice = {"index": 0, **(message if kind == "chat.completion" else {"text": " w" * length})}
        return web.json_response({"object": kind, "choices": [choice], "usage": usage(length)})

    async def _stream(
        self, request: web.Request, generation: Generation, kind: str, options: dict[str, Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        length = 0
        async for length in generation.outputs():
            for event in events(kind, length, options):
                await send(response, event)
        if options.get("include_usage"):
            await send(response, chunk(kind, [], usage(length)))
        await send(response, b"data: [DONE]\n\n")
        return response


def events(kind: str, length: int, options: dict[str, Any]) -> list[bytes]:
    """What one iteration adds to a stream."""
    counted = usage(length) if options.get("continuous_usage_stats") else None
    if kind == "text_completion":
        return [chunk(kind, [{"index": 0, "text": " w"}], counted)]
    first = [chunk(kind, [{"index": 0, "delta": {"role": "assistant"}}], None, end=b" \n\n")]
    token = chunk(kind, [{"index": 0, "delta": {"content": " w", "reasoning_content": ""}}], counted)
    return [*(first if length == 1 else []), token]


def chunk(
    kind: str, choices: list[dict[str, Any]], counted: dict[str, int] | None, end: bytes = b"\n\n"
) -> bytes:
    content = {"id": "1", "object": kind, "model": "m", "choices": choices}
    return b"data: " + orjson.dumps(content | ({"usage": counted} if counted else {})) + end


def usage(length: int) -> dict[str, int]:
    return {"prompt_tokens": 3, "completion_tokens": length, "total_tokens": 3 + length}


async def send(response: web.StreamResponse, data: bytes) -> None:
    """A client that is gone is not noticed by writing."""
    try:
        await response.write(data)
    except ConnectionError:
        pass
