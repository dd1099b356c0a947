"""ReAct (Yao et al. 2022, arXiv 2210.03629): a thought and an action in every turn, until the action is `finish`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fireact.config import Config
from fireact.dialects import Dialect
from fireact.errors import FormatError
from fireact.methods import Turn
from fireact.methods.prompts import NEXT_EXAMPLE, Prompt
from fireact.trajectory import FINISH, Step


@dataclass(frozen=True)
class React:
    """Asks for a thought and an action; the dialect says how they are written."""

    instruction: str

    name = "react"
    uses_tools = True

    def turn(self, steps: Sequence[Step]) -> Turn:
        """The same in every turn."""
        return Turn(instruction=self.instruction, stop=NEXT_EXAMPLE)

    def read(self, reply: str, turn: Turn, dialect: Dialect) -> Step:
        """The thought and action of a reply, after the reflection that the turn put before them."""
        try:
            move = dialect.parse(reply)
        except FormatError as error:
            return Step(reply=reply, reflection=turn.reflection, parse_error=str(error))
        return Step(reply=reply, thought=move.thought, action=move.action, reflection=turn.reflection)

    def answer(self, steps: Sequence[Step]) -> str | None:
        """The argument of `finish`, which may be empty; None before that."""
        action = steps[-1].action
        return action.argument if action is not None and action.tool == FINISH else None


class ReactConfig(Config):
    """Think and act in turns."""

    kind: Literal["react"] = "react"
    prompt: Prompt = "task"
    """`task`, `none` or the path of a .txt file."""

    def open(self, instruction: str) -> React:
        return React(instruction)
