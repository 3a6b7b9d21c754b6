"""Run by the engines' Python: the first layers of the model, with its weights. What they say makes no sense,
but depends on every token before, and a slow machine gets far with them. `short_model.py MODEL OUT`.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LAYERS = 4


def main(source: str, out: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    model.model.layers = model.model.layers[:LAYERS]
    model.config.num_hidden_layers = LAYERS
    making = Path(f"{out}.making")
    model.save_pretrained(making)
    AutoTokenizer.from_pretrained(source).save_pretrained(making)
    making.rename(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
