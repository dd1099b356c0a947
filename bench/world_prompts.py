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
        model, METHODS[method](instruction), ReactText(), {search.name: search}, max_steps=max_steps, max_tokens=120
    )
    score = open_task(questions[0].task).score
    found: dict[str, Trajectory] = {}
    episodes = [Episode(question.id, agent, question, score) for question in questions]
    asyncio.run(rollout(episodes, lambda one: found.update({one.id: one}), concurrency=200))
    return [found[question.id] for question in questions]


def example(trajectory: Trajectory, method: str) -> str:
    """A solved question as a prompt shows it."""
    if method == "react":
        steps = [step.model_copy(update={"reply": ""}) for step in trajectory.steps]
        return "".join(piece.text for piece in ReactText().render(trajectory.question, steps))
    return f"Question: {trajectory.question.full_text}\n{trajectory.steps[0].reply}"


def solved(task: str, method: str, *, spells_out: bool = True) -> list[Trajectory]:
    """Episodes of a faultless oracle on train questions that end right; with tools, some failed searches among them."""
    teacher = OracleModel(error_rate=0.0, seed=0, spells_out=spells_out)
    questions = open_task(task).questions("train")[:300]
    episodes = play(teacher, method, TEACHERS[method], questions, max_steps=8)
    return [one for one in episodes if one.is_correct]


def prompt(episodes: Sequence[Trajectory], method: str, shots: int, seed: int) -> str:
    """Examples in random order; of every two one is a comparison, a yes, or whatever else the task has."""
    rng = random.Random(seed)
    kinds = sorted({(one.question.kind, one.question.answer in {"no", "B"}) for one in episodes})
    rng.shuffle(kinds)
    chosen: list[Trajectory] = []
    while len(chosen) < shots:
        kind = kinds[len(chosen) % len(kinds)]
        alike = [one for one in episodes if (one.question.kind, one.question.answer in {"no", "B"}) == kind]
        chosen.append(rng.choice([one for one in alike if one not in chosen]))
    rng.shuffle(chosen)
    return "\n\n".join(example(one, method).strip() for one in chosen)


def candidates(*, quick: bool) -> Iterator[tuple[str, str]]:
    """Name and text of each prompt that is tried: with brief thoughts, and with those that spell their steps out."""
    for style, spells_out in (("brief", False), ("spelled out", True)):
        episodes = solved("world/hop", "react", spells_out=spells_out)
        for shots in (1, 2, 3):
            for seed in range(1 if quick else 4):
                yield f"{style}, {shots} shots, draw {seed}", prompt(episodes, "react", shots, seed)


def exact_match(model: Model, text: str, questions: Sequence[Question]) -> float:
    """EM of ReAct with this prompt, in per cent."""
    episodes = play(model, "react", text, questions, max_steps=11)
    return 100 * sum(one.is_correct for one in episodes) / len(episodes)


def halving(
    model: Model, texts: dict[str, str], questions: Sequence[Question], sizes: Sequence[int]
) -> dict[str, float]:
    """EM of the prompts that came to the last round, each round with more questions and a third of the prompts."""
    names = list(texts)
    tried: dict[str, float] = {}
    for size in sizes:
        tried = {}
        for name in names:
            tried[name] = exact_match(model, texts[name], questions[:size])
            print(f"{name}: EM {tried[name]:.1f} of {size}", flush=True)
        names = sorted(names, key=lambda name: -tried[name])[: max(1, len(names) // 3)]
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer candidates and questions, about a minute")
    parser.add_argument("--write", action="store_true", help="replace the packaged prompts")
    parser.add_argument("--base", default="world", help="the base model: world or a folder")
    options = parser.parse_args()
    model = LocalConfig(path=options.base, batch_size=96).open()
    questions = open_task("world/hop").questions("validation")
    texts = dict(candidates(quick=options.quick))
    tried = halving(model, texts, questions, [40] if options.quick else [40, 100, 200])
    best = max(tried, key=lambda name: (tried[name], -len(texts[name])))
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
