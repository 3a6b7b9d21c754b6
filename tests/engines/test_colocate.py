"""`valve bench colocate` with two different engines, in small."""

import subprocess
import sys
from pathlib import Path

import orjson

DEADLINE_S = 600.0  # generous: engines on a shared core start slowly


def test_two_different_engines_play_the_four_arms(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "valve_sidecar", "bench", "colocate", "--json", "--out", str(tmp_path)]
    options = ["--engine", "vllm", "--offline-engine", "llamacpp", "--minutes", "0.2", "--window-s", "10"]
    done = subprocess.run([*command, *options], capture_output=True, timeout=DEADLINE_S, check=False)
    assert done.stdout, done.stderr
    report = orjson.loads(done.stdout)
    assert report["engines"] == ["vllm", "llamacpp"]
    assert report["preemptions_per_request_max"] == 1
    for arm in ("online_alone", "shared_no_gate", "shared_valve"):
        assert report["arms"][arm]["errors"] == []
        assert report["arms"][arm]["requests"] > 0
    for arm in ("offline_alone", "shared_no_gate", "shared_valve"):
        assert report["arms"][arm]["offline_tokens_per_s"] > 0
