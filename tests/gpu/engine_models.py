"""What the two engines of part (f) compute with. A model has random weights and speaks in token ids."""

import os
import time
from collections.abc import Iterator
from typing import Protocol

PROMPT_TOKENS = 128
BATCH = 32


class Model(Protocol):
    """`stream` yields one item a token of a single sequence; `batch` generates for BATCH sequences at once
    and returns how many tokens that was.
    """

    def stream(self, tokens: int) -> Iterator[int]: ...

    def batch(self, tokens: int) -> int: ...


class StandIn:
    """Computes nothing: for testing the arms themselves."""

    def stream(self, tokens: int) -> Iterator[int]:
        for token in range(tokens):
            time.sleep(0.002)
            yield token

    def batch(self, tokens: int) -> int:
        time.sleep(0.002 * tokens)
        return BATCH * tokens


class Transformers:
    """A Llama of about a billion parameters, made on the GPU."""

    def __init__(self) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        self._torch = torch
        config = LlamaConfig(
            vocab_size=32000,
            hidden_size=2048,
            intermediate_size=5632,
            num_hidden_layers=16,
            num_attention_heads=16,
            num_key_value_heads=4,
            max_position_embeddings=2048,
        )
        torch.manual_seed(5)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("cuda"):
            self._model = LlamaForCausalLM(config).eval()

    def stream(self, tokens: int) -> Iterator[int]:
        cache = None
        ids = self._torch.randint(0, 32000, (1, PROMPT_TOKENS), device="cuda")
        for _ in range(tokens):
            with self._torch.inference_mode():
                out = self._model(input_ids=ids, past_key_values=cache, use_cache=True)
                ids, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
            yield int(ids[0, 0])

    def batch(self, tokens: int) -> int:
        ids = self._torch.randint(0, 32000, (BATCH, PROMPT_TOKENS), device="cuda")
        with self._torch.inference_mode():
            self._model.generate(
                ids,
                attention_mask=self._torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
            )
        return BATCH * tokens


class Vllm:
    """The model in the folder KIT_VLLM_MODEL, offline only: online is vLLM's own server."""

    def __init__(self) -> None:
        from vllm import LLM, SamplingParams

        self._parameters = SamplingParams
        self._engine = LLM(os.environ["KIT_VLLM_MODEL"], load_format="dummy", gpu_memory_utilization=0.4)

    def stream(self, tokens: int) -> Iterator[int]:
        raise NotImplementedError("vLLM serves by itself")

    def batch(self, tokens: int) -> int:
        prompts = [{"prompt_token_ids": [7 + i] * PROMPT_TOKENS} for i in range(BATCH)]
        parameters = self._parameters(max_tokens=tokens, min_tokens=tokens, temperature=0.0)
        self._engine.generate(prompts, parameters, use_tqdm=False)
        return BATCH * tokens


class Sglang:
    """The same model, offline only."""

    def __init__(self) -> None:
        import sglang

        self._engine = sglang.Engine(
            model_path=os.environ["KIT_VLLM_MODEL"], load_format="dummy", mem_fraction_static=0.4
        )

    def stream(self, tokens: int) -> Iterator[int]:
        raise NotImplementedError("SGLang serves by itself")

    def batch(self, tokens: int) -> int:
        prompts = [[7 + i] * PROMPT_TOKENS for i in range(BATCH)]
        parameters = {"max_new_tokens": tokens, "ignore_eos": True, "temperature": 0.0}
        self._engine.generate(input_ids=prompts, sampling_params=parameters)
        return BATCH * tokens


MODELS: dict[str, type[Model]] = {
    "stand-in": StandIn,
    "transformers": Transformers,
    "vllm": Vllm,
    "sglang": Sglang,
}
