"""Those who look at the measured sidecars: a collector, scrapers, an open page; in processes of their own,
below everything else, so that what they cost is not measured.

`python -m bench.onlookers collector`, `... scraper ADMIN` and `... page ADMIN` run until their input ends.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager

import aiohttp

from integration.collector import Collector

NICE = 19


async def scrape(admin: str) -> None:
    """Every second, as a Prometheus would at its busiest."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{admin}/metrics") as answer:
                await answer.read()
            await asyncio.sleep(1)


async def watch(admin: str) -> None:
    async with aiohttp.ClientSession(read_bufsize=1 << 24) as session, session.get(f"{admin}/live") as answer:
        async for _ in answer.content:
            pass


async def until_input_ends(work: Coroutine[None, None, None]) -> None:
    task = asyncio.create_task(work)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def collect() -> None:
    collector = Collector()
    print(collector.url, flush=True)
    sys.stdin.read()
    collector.close()


@contextmanager
def onlooker(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.onlookers", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate()


@contextmanager
def collector() -> Iterator[str]:
    """Its URL."""
    with onlooker("collector") as process:
        assert process.stdout
        yield process.stdout.readline().strip()


def main() -> None:
    os.nice(NICE)
    match sys.argv[1:]:
        case ["collector"]:
            collect()
        case ["scraper", admin]:
            asyncio.run(until_input_ends(scrape(admin)))
        case ["page", admin]:
            asyncio.run(until_input_ends(watch(admin)))


if __name__ == "__main__":
    main()
