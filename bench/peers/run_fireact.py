"""fireact's own side of `bench/harness.py`: `rollout` with a served model, and nothing in its cache.

    python bench/peers/run_fireact.py URL CONCURRENCY EPISODES
    python bench/peers/run_fireact.py --in-process

The latter plays with a model in this process, and prints the CPU that a step takes without any server.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fireact.dialects.react_text import ReactText
from fireact.methods.react import React
from fireact.models import Model, Request, open_model
from fireact.models.openai import OpenAIConfig
from fireact.models.scripted import ScriptedModel
from fireact.rollout import Agent, Episode, rollout
from fireact.tools import Call
from fireact.trajectory import Question, Score, Trajectory
from measure import TASK, Given, Play, ask, drive, is_right, look_up

NUM_SEARCHES = 5
NUM_EPISODES, NUM_REPEATS = 1000, 5
"""In process."""


class Search:
    """Finds nothing, at once."""

    name = "search"

    async def __call__(self, argument: str, call: Call) -> str:
        return look_up(argument)


@asynccontextmanager
async def open_side(given: Given) -> AsyncIterator[Play]:
    config = OpenAIConfig(
        model="m", base_url=given.url, cache=False, concurrency=given.concurrency, max_retries=0, timeout=600
    )
    model = open_model(config)
    yield lambda numbers: play(model, given.concurrency, numbers)
    await model.close()


async def play(model: Model, concurrency: int, numbers: Iterable[int]) -> int:
    """How many answers were right."""
    agent = Agent(model, React(TASK), ReactText(), {"search": Search()})
    right = 0

    def count(trajectory: Trajectory) -> None:
        nonlocal right
        right += is_right(int(trajectory.id), trajectory.answer)

    episodes = (Episode(str(number), agent, question(number), score) for number in numbers)
    await rollout(episodes, count, concurrency=concurrency)
    return right


def question(number: int) -> Question:
    return Question(id=str(number), task="numbers", split="test", text=ask(number), answer=f"{number:06d}"[1:])


def score(question: Question, answer: str | None) -> Score:
    is_exact = answer == question.answer
    return Score(em=float(is_exact), f1=float(is_exact))


def reply_in_process(request: Request) -> str:
    """What the server would reply."""
    steps = request.text.count("\nObservation:")
    if steps < NUM_SEARCHES:
        return f"Thought: Step {steps}.\nAction: search[What is number {steps}]"
    return f"Thought: Done.\nAction: finish[{request.text.partition('?')[0][-5:]}]"


def measure_in_process() -> float:
    """Milliseconds of CPU for one step: the median of some repetitions."""
    found = []
    for _ in range(NUM_REPEATS):
        begun = time.process_time()
        right = asyncio.run(play(ScriptedModel(reply_in_process), 64, range(NUM_EPISODES)))
        found.append((time.process_time() - begun) * 1e3 / (NUM_EPISODES * (NUM_SEARCHES + 1)))
        assert right == NUM_EPISODES
    return statistics.median(found)


if __name__ == "__main__":
    if sys.argv[1:] == ["--in-process"]:
        print(json.dumps({"ms_per_step": measure_in_process()}))
    else:
        drive(open_side)
