"""Run files of the official FireAct code (`trajs/*.json`): one JSON object, a question's index -> its episode.

Each episode has the scores that were computed (`em`, `f1`, `gt`, `pred`, the last two normalized) and `traj`: chat
messages, or one text that begins with the Alpaca template. Questions that were not finished are missing from the
file, although the official EM divides by all that were asked. Task, split and model stand in the file's name
(`hotpotqa_dev_0_500_MODEL_TEMPERATURE_DATE.json`); where it says nothing, the task is told from the scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fireact import __version__
from fireact.dialects.react_text import parse_reply, split_passages
from fireact.errors import DataError, FormatError
from fireact.formats.episodes import Asked, answer_of, find_reward, make_question, read_question
from fireact.formats.files import Imported, Row, check_text, field, keep_good, name_of, read_json
from fireact.metrics import normalize_answer, score_choice, score_words, score_yes_no
from fireact.trajectory import Score, Source, Step, Trajectory

FILE_NAME = re.compile(
    r"(?P<task>hotpotqa|strategyqa|mmlu|bamboogle|bamgoogle)_(?P<split>.+?)_\d+_\d+_(?P<model>.+)_[\d.]+_\d{4}(?:-\d\d)+"
)
TEMPLATE_OPENING = "Below is an instruction "
TEMPLATE_QUESTION = "### Instruction:\n"
TEMPLATE_REPLY = "\n\n### Response:\n"
OBSERVATION = "Observation:"
"""What a user message begins with, the first aside."""


@dataclass(frozen=True)
class RunName:
    """What the file's name says; empty where it says nothing."""

    task: str = ""
    split: str = ""
    model: str = ""


@dataclass(frozen=True)
class Talk:
    """The question and turns of one episode, and notes."""

    asked: Asked
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def read_fireact_run(path: str | Path) -> Imported:
    """The episodes of one run file. Each step keeps the model's raw reply.

    Scores are computed anew from `pred` and `gt`; where they differ from the stored ones, a note says so.

    Raises:
        DataError: the file is not a JSON object. An episode that cannot be read is a problem of the result.
    """
    path = Path(path)
    episodes = read_json(path)
    if not isinstance(episodes, dict):
        raise DataError(f"{path}: expected an object of episodes, got {type(episodes).__name__}; is it another format?")
    rows = [Row(index, f"{path}: question {key}", (key, value)) for index, (key, value) in enumerate(episodes.items())]
    name = parse_name(path.stem)
    trajectories, problems = keep_good(rows, lambda row: _trajectory(path, name, row))
    return Imported(tuple(trajectories), tuple(problems))


def parse_name(stem: str) -> RunName:
    """Task, split and model out of a file name in the official form."""
    found = FILE_NAME.fullmatch(stem)
    if found is None:
        return RunName()
    # The official module of Bamboogle has its name misspelt in some versions.
    return RunName(found["task"].replace("bamgoogle", "bamboogle"), found["split"], found["model"])


def _trajectory(path: Path, name: RunName, row: Row) -> Trajectory:
    assert isinstance(row.value, tuple)
    key, value = row.value
    check_text(key, row.place)
    episode = Row(row.index, row.place, value)
    talk = _read_talk(episode)
    task = name.task or _guess_task(value)
    gold, score = _score(episode, task)
    answer = answer_of(talk.steps)
    notes = (*talk.notes, *_score_notes(episode, score, answer))
    return Trajectory(
        id=f"{path.stem}/{key}",
        question=make_question(talk.asked, task=task, split=name.split, id=key, answer=gold),
        method="react",
        dialect="react-text",
        model=name.model,
        tools=("search",),
        steps=talk.steps,
        answer=answer,
        end="step_limit" if answer is None and score is None else "finished",
        score=score,
        source=Source(producer=f"fireact {__version__}", file=name_of(path), index=row.index, notes=notes),
    )


def _guess_task(value: dict[str, object]) -> str:
    if isinstance(value.get("gt"), bool):
        return "strategyqa"
    return "hotpotqa" if "f1" in value else "mmlu"


def _score(episode: Row, task: str) -> tuple[str, Score | None]:
    """The gold answer and the score anew; no score where the run was made without evaluation."""
    assert isinstance(episode.value, dict)
    if "pred" not in episode.value:
        return "", None
    prediction = field(episode, "pred", str)
    if task == "strategyqa":
        gold = "yes" if field(episode, "gt", bool) else "no"
        return gold, score_yes_no(prediction, gold)
    gold = field(episode, "gt", str)
    if task == "mmlu":
        return gold.upper(), score_choice(prediction, gold)
    return gold, score_words(prediction, (gold,))


def _score_notes(episode: Row, score: Score | None, answer: str | None) -> list[str]:
    assert isinstance(episode.value, dict)
    notes = []
    stored = {key: episode.value[key] for key in ("em", "f1") if isinstance(episode.value.get(key), bool | int | float)}
    for key, value in stored.items():
        anew = None if score is None else getattr(score, key)
        if anew != value:
            notes.append(f"{key} is stored as {value}, computed anew it is {anew}")
    prediction = episode.value.get("pred")
    if isinstance(prediction, str) and normalize_answer(answer or "") != normalize_answer(prediction):
        notes.append(f"scored as {prediction!r}, which is not what the last action says")
    return notes


def _read_talk(episode: Row) -> Talk:
    traj = field(episode, "traj", object)
    if isinstance(traj, str):
        talk = _read_text(traj)
    elif isinstance(traj, list):
        messages = [Row(episode.index, episode.place, message) for message in traj]
        talk = _read_messages([(field(message, "role", str), field(message, "content", str)) for message in messages])
    else:
        raise DataError(f"{episode.place}: expected 'traj' to be a text or a list of messages")
    if not talk.asked.text or not talk.steps:
        raise DataError(f"{episode.place}: 'traj' has no question or no turn; drop the entry")
    return talk


def _read_text(text: str) -> Talk:
    """One text: replies end where an observation begins."""
    template_question, body = _split_template(text)
    lead, passages = split_passages(body)
    asked, notes = read_question(template_question or lead)
    steps = []
    for passage in passages:
        lines = [f"Thought: {thought}" for thought in passage.thoughts]
        reply = "\n".join(lines if passage.action is None else [*lines, f"Action: {passage.action}"])
        steps.append(_step(reply, passage.observations))
    return Talk(asked, tuple(steps), notes)


def _split_template(text: str) -> tuple[str, str]:
    """The question inside the Alpaca template and what follows it; no question and the text where it has none."""
    if not text.startswith(TEMPLATE_OPENING):
        return "", text
    question, reply_label, body = text.partition(TEMPLATE_QUESTION)[2].partition(TEMPLATE_REPLY)
    return (question, body) if reply_label else ("", text)


def _read_messages(messages: Sequence[tuple[str, str]]) -> Talk:
    """Chat messages: every message of the assistant is one reply; the user's after the first are observations."""
    start = next((index for index, (role, _) in enumerate(messages) if role == "assistant"), len(messages))
    asked, notes = read_question("\n".join(content for role, content in messages[:start] if role == "user"))
    turns: list[tuple[str, list[str]]] = []
    for role, content in messages[start:]:
        if role == "assistant":
            turns.append((content, []))
        else:
            turns[-1][1].append(content.removeprefix(OBSERVATION).strip())
    steps = tuple(_step(reply, observations) for reply, observations in turns)
    num_unanswered = sum(not observations for _, observations in turns)
    if num_unanswered:
        notes += (f"{num_unanswered} replies without an observation after them",)
    return Talk(asked, steps, notes)


def _step(reply: str, observations: Sequence[str]) -> Step:
    shown = [observation for observation in observations if not find_reward(observation)]
    observation = "\n".join(shown) if shown else None
    try:
        move = parse_reply(reply)
    except FormatError as error:
        return Step(reply=reply, observation=observation, parse_error=str(error))
    return Step(reply=reply, thought=move.thought, action=move.action, observation=observation)
