"""Plain input and output: answer at once, in one reply, without reasoning or tools."""

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

LABELS = ("Thought:", "Action:", "Observation:", "Answer:")


@dataclass(frozen=True)
class Io:
    """Asks for `Answer: ...`."""

    instruction: str

    name = "io"
    uses_tools = False

    def turn(self, steps: Sequence[Step]) -> Turn:
        """The same in every turn; an episode has one."""
        return Turn(instruction=self.instruction, stop=NEXT_EXAMPLE)

    def read(self, reply: str, turn: Turn, dialect: Dialect) -> Step:
        """A step that holds the reply alone; what a model wrote before its answer is not taken for a thought."""
        try:
            _read_answer(reply)
        except FormatError as error:
            return Step(reply=reply, parse_error=str(error))
        return Step(reply=reply)

    def answer(self, steps: Sequence[Step]) -> str | None:
        """What stands after `Answer:`, or a reply of one bare line; None for anything else, and the episode then
        ends without an answer."""
        reply = last_reply(steps)
        return None if reply is None else _read_answer(reply)


def _read_answer(reply: str) -> str:
    bare = reply.strip()
    try:
        return split_answer(reply).answer
    except FormatError:
        # Nothing but the answer was asked for, so a model that leaves the label out has still given one.
        if bare and "\n" not in bare and not bare.startswith(LABELS):
            return bare
        raise


class IoConfig(Config):
    """Answer at once."""

    kind: Literal["io"] = "io"
    prompt: Prompt = "task"
    """`task`, `none` or the path of a .txt file."""

    def open(self, instruction: str) -> Io:
        return Io(instruction)
