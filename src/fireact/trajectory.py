"""The records that pass between stages: Question, Step, Trajectory. Frozen, versioned, closed.

One JSON line holds one trajectory. A record stores what happened; what can be derived from it (turns, correctness,
task) is a property, so that it cannot disagree. Who wrote each piece is fixed by the field it stands in: `reply`,
`thought` and `action` were written by the model; `reflection` and `observation` by the world.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FINISH = "finish"
"""The tool name that ends an episode; its argument is the answer."""

LETTERS = "ABCDEFGHIJ"

Words = tuple[str, str]
"""A task and the words of a question, by which two questions count as the same."""


class Record(BaseModel):
    """Base of all records: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(Record):
    """One link of a gold reasoning chain: the `relation` of `subject` is `value`."""

    subject: str
    relation: str
    value: str
    is_famous: bool = False
    """True if the base model has seen the fact in pretraining; False if only the pages know it."""


class Question(Record):
    """One question of a task, with what is needed to score an answer and to judge the use of tools."""

    id: str
    """Unique within the task and split."""
    task: str
    split: str = ""
    text: str
    """The question as asked, without the choices."""
    choices: tuple[str, ...] = Field(default=(), max_length=len(LETTERS))
    """Texts of the choices A, B, C, ... of a multiple-choice question, without their letters."""
    answer: str = ""
    """The gold answer; a letter for multiple choice; empty where it is not known."""
    aliases: tuple[str, ...] = ()
    """Further wordings that count as the gold answer."""
    kind: str = ""
    """What sort of question it is within its task, such as `bridge` or `comparison`."""
    chain: tuple[Fact, ...] = ()
    """The gold reasoning chain in order, where it is known."""

    @property
    def key(self) -> str:
        """Unique over all tasks and splits; what is random about a question is seeded by it."""
        return f"{self.task}/{self.split}/{self.id}"

    @property
    def words(self) -> Words:
        """By what two questions count as the same: task and words, without case and repeated white space."""
        return self.task, " ".join(self.full_text.casefold().split())

    @property
    def is_famous(self) -> bool:
        """True if every fact of a known chain is famous."""
        return bool(self.chain) and all(fact.is_famous for fact in self.chain)

    @property
    def full_text(self) -> str:
        """The question with one line `A. text` for each choice: what a model reads."""
        lines = (f"{letter}. {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False))
        return "\n".join((self.text, *lines))


class Action(Record):
    """What the model does in one turn; the tool named `finish` ends the episode."""

    tool: str
    argument: str


class Usage(Record):
    """What replies cost. Sums are over the calls of one step or one trajectory."""

    calls: int = 0
    calls_cached: int = 0
    """Of `calls`, those that the cache answered: they were paid for before."""
    tokens_in: int = 0
    """Tokens the model read."""
    tokens_out: int = 0
    """Tokens the model wrote."""
    seconds: float = 0.0
    """Seconds the model worked; where requests are answered in batches, each has an equal share of its batch."""
    dollars: float | None = None
    """What the calls cost when they were paid for; None where no price is known."""

    def __add__(self, other: Usage) -> Usage:
        dollars = None if self.dollars is None and other.dollars is None else (self.dollars or 0) + (other.dollars or 0)
        return Usage(
            calls=self.calls + other.calls,
            calls_cached=self.calls_cached + other.calls_cached,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            seconds=self.seconds + other.seconds,
            dollars=dollars,
        )


class Step(Record):
    """One turn: what the model wrote, what it meant, and what the world answered."""

    reply: str = ""
    """The model's raw reply; empty where a step was imported or made by `unify`."""
    thought: str = ""
    action: Action | None = None
    """None where the method asks for none (CoT, IO) or the reply could not be parsed."""
    observation: str | None = None
    """None before the world has answered, and for steps that call no tool. `finish` has no observation."""
    reflection: str = ""
    """A sentence that the method put before the thought; never written by the model, never trained."""
    parse_error: str = ""
    """Why the reply could not be parsed; empty if it could."""
    usage: Usage = Usage()


class Score(Record):
    """How good an answer is; each value in [0, 1]."""

    em: float = Field(ge=0, le=1)
    """The official score of the task (exact match)."""
    f1: float = Field(ge=0, le=1)
    """Token F1; equal to `em` where the task has none."""
    strict: float | None = Field(default=None, ge=0, le=1)
    """The strict score beside an official one that is loose; None where they are the same."""


class Failure(Record):
    """Why an episode could not go on: the name of the error's class and its sentence."""

    type: str
    message: str


class Source(Record):
    """Where a trajectory came from: a file and row that were imported, or the program that made it."""

    producer: str = ""
    """Program and version, such as `fireact 0.1.0`."""
    file: str = ""
    index: int | None = None
    """Row in `file`, from 0."""
    notes: tuple[str, ...] = ()
    """Irregularities that an importer found, in words."""


class Trajectory(Record):
    """One episode, finished or not."""

    format: Literal["fireact-trajectory"] = "fireact-trajectory"
    version: Literal[1] = 1
    id: str
    question: Question
    method: str
    dialect: str
    model: str
    tools: tuple[str, ...] = ()
    """Those that the method could call."""
    noise: str = ""
    """What a tool wrapper did to observations, such as `none p=0.5`; empty for clean tools."""
    seed: int = 0
    steps: tuple[Step, ...] = ()
    answer: str | None = None
    """None where the episode gave none."""
    end: Literal["finished", "step_limit", "failed"]
    failure: Failure | None = None
    score: Score | None = None
    """None where the gold answer is not known."""
    seconds: float = Field(default=0.0, ge=0)
    """Wall-clock seconds from the start of the episode to its end, tools included."""
    source: Source = Source()

    @property
    def task(self) -> str:
        return self.question.task

    @property
    def usage(self) -> Usage:
        return sum((step.usage for step in self.steps), Usage())

    @property
    def num_turns(self) -> int:
        """Steps taken: one reply of the model each."""
        return len(self.steps)

    @property
    def is_correct(self) -> bool:
        return self.score is not None and self.score.em == 1.0
