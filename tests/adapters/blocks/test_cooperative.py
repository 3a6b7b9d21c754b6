"""What SGLang is asked, and that it goes on when it does not let go. tests/engines asks the real one."""

import httpx
import pytest

from valve_adapters.blocks.cooperative import go_on, let_go
from valve_adapters.blocks.errors import CooperationError


def engine(asked: list[str], refuses: str = "") -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(400 if request.url.path == refuses else 200, text="Flush cache failed.")

    return httpx.AsyncClient(base_url="http://engine", transport=httpx.MockTransport(answer))


async def test_it_lets_go_and_goes_on() -> None:
    asked: list[str] = []
    async with engine(asked) as client:
        await let_go(client)
        await go_on(client)
    assert asked == ["/pause_generation", "/flush_cache", "/continue_generation"]


async def test_what_does_not_let_go_goes_on() -> None:
    asked: list[str] = []
    async with engine(asked, refuses="/flush_cache") as client:
        with pytest.raises(CooperationError, match="/flush_cache answered 400: Flush cache failed"):
            await let_go(client)
    assert asked == ["/pause_generation", "/flush_cache", "/continue_generation"]


async def test_an_engine_that_is_gone_is_told_of() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as client:
        with pytest.raises(CooperationError, match="/pause_generation: ConnectError"):
            await let_go(client)
