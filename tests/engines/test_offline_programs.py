"""The engines' own batch programs as tenants: stopped every two seconds or so, from their start on, they
write what they write undisturbed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from valve_loadgen import engines
from valve_loadgen.cpus import cores
from valve_loadgen.lab import Lab, opened_lab
from valve_loadgen.processes import Child

from .offline import PROMPTS, TOKENS, disturbed

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCRIPT = Path(__file__).with_name("sglang_offline.py")
ONLINE_MS = 700


def vllm_run_batch(folder: Path, core: str) -> list[str]:
    """`vllm run-batch`, one request at a time: a batch's composition changes its numerics."""
    source = folder / "in.jsonl"
    source.write_bytes(b"\n".join(orjson.dumps(line) for line in batch()))
    module = engines.vllm_python(1, core, "-m", "vllm.entrypoints.openai.run_batch")
    files = ["-i", str(source), "-o", str(folder / "out")]
    return [*module, *files, *engines.vllm_options(), "--max-num-seqs", "1"]


def batch() -> list[dict[str, Any]]:
    return [
        {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": chat(text)}
        for number, text in enumerate(PROMPTS)
    ]


def chat(text: str) -> dict[str, Any]:
    told = [{"role": "user", "content": text}]
    return {"model": "default", "messages": told, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}


def sglang_engine(folder: Path, _core: str) -> list[str]:
    """sglang.Engine, the offline API."""
    (folder / "in.json").write_bytes(orjson.dumps(PROMPTS))
    model, files = engines.installed() / "model", (folder / "in.json", folder / "out")
    return [*engines.sglang_python(1, str(SCRIPT)), *map(str, (model, TOKENS, *files))]


def batch_texts(out: Path) -> list[str]:
    """By request; raises KeyError for one that failed."""
    lines = map(orjson.loads, out.read_bytes().splitlines())
    told = {int(line["custom_id"]): line["response"]["body"] for line in lines}
    return [told[number]["choices"][0]["message"]["content"] for number in range(len(PROMPTS))]


def engine_texts(out: Path) -> list[str]:
    return [output["text"] for output in orjson.loads(out.read_bytes())]


@pytest.mark.parametrize(
    ("engine", "program", "read"),
    [("vllm", vllm_run_batch, batch_texts), ("sglang", sglang_engine, engine_texts)],
    ids=["vllm_run_batch", "sglang_engine"],
)
async def test_stops_change_nothing_that_the_program_writes(
    tmp_path: Path, engine: str, program: Callable[[Path, str], list[str]], read: Callable[[Path], list[str]]
) -> None:
    with opened_lab(tmp_path / "logs") as lab:
        online = await lab.start_backend("online", lab.placement.others, "--delay-ms", str(ONLINE_MS))
        sidecar = str(await lab.start_sidecar(online, "--engine", "openai", "--device", "cpu"))
        command = program(tmp_path, cores(lab.placement.engines))
        control = [read(await finished(lab, engine, command, tmp_path / "out")) for _ in range(2)]
        assert control[0] == control[1], "undisturbed runs are equal, so a disturbed one has to be"
        async with httpx.AsyncClient(base_url=sidecar) as client, disturbed(lab, client, 1) as stops:
            out = await finished(lab, engine, command, tmp_path / "out")
        assert read(out) == control[0]
        assert len(stops) > 5


async def finished(lab: Lab, engine: str, command: list[str], out: Path) -> Path:
    """What `command` wrote, run on the engines' core under `valve run`."""
    child = start(lab, engine, command, out)
    code = await asyncio.to_thread(child.process.wait)
    assert code == 0, child.log_end(40)
    return out


def start(lab: Lab, engine: str, command: list[str], out: Path) -> Child:
    out.unlink(missing_ok=True)
    tenant = [sys.executable, "-m", "valve_sidecar", "run", "--job", "batch", "--engine", engine]
    return lab.processes.start(
        "batch", [*tenant, "--", "taskset", "-c", cores(lab.placement.engines), *command]
    )
