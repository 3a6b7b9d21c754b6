"""Owns clients that take their time: each dribbles its request and reads the answer a byte at a time."""

import asyncio
import contextlib
import threading
from types import TracebackType

PIECE, PAUSE_S = 16, 0.05
REQUEST = (
    b"POST /v1/completions HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: 64\r\n\r\n" + b"x" * 64
)


class SlowClients:
    """`count` of them in a thread of their own while the context lasts; `done` and `failed` exchanges."""

    def __init__(self, port: int, count: int) -> None:
        self._port, self._count = port, count
        self.done = self.failed = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._all(),))
        self._over = asyncio.Event()

    def __enter__(self) -> "SlowClients":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _all(self) -> None:
        tasks = [asyncio.create_task(self._ask_for_ever()) for _ in range(self._count)]
        await self._over.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_for_ever(self) -> None:
        while True:
            if await self._ask():
                self.done += 1
            else:
                self.failed += 1

    async def _ask(self) -> bool:
        """Whether the answer is whole."""
        answer = b""
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            with contextlib.closing(writer):
                for begin in range(0, len(REQUEST), PIECE):
                    writer.write(REQUEST[begin : begin + PIECE])
                    await asyncio.sleep(PAUSE_S)
                while piece := await reader.read(PIECE):
                    answer += piece
                    await asyncio.sleep(PAUSE_S / 5)
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.startswith(b"HTTP/1.1 200") and body.endswith(b"}}")
