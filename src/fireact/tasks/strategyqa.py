"""StrategyQA (Geva et al. 2021, arXiv 2101.02235): yes or no, where the steps to the answer are only implied.

Nothing is put before a question: prompts ask for yes or no, and a tuned student has learnt it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fireact.errors import DataError
from fireact.metrics import score_yes_no
from fireact.tasks.folder import HINT, read_objects, require_split
from fireact.trajectory import Question, Score

FILES = {"train": "strategyqa_train_filtered.json", "dev": "strategyqa_dev.json", "test": "strategyqa_test.json"}
ANSWERS = {True: "yes", False: "no", None: ""}


class StrategyQa:
    """Questions with the gold answers `yes` and `no`; those of `test` are not public."""

    name = "strategyqa"
    splits: tuple[str, ...] = tuple(FILES)

    def __init__(self, folder: Path) -> None:
        """`folder` holds `strategyqa/`."""
        self.folder = folder

    def questions(self, split: str) -> Sequence[Question]:
        """Ids are those of the file."""
        require_split(self.name, split, self.splits)
        path = self.folder / self.name / FILES[split]
        return tuple(self._question(row, split, path) for row in read_objects(path, keys=("qid", "question")))

    def score(self, question: Question, answer: str | None) -> Score:
        """Official: the answer begins with yes or no; strict: it is that word."""
        return score_yes_no(answer, question.answer)

    def _question(self, row: dict[str, Any], split: str, path: Path) -> Question:
        answer = row.get("answer")
        if answer not in (True, False, None):
            raise DataError(
                f"{path}: question {row['qid']}: expected true or false as 'answer', got {answer!r}; {HINT}"
            )
        return Question(
            id=row["qid"],
            task=self.name,
            split=split,
            text=row["question"].strip(),
            answer=ANSWERS[answer],
        )
