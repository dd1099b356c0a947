"""Reflexion as the FireAct paper uses it: ReAct with a sentence put before the thought in a few late rounds.

The paper (arXiv 2310.05915, Appendix B) reflects in rounds 6 and 10. Unlike in Shinn et al. 2023 (arXiv 2303.11366),
there is no second trial of the question: the reflection happens inside the running episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import field_validator

from fireact.config import Config
from fireact.dialects import Dialect
from fireact.methods import Turn
from fireact.methods.prompts import Prompt
from fireact.methods.react import React
from fireact.trajectory import Step

IMPROVE = (
    "My attempts have not led to an answer within {steps}, so let me reflect on what went wrong and change course."
)
WRAP_UP = (
    "My attempts have not led to an answer within {steps}, so I must settle on the most likely one and finish in the"
    " next step."
)


@dataclass(frozen=True)
class Reflexion:
    """ReAct that is told to reflect in some rounds, and in the last of several to finish."""

    react: React
    rounds: tuple[int, ...]
    """Turns counted from 1, ascending."""

    name = "reflexion"
    uses_tools = True

    def turn(self, steps: Sequence[Step]) -> Turn:
        """ReAct's turn, with a reflection in the chosen rounds."""
        return replace(self.react.turn(steps), reflection=self._reflection(len(steps)))

    def read(self, reply: str, turn: Turn, dialect: Dialect) -> Step:
        """ReAct's step; the reflection stands in a field of its own."""
        return self.react.read(reply, turn, dialect)

    def answer(self, steps: Sequence[Step]) -> str | None:
        """The argument of `finish`; None before that."""
        return self.react.answer(steps)

    def _reflection(self, num_steps: int) -> str:
        if num_steps + 1 not in self.rounds:
            return ""
        is_last = len(self.rounds) > 1 and num_steps + 1 == self.rounds[-1]
        return (WRAP_UP if is_last else IMPROVE).format(steps="1 step" if num_steps == 1 else f"{num_steps} steps")


class ReflexionConfig(Config):
    """Think and act in turns, and reflect in late ones."""

    kind: Literal["reflexion"] = "reflexion"
    prompt: Prompt = "task"
    """`task` (the prompt of react), `none` or the path of a .txt file."""
    rounds: tuple[int, ...] = (6, 10)
    """Turns, counted from 1, before which a reflection is put. Of several, the last asks to finish instead."""

    @field_validator("rounds")
    @classmethod
    def _ascending(cls, rounds: tuple[int, ...]) -> tuple[int, ...]:
        if not rounds or rounds[0] < 2 or list(rounds) != sorted(set(rounds)):
            raise ValueError(f"expected ascending turns from 2 on, such as [6, 10], got {list(rounds)}")
        return rounds

    def open(self, instruction: str) -> Reflexion:
        return Reflexion(React(instruction), self.rounds)
