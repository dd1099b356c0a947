"""DSPy's side of `bench/harness.py`: its ReAct, many episodes on one event loop.

ReAct asks the model once more after the finish, to write the answer: 7 calls where the others need 6.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dspy

from measure import TASK, Given, Play, ask, drive, is_right, look_up, play_at_once


async def search(query: str) -> str:
    """Search."""
    return look_up(query)


@asynccontextmanager
async def open_side(given: Given) -> AsyncIterator[Play]:
    model = dspy.LM("openai/m", api_base=given.url, api_key="none", cache=False, num_retries=0, timeout=600)
    agent = dspy.ReAct(dspy.Signature("question -> answer", TASK), tools=[search])

    async def episode(number: int) -> bool:
        return is_right(number, (await agent.acall(question=f"Question: {ask(number)}")).answer)

    with dspy.context(lm=model):
        yield lambda numbers: play_at_once(given.concurrency, numbers, episode)


if __name__ == "__main__":
    drive(open_side)
