"""The four task families of the embedded world; `fireact.world.questions` says how they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fireact.metrics import score_choice, score_words, score_yes_no
from fireact.tasks.folder import require_split
from fireact.trajectory import Question, Score
from fireact.world.questions import COUNTS, questions

SCORERS: dict[str, Callable[[str | None, str], Score]] = {
    "world/hop": lambda answer, gold: score_words(answer, (gold,)),
    "world/yesno": score_yes_no,
    "world/choice": score_choice,
    "world/compose": lambda answer, gold: score_words(answer, (gold,)),
}


@dataclass(frozen=True)
class WorldTask:
    """A family of questions over the shipped world, scored as the task that it plays."""

    name: str

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(COUNTS[self.name])

    def questions(self, split: str) -> Sequence[Question]:
        """Ids are the split and a number from 0."""
        require_split(self.name, split, self.splits)
        return questions(self.name, split)

    def score(self, question: Question, answer: str | None) -> Score:
        return SCORERS[self.name](answer, question.answer)
