"""What the engine answers to a request, byte for byte but for its stamps: so the client knows what must
come (pure).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass

import orjson

STAMP = re.compile(rb'"at_ns":(\d+)')


@dataclass(frozen=True, slots=True)
class Plan:
    """A request: its body tells the engine what to do. `hold`: wait for the release after the first token.
    `defect`: how the answer breaks. `linger_ms`: how long the engine works on after its client has gone.
    """

    request_id: str
    tokens: int = 5
    gap_ms: float = 10
    hold: bool = False
    defect: str = ""
    linger_ms: float = 0
    padding: str = ""

    def encode(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, body: bytes) -> Plan:
        return cls(**orjson.loads(body))


def event(body: bytes, number: int, at_ns: int) -> bytes:
    """The `number`th token's. It depends on every byte of the request's body."""
    digest = hashlib.blake2b(body + number.to_bytes(4), digest_size=12).hexdigest()
    return b'data: {"choices":[{"delta":{"content":"%s"}}],"at_ns":%d}\n\n' % (digest.encode(), at_ns)


END = b"data: [DONE]\n\n"


def is_exact(plan: Plan, received: bytes) -> bool:
    """Whether it is the whole answer and nothing else."""
    body = plan.encode()
    expected = b"".join(event(body, number, 0) for number in range(plan.tokens)) + END
    return STAMP.sub(b'"at_ns":0', received) == expected


def is_beginning(plan: Plan, received: bytes) -> bool:
    """Whether it is right as far as it goes; stamps are of one length or none."""
    body = plan.encode()
    expected = b"".join(event(body, number, 0) for number in range(plan.tokens)) + END
    cut = STAMP.sub(b'"at_ns":0', received)
    return expected.startswith(re.sub(rb'"at_n?s?"?:?\d*$', b"", cut))


def stamps(received: bytes) -> list[int]:
    """When each token that has come left the engine."""
    return [int(found) for found in STAMP.findall(received)]
