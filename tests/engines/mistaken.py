"""vLLM's leased scheduler with a mistake, to see that the tests notice: owners of lost blocks go on."""

from typing import Any

from valve_adapters.blocks.vllm import LeasedScheduler


class MistakenLeasedScheduler(LeasedScheduler):
    def preempt(self, requests: list[Any]) -> None:
        pass
