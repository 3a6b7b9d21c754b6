"""The client of part (f): requests at random moments, open loop, over streaming HTTP."""

import http.client
import json
import random
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Measured:
    """Seconds. `first_s`: scheduled moment to first token; `token_s`: between the rest, a mean a request."""

    first_s: list[float] = field(default_factory=list)
    token_s: list[float] = field(default_factory=list)
    failures: int = 0

    def extend(self, more: "Measured") -> None:
        self.first_s += more.first_s
        self.token_s += more.token_s
        self.failures += more.failures


def send(port: int, tokens: int, scheduled: float, into: Measured) -> None:
    try:
        stamps = stream(port, tokens)
    except (OSError, http.client.HTTPException, ValueError):
        stamps = []
    if len(stamps) < 2:
        into.failures += 1
        return
    into.first_s.append(stamps[0] - scheduled)
    into.token_s.append((stamps[-1] - stamps[0]) / (len(stamps) - 1))


def stream(port: int, tokens: int) -> list[float]:
    """When each token arrived."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    # vLLM's server wants ids of its own model and a name; ours reads max_tokens alone.
    body = {"model": "kit", "prompt": [7] * 128, "max_tokens": tokens, "stream": True, "ignore_eos": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise ValueError(response.status)
    stamps = [time.monotonic() for line in response if line.startswith(b"data: {")]
    connection.close()
    return stamps


def load(port: int, seconds: float, per_second: float, tokens: int, seed: int) -> Measured:
    """The same arrivals for the same seed. Returns when all are answered."""
    chance, measured, threads = random.Random(seed), Measured(), []
    begin = time.monotonic()
    moment = begin + chance.expovariate(per_second)
    while moment < begin + seconds:
        time.sleep(max(0.0, moment - time.monotonic()))
        thread = threading.Thread(target=send, args=(port, tokens, moment, measured))
        thread.start()
        threads.append(thread)
        moment += chance.expovariate(per_second)
    time.sleep(max(0.0, begin + seconds - time.monotonic()))
    for thread in threads:
        thread.join()
    return measured


def wait_answering(port: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return True
        except OSError:
            time.sleep(0.1)
    return False
