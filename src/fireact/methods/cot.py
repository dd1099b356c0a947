"""Chain of thought (Wei et al. 2022, arXiv 2201.11903): reason, then answer, in one reply and without tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fireact.config import Config
from fireact.dialects import Dialect
from fireact.errors import FormatError
from fireact.methods import Turn
from fireact.methods.answer_line import last_reply, split_answer
from fireact.methods.prompts import NEXT_EXAMPLE, Prompt
from fireact.trajectory import Step


@dataclass(frozen=True)
class Cot:
    """Asks for `Thought: ...` and `Answer: ...`."""

    instruction: str

    name = "cot"
    uses_tools = False

    def turn(self, steps: Sequence[Step]) -> Turn:
        """The same in every turn; an episode has one."""
        return Turn(instruction=self.instruction, stop=NEXT_EXAMPLE)

    def read(self, reply: str, turn: Turn, dialect: Dialect) -> Step:
        """A step with the thought and without an action; the answer stays in the reply."""
        try:
            return Step(reply=reply, thought=split_answer(reply).thought)
        except FormatError as error:
            return Step(reply=reply, parse_error=str(error))

    def answer(self, steps: Sequence[Step]) -> str | None:
        """What stands after `Answer:`; None where the reply has none, and the episode then ends without."""
        reply = last_reply(steps)
        return None if reply is None else split_answer(reply).answer


class CotConfig(Config):
    """Reason and answer in one reply."""

    kind: Literal["cot"] = "cot"
    prompt: Prompt = "task"
    """`task`, `none` or the path of a .txt file."""

    def open(self, instruction: str) -> Cot:
        return Cot(instruction)
