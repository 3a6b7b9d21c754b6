"""A real Chromium without a window, driven over its own protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp

BINARY = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
START_S = 60


class Browser:
    """One tab. `complaints`: errors and warnings of its console, and exceptions that nobody caught."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []

    async def __aenter__(self) -> Browser:
        self._process = self._start()
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(await self._tab(), max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        return self

    def _start(self) -> subprocess.Popen[bytes]:
        assert BINARY is not None
        command = [BINARY, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        await self._reading
        await self._session.close()
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, START_S)

    async def _tab(self) -> str:
        """Where to talk to its first tab. The port stands in a file once it listens."""
        file = self._profile / "DevToolsActivePort"
        async with asyncio.timeout(START_S):
            while not (file.exists() and file.read_text().strip()):
                assert self._process.poll() is None, "chromium ended"
                await asyncio.sleep(0.05)
            port = file.read_text().split()[0]
            while True:
                async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
                    tabs = [tab for tab in await answer.json() if tab["type"] == "page"]
                if tabs:
                    return str(tabs[0]["webSocketDebuggerUrl"])
                await asyncio.sleep(0.05)

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            else:
                self._note(told["method"], told["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(str(params["entry"]))

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; its result. Raises RuntimeError if the browser refuses."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        answer = await asyncio.wait_for(self._answers[number], START_S)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    async def open(self, url: str) -> None:
        """Returns once it has loaded."""
        await self.call("Page.navigate", url=url)
        ready = "document.readyState === 'complete' ? done() : addEventListener('load', done)"
        await self.value(f"new Promise(done => {ready})")

    async def value(self, expression: str) -> Any:
        """Of JavaScript in the page; promises are awaited."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        """Until this JavaScript is true."""
        look = f"const look = () => ({condition}) ? done() : setTimeout(look, 10); look();"
        await self.value(f"new Promise(done => {{ {look} }})")

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, **text)

    async def look_like(self, width: int, height: int, *, dark: bool = False) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self) -> bytes:
        """The whole page as PNG."""
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])
