"""verifiers' side of `bench/harness.py`: its ToolEnv, which plays many episodes on one event loop.

From 0.4 on ToolEnv is gone, and each episode is a program started in a process of its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import verifiers.legacy as vf
from datasets import Dataset

from measure import TASK, Given, Play, ask, drive, is_right, look_up


async def search(query: str) -> str:
    """Search."""
    return look_up(query)


def quiet(*_: object) -> None:
    """In place of a progress bar."""


def rightness(completion: vf.Messages, answer: str) -> float:
    return float(is_right(int(answer), completion[-1].content))


@asynccontextmanager
async def open_side(given: Given) -> AsyncIterator[Play]:
    os.environ["BENCH_KEY"] = "none"
    logging.getLogger("verifiers").setLevel(logging.ERROR)
    client = vf.ClientConfig(api_key_var="BENCH_KEY", api_base_url=given.url, max_retries=0, timeout=600)

    async def play(numbers: Iterable[int]) -> int:
        rows = [{"question": f"Question: {ask(number)}", "answer": str(number)} for number in numbers]
        env = vf.ToolEnv(
            tools=[search], dataset=Dataset.from_list(rows), system_prompt=TASK, rubric=vf.Rubric(funcs=[rightness])
        )
        inputs = env.get_dataset()
        outputs = await env.generate(
            inputs, client, "m", max_concurrent=given.concurrency, on_start=quiet, on_progress=quiet, on_log=quiet
        )
        return round(sum(output["reward"] for output in outputs["outputs"]))

    yield play


if __name__ == "__main__":
    drive(open_side)
