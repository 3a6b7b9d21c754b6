"""Turns the demo's GGUF file into a Hugging Face folder, so that vLLM and SGLang serve the same weights.

`python convert_model.py GGUF FOLDER` needs torch, transformers, gguf and accelerate.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert(source: Path, folder: Path) -> None:
    """Writes weights (bfloat16), configuration and tokenizer to `folder`."""
    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(**where, quantization_config=GgufConfig(dequantize=True))
    model.to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
