"""Write the few-shot prompts of the world's tasks; for `world/hop` and ReAct, the best of many on validation questions.

    python bench/world_prompts.py [--quick] [--write]

A candidate is some solved questions of the train split, each an episode of the oracle with clean tools. The base model
answers a few validation questions with every candidate; the better third goes on to more of them, and the best of those
to all. The prompted agent of the demo is thus as strong as few-shot prompting of this base gets, and no test question
is used to make it so. Last line: JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from fireact.dialects.react_text import ReactText
from fireact.methods.cot import Cot
from fireact.methods.io import Io
from fireact.methods.react import React
from fireact.models import LocalConfig, Model
from fireact.models.oracle import OracleModel
from fireact.rollout import Agent, Episode, rollout
from fireact.tasks import open_task
from fireact.tools.search import SearchConfig
from fireact.trajectory import Question, Trajectory

PROMPTS = Path(__file__).parent.parent / "src/fireact/methods/prompts"
TASKS = ("world/hop", "world/yesno", "world/choice")
METHODS = {"react": React, "cot": Cot, "io": Io}
TEACHERS = {"react": "", "cot": "Question: x\nThought: x\nAnswer: x", "io": "Question: x\nAnswer: x"}
"""A prompt by which the oracle tells the method."""
SHOTS = {"cot": 6, "io": 8}


def play(
    model: Model, method: str, instruction: str, questions: Sequence[Question], max_steps: int
) -> list[Trajectory]:
    """One episode for each question, in their order."""
    search = SearchConfig().open()
    agent = Agent(
        model, METHODS[method](instruction), ReactText(), {search.name: search}, max_steps=max_steps, max_tokens=96
    )
    score = open_task(questions[0].task).score
    found: dict[str, Trajectory] = {}
    episodes = [Episode(question.id, agent, question, score) for question in questions]
    asyncio.run(rollout(episodes, lambda one: found.update({one.id: one}), concurrency=96))
    return [found[question.id] for question in questions]


def example(trajectory: Trajectory, method: str) -> str:
    """A solved question as a prompt shows it."""
    if method == "react":
        steps = [step.model_copy(update={"reply": ""}) for step in trajectory.steps]
        return "".join(piece.text for piece in ReactText().render(trajectory.question, steps))
    return f"Question: {trajectory.question.full_text}\n{trajectory.steps[0].reply}"


def solved(task: str, method: str) -> list[Trajectory]:
    """Episodes of a faultless oracle on train questions that end right; with tools, some failed searches among them."""
    questions = open_task("world/hop").questions("validation")
    texts = dict(candidates(solved("world/hop", "react"), quick=options.quick))
    tried = halving(model, texts, questions, [40] if options.quick else [60, 150, 300])
    best = max(tried, key=lambda name: tried[name])
    if options.write:
        for task in TASKS:
            for method in METHODS:
                is_best = (task, method) == ("world/hop", "react")
                text = texts[best] if is_best else prompt(solved(task, method), method, SHOTS.get(method, 3), 0)
                path = PROMPTS / method / f"{task.replace('/', '-')}.txt"
                path.write_text(text + "\n")
    print(json.dumps({"best": best, "em": tried[best], "candidates": len(texts)}))


if __name__ == "__main__":
    main()
