"""The text of a recorded episode -> question, steps, reward, and notes on what was irregular. Pure.

The rules are those that the released FireAct files need: lines ahead of the first label belong to the question,
choices included; the last reward line is the environment's, and none becomes an observation; a thought that is
followed by an observation is a turn without action; an action without thought is a turn with an empty thought; the
reflection sentence that Reflexion put at the head of a thought goes into its own field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fireact.dialects.react_text import Passage, parse_action, split_passages
from fireact.trajectory import FINISH, LETTERS, Action, Question, Step

REWARD = re.compile(r"Episode finished, reward = (?P<reward>\S+)")
REWARD_VALUES = {"true": 1.0, "1": 1.0, "1.": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.": 0.0, "0.0": 0.0}
REFLECTION = re.compile(r"Now that I haven't solved the task within (?P<steps>\d+) steps,[^.]*\.")
CHOICE = re.compile(r"([A-J])\.(?: (.*))?")
CHOICE_PREFIX = "Question:"
"""What the official MMLU task puts before its questions, and no other task does."""
REPEATED_QUESTION = "Yes or no:"
"""How the few-shot prompts for StrategyQA open a question; a model that repeats it has left the form."""


@dataclass(frozen=True)
class Asked:
    """The question of an episode, before it is known which task it is from."""

    text: str
    choices: tuple[str, ...] = ()
    has_choice_prefix: bool = False


@dataclass(frozen=True)
class Episode:
    """What one recorded text holds."""

    asked: Asked
    steps: tuple[Step, ...]
    reward: str = ""
    """As written, such as `True` or `1.`; empty where there is none."""
    notes: tuple[str, ...] = ()

    @property
    def reward_value(self) -> float | None:
        return REWARD_VALUES.get(self.reward.lower())

    @property
    def answer(self) -> str | None:
        return answer_of(self.steps)

    @property
    def has_reflection(self) -> bool:
        return any(step.reflection for step in self.steps)


def answer_of(steps: Sequence[Step]) -> str | None:
    """The argument of the last `finish`; None if there is none."""
    finishes = [step.action.argument for step in steps if step.action is not None and step.action.tool == FINISH]
    return finishes[-1] if finishes else None


def read_question(text: str) -> tuple[Asked, tuple[str, ...]]:
    """The question as asked, its choices set apart, and notes."""
    lines = text.strip().split("\n")
    kept = [line for index, line in enumerate(lines) if index == 0 or not line.startswith(REPEATED_QUESTION)]
    notes = () if len(kept) == len(lines) else ("the question was repeated before the first thought",)
    stem, choices = _split_choices(kept)
    bare = stem.removeprefix(CHOICE_PREFIX)
    return Asked(bare.strip(), choices, has_choice_prefix=bare != stem), notes


def _split_choices(lines: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The lines before the last `A. ...`, and the choices if all lines from there on are A, B, C, ... in order."""
    start = next((index for index in reversed(range(1, len(lines))) if lines[index].startswith("A.")), len(lines))
    found = [CHOICE.fullmatch(line.rstrip()) for line in lines[start:]]
    choices = [choice for choice in found if choice is not None]
    if len(choices) == len(found) > 1 and LETTERS.startswith("".join(choice[1] for choice in choices)):
        return "\n".join(lines[:start]), tuple((choice[2] or "").strip() for choice in choices)
    return "\n".join(lines), ()


def question_id(asked: Asked) -> str:
    """The same for the same question and choices, whatever the file, the row and the method."""
    words = " ".join(" ".join((asked.text, *asked.choices)).lower().split())
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def make_question(asked: Asked, *, task: str, split: str, id: str | None = None, answer: str = "") -> Question:
    """The record of a question; its id is that of its content unless one is given."""
    return Question(
        id=id or question_id(asked), task=task, split=split, text=asked.text, choices=asked.choices, answer=answer
    )


def read_episode(text: str) -> Episode:
    """Read question and steps from one text, question first. Irregular turns are kept and noted."""
    lead, passages = split_passages(text)
    asked, question_notes = read_question(lead)
    notes = list(question_notes)
    rewards = _rewards(passages)
    if len(rewards) > 1:
        notes.append(f"{len(rewards)} reward lines ({', '.join(rewards)}); the last is the environment's")
    steps: list[Step] = []
    for passage in passages:
        steps.append(_read_step(passage, len(steps) + 1, notes))
    return Episode(asked, tuple(steps), rewards[-1] if rewards else "", tuple(notes))


def find_reward(observation: str) -> str:
    """The reward that an observation tells, as written; empty for an ordinary observation."""
    found = REWARD.match(observation)
    return found["reward"] if found else ""


def _rewards(passages: Sequence[Passage]) -> list[str]:
    rewards = [find_reward(observation) for passage in passages for observation in passage.observations]
    return [reward for reward in rewards if reward]


def _read_step(passage: Passage, number: int, notes: list[str]) -> Step:
    """One turn; what is irregular about it is added to `notes`."""
    reflection, thought = _split_reflection("\n".join(part for part in passage.thoughts if part))
    thought = _drop_inline_action(thought, passage.action, number, notes)
    action = None if passage.action is None else parse_action(passage.action)
    notes.extend(f"turn {number}: {note}" for note in _irregular(passage, thought or reflection, action))
    observations = [observation for observation in passage.observations if not find_reward(observation)]
    return Step(
        thought=thought,
        action=action,
        observation="\n".join(observations) if observations else None,
        reflection=reflection,
    )


def _irregular(passage: Passage, thought: str, action: Action | None) -> list[str]:
    notes = []
    if passage.action is None:
        notes.append("no action")
    elif action is None:
        notes.append(f"not an action: {passage.action}")
    elif not passage.action.endswith(f"[{action.argument}]"):
        notes.append(f"not exactly one tool[argument], read as {action.tool}[{action.argument}]: {passage.action}")
    if not thought:
        notes.append("no thought")
    if len(passage.thoughts) > 1:
        notes.append("more than one thought label, joined")
    return notes


def _split_reflection(thought: str) -> tuple[str, str]:
    """The injected sentence and the model's own thought, without the label that the model put between them."""
    found = REFLECTION.match(thought)
    if found is None:
        return "", thought
    return found[0], thought[found.end() :].strip().removeprefix("Thought:").strip()


def _drop_inline_action(thought: str, action: str | None, number: int, notes: list[str]) -> str:
    """A thought without a copy of its turn's action in its last line."""
    if action is None or not thought.endswith(f"Action: {action}"):
        return thought
    notes.append(f"turn {number}: the action stood in the thought's line too")
    return thought.removesuffix(f"Action: {action}").strip()
