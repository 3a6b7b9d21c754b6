"""What `valve top` and `valve events` read: a running sidecar's admin address."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson

from .address import Address
from .errors import SidecarError

TIMEOUT_S = 5.0  # the stream speaks every second
AGAIN_S = 1.0
POLL_S = 0.2
BATCH = 1_000  # events of one answer

Record = dict[str, Any]


class AdminClient:
    """As context manager it closes itself."""

    def __init__(self, admin: str, token: bytes = b"") -> None:
        self.address = Address.parse(admin)
        transport = httpx.HTTPTransport(uds=self.address.path)
        self._client = httpx.Client(
            base_url=self.address.base_url,
            transport=transport,
            timeout=TIMEOUT_S,
            trust_env=False,
            headers={b"Authorization": b"Bearer " + token} if token else None,
        )

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def frames(self) -> Iterator[Record]:
        """As they come (picture.py). Raises SidecarError when the sidecar is gone or cannot say."""
        try:
            with self._client.stream("GET", "/live") as response:
                if response.status_code != 200:
                    raise self._refused(response.status_code)
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        yield orjson.loads(line[6:])
        except httpx.HTTPError as error:
            raise self._gone(error) from error
        raise SidecarError(f"the sidecar at {self.address} has ended")

    def events(self, since: int) -> Record:
        """{"events", "next", "dropped"}. Raises SidecarError."""
        try:
            response = self._client.get(f"/events?since={since}&limit={BATCH}")
        except httpx.HTTPError as error:
            raise self._gone(error) from error
        if response.status_code != 200:
            raise self._refused(response.status_code)
        return dict(orjson.loads(response.content))

    def follow(self, since: int) -> Iterator[Record]:
        """`events` for ever, and again from the start of a sidecar that was started anew.

        A sidecar that is away is told as {"away": its error} once, and waited for.
        """
        away = False
        while True:
            try:
                told = self.events(since)
            except SidecarError as error:
                if not away:
                    yield {"away": str(error), "events": [], "dropped": 0}
                away = True
                time.sleep(AGAIN_S)
                continue
            away, restarted = False, told["next"] < since
            since = 0 if restarted else told["next"]
            if told["events"]:
                yield told
            elif not restarted:
                time.sleep(POLL_S)

    def _gone(self, error: httpx.HTTPError) -> SidecarError:
        reason = str(error) or type(error).__name__
        return SidecarError(
            f"no sidecar answers at {self.address} ({reason}); start one, or say where it is with --admin"
        )

    def _refused(self, status: int) -> SidecarError:
        if status == 404:
            return SidecarError(
                f"{self.address} tells this to its own machine only; use a loopback --admin there, or a token"
            )
        if status == 401:
            return SidecarError(f"{self.address} wants its token: give its file by --admin-token-file")
        if status == 403:
            return SidecarError(f"{self.address} answers its own user, its group and root only")
        return SidecarError(f"{self.address} answers {status}")
