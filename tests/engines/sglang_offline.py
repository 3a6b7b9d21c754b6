"""Run by the engines' Python: sglang.Engine on a list of prompts, one by one.
`sglang_offline.py MODEL TOKENS PROMPTS.json OUT.json`.
"""

import json
import sys
from pathlib import Path

import sglang


def main(model: str, tokens: str, source: str, out: str) -> None:
    engine = sglang.Engine(
        model_path=model, device="cpu", max_total_tokens=16384, disable_radix_cache=True, sleep_on_idle=True
    )
    sampling = {"temperature": 0, "ignore_eos": True, "max_new_tokens": int(tokens)}
    outputs = [engine.generate(prompt, sampling) for prompt in json.loads(Path(source).read_text())]
    Path(out).write_text(json.dumps(outputs))
    engine.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
