"""Reads replies that end in a line `Answer: ...`, as io and cot ask for them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fireact.errors import FormatError
from fireact.trajectory import Step

LINE = re.compile(r"^Answer:\s*(?P<answer>.+)", re.MULTILINE)
INLINE = re.compile(r"\sAnswer:[ \t]*(?P<answer>.+)")
THOUGHT_LABEL = re.compile(r"\A(?:Thought:\s*)+")
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Answered:
    """What a reply says: the reasoning before the answer, which may be empty, and the answer, which is not."""

    thought: str
    answer: str


def split_answer(reply: str) -> Answered:
    """Cut a reply at its answer.

    The first line that begins with `Answer:` counts, or else the first `Answer:` inside a line. The answer is the
    rest of that line, or the next line where there is no rest; what follows is dropped.

    Raises:
        FormatError: the reply has no answer.
    """
    found = LINE.search(reply) or INLINE.search(reply)
    answer = found["answer"].strip() if found else ""
    if found is None or not answer:
        raise FormatError(f"expected a line 'Answer: ...', got {reply[:SHOWN_CHARACTERS]!r}")
    return Answered(THOUGHT_LABEL.sub("", reply[: found.start()].strip()), answer)


def last_reply(steps: Sequence[Step]) -> str | None:
    """The reply of the last step; None where it could not be read."""
    return None if steps[-1].parse_error else steps[-1].reply
