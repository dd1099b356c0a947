"""Tasks: questions and the scoring of answers. One file for each task family.

A new task is one file and one line in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fireact.trajectory import Question, Score


class Task(Protocol):
    """A set of questions in splits, with its own way to score."""

    name: str
    splits: tuple[str, ...]

    def questions(self, split: str) -> Sequence[Question]:
        """All questions of a split, in a fixed order.

        Raises:
            DataError: the split is unknown or its file cannot be read.
        """
        ...

    def score(self, question: Question, answer: str | None) -> Score:
        """Scores in [0, 1]; no answer scores 0."""
        ...
