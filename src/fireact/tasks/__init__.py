"""Tasks: questions and the scoring of answers. One file for each task family.

A new task is one file and one line in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from fireact.errors import unknown_name
from fireact.tasks.bamboogle import Bamboogle
from fireact.tasks.folder import data_folder
from fireact.tasks.hotpotqa import HotpotQa
from fireact.tasks.mmlu import Mmlu
from fireact.tasks.strategyqa import StrategyQa
from fireact.tasks.world import SCORERS, WorldTask
from fireact.trajectory import Question, Score


class Task(Protocol):
    """A set of questions in splits, with its own way to score."""

    @property
    def name(self) -> str: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def questions(self, split: str) -> Sequence[Question]:
        """All questions of a split, in a fixed order.

        Raises:
            DataError: the split is unknown or its file cannot be read.
        """
        ...

    def score(self, question: Question, answer: str | None) -> Score:
        """Scores in [0, 1]; no answer scores 0."""
        ...


Opener = Callable[[Path], Task]
"""From the folder of the public data sets to a task; the world's tasks need none."""


def _open_world(name: str, _folder: Path) -> Task:
    return WorldTask(name)


TASKS: dict[str, Opener] = {
    "hotpotqa": HotpotQa,
    "strategyqa": StrategyQa,
    "mmlu": Mmlu,
    "bamboogle": Bamboogle,
    **{name: partial(_open_world, name) for name in SCORERS},
}


def open_task(name: str, *, folder: Path | None = None) -> Task:
    """The task of this name.

    Args:
        folder: of the public data sets; None takes the one that the environment variable FIREACT_DATA names, else
            `data` in the current folder. No file is read before questions are asked for.

    Raises:
        ConfigError: no task has the name.
    """
    if name not in TASKS:
        raise unknown_name("task", name, tuple(TASKS))
    return TASKS[name](data_folder(folder))
