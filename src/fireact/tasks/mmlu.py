"""MMLU (Hendrycks et al. 2021, arXiv 2009.03300): one of four choices, in 57 subjects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fireact.errors import DataError
from fireact.metrics import score_choice
from fireact.tasks.folder import HINT, read_rows, require_split
from fireact.trajectory import LETTERS, Question, Score

NUM_CHOICES = 4


class Mmlu:
    """Questions whose gold answer is a letter; `kind` is the subject, such as `high_school_physics`."""

    name = "mmlu"
    splits: tuple[str, ...] = ("auxiliary_train", "dev", "val", "test")

    def __init__(self, folder: Path) -> None:
        """`folder` holds `mmlu/`."""
        self.folder = folder

    def questions(self, split: str) -> Sequence[Question]:
        """Subjects in the order of the alphabet; ids are the subject and the position in its file from 0."""
        require_split(self.name, split, self.splits)
        paths = sorted((self.folder / self.name / split).glob("*.csv"))
        if not paths:
            raise DataError(f"{self.folder / self.name / split}: there is no CSV file in it; {HINT}")
        return tuple(question for path in paths for question in self._read(path, split))

    def score(self, question: Question, answer: str | None) -> Score:
        """Official: the answer begins with the letter; strict: it is the letter."""
        return score_choice(answer, question.answer)

    def _read(self, path: Path, split: str) -> Iterator[Question]:
        subject = path.stem.removesuffix(f"_{split}")
        for index, (text, *choices, answer) in enumerate(read_rows(path, num_columns=NUM_CHOICES + 2)):
            if answer not in tuple(LETTERS[:NUM_CHOICES]):
                raise DataError(f"{path}: question {index} (from 0): expected a letter A to D, got {answer!r}; {HINT}")
            yield Question(
                id=f"{subject}-{index}",
                task=self.name,
                split=split,
                text=text,
                # A choice is one line of what the model reads; two of the release hold a line break.
                choices=tuple(" ".join(choice.splitlines()) for choice in choices),
                answer=answer,
                kind=subject,
            )
