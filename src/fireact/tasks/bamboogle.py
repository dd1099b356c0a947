"""Bamboogle (Press et al. 2023, arXiv 2210.03350): two-hop questions that no single page answers; for tests only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fireact.metrics import score_words
from fireact.tasks.folder import read_rows, require_split
from fireact.trajectory import Question, Score


class Bamboogle:
    """125 questions, answered in a few words."""

    name = "bamboogle"
    splits: tuple[str, ...] = ("test",)

    def __init__(self, folder: Path) -> None:
        """`folder` holds `bamboogle/`."""
        self.folder = folder

    def questions(self, split: str) -> Sequence[Question]:
        """Ids are positions from 0, without the heading."""
        require_split(self.name, split, self.splits)
        _heading, *rows = read_rows(self.folder / self.name / f"{split}.csv", num_columns=2)
        return tuple(
            Question(id=str(index), task=self.name, split=split, text=text, answer=answer)
            for index, (text, answer) in enumerate(rows)
        )

    def score(self, question: Question, answer: str | None) -> Score:
        """EM and F1 as for HotpotQA."""
        return score_words(answer, (question.answer, *question.aliases))
