"""HotpotQA (Yang et al. 2018, arXiv 1809.09600): questions that take facts from two pages, answered in a few words.

The official FireAct data has `dev.json`. For training questions, save HotpotQA's own training file as `train.json`
beside it. Of its fields, question, answer, type and `_id` are read; the paragraphs are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fireact.metrics import score_words
from fireact.tasks.folder import read_objects, require_split
from fireact.trajectory import Question, Score


class HotpotQa:
    """Bridge and comparison questions."""

    name = "hotpotqa"
    splits: tuple[str, ...] = ("train", "dev")

    def __init__(self, folder: Path) -> None:
        """`folder` holds `hotpotqa/`."""
        self.folder = folder

    def questions(self, split: str) -> Sequence[Question]:
        """Ids are those of the file or, where it has none, positions from 0 as in official run files."""
        require_split(self.name, split, self.splits)
        rows = read_objects(self.folder / self.name / f"{split}.json", keys=("question", "answer"))
        return tuple(self._question(row, index, split) for index, row in enumerate(rows))

    def score(self, question: Question, answer: str | None) -> Score:
        """EM and F1 of the official evaluation script."""
        return score_words(answer, (question.answer, *question.aliases))

    def _question(self, row: dict[str, Any], index: int, split: str) -> Question:
        return Question(
            id=str(row.get("_id", index)),
            task=self.name,
            split=split,
            text=row["question"].strip(),
            answer=row["answer"].strip(),
            kind=str(row.get("type") or ""),
        )
