"""smolagents' side of `bench/harness.py`: a ToolCallingAgent in each of as many threads, since it has no async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from smolagents import LogLevel, OpenAIModel, ToolCallingAgent, tool

from measure import TASK, Given, Play, ask, drive, is_right, look_up


@tool
def search(query: str) -> str:
    """Search.

    Args:
        query: What to look for.
    """
    return look_up(query)


@asynccontextmanager
async def open_side(given: Given) -> AsyncIterator[Play]:
    model = OpenAIModel(
        model_id="m", api_base=given.url, api_key="none", client_kwargs={"max_retries": 0, "timeout": 600}, retry=False
    )
    own = threading.local()

    def episode(number: int) -> bool:
        # An agent holds one conversation, so a thread keeps its own and begins it anew with each question.
        if not hasattr(own, "agent"):
            own.agent = ToolCallingAgent([search], model, instructions=TASK, verbosity_level=LogLevel.OFF)
        return is_right(number, own.agent.run(f"Question: {ask(number)}"))

    with ThreadPoolExecutor(given.concurrency) as pool:

        async def play(numbers: Iterable[int]) -> int:
            loop = asyncio.get_running_loop()
            return sum(await asyncio.gather(*(loop.run_in_executor(pool, episode, number) for number in numbers)))

        yield play


if __name__ == "__main__":
    drive(open_side)
