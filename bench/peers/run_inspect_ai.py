"""inspect_ai's side of `bench/harness.py`: an evaluation with its ReAct agent and as little of a log as it allows."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from inspect_ai import Task, eval_async
from inspect_ai.agent import react
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import match
from inspect_ai.tool import tool

from measure import TASK, Given, Play, ask, drive, look_up


@tool
def search():
    async def execute(query: str) -> str:
        """Search.

        Args:
            query: What to look for.
        """
        return look_up(query)

    return execute


@asynccontextmanager
async def open_side(given: Given) -> AsyncIterator[Play]:
    config = GenerateConfig(max_connections=given.concurrency, max_retries=0, timeout=600)
    model = get_model("openai/m", base_url=given.url, api_key="none", config=config, responses_api=False)

    async def play(numbers: Iterable[int]) -> int:
        samples = [Sample(f"Question: {ask(number)}", target=f"{number:06d}"[1:], id=number) for number in numbers]
        task = Task(MemoryDataset(samples), solver=react(prompt=TASK, tools=[search()]), scorer=match())
        with tempfile.TemporaryDirectory() as folder:
            (log,) = await eval_async(
                task,
                model=model,
                max_samples=given.concurrency,
                log_dir=folder,
                log_samples=False,
                log_realtime=False,
                log_level="error",
            )
        assert log.results is not None, log.error
        return round(log.results.scores[0].metrics["accuracy"].value * len(samples))

    yield play


if __name__ == "__main__":
    drive(open_side)
