"""Dialects: a trajectory prefix -> what a model reads, and a reply -> a thought and an action. Pure.

Generation, training and serving render with the same dialect. A rendering is a row of pieces with their author;
each piece is turned into tokens by itself, so the tokens of a prefix never change when more is appended, and the
tokens that are trained are exactly the pieces whose author is the model.

A new dialect is one file and one line in `DIALECTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fireact.errors import unknown_name
from fireact.trajectory import Action, Question, Step


class Author(StrEnum):
    """Who wrote a piece of text."""

    WORLD = "world"
    MODEL = "model"


@dataclass(frozen=True)
class Piece:
    """A stretch of text by one author; an end-of-turn token follows a model's piece where the model uses one."""

    text: str
    author: Author = Author.WORLD


@dataclass(frozen=True)
class Move:
    """What one reply means. `action` is None where the reply has a thought and no action."""

    thought: str
    action: Action | None


class Dialect(Protocol):
    """Both directions between steps and text."""

    name: str
    stop: tuple[str, ...]
    """Strings before which a reply is cut: the model would go on to invent the world's part."""

    def render(
        self, question: Question, steps: Sequence[Step], *, instruction: str = "", reflection: str | None = None
    ) -> tuple[Piece, ...]:
        """All that the model has read and written so far.

        Args:
            instruction: text placed before the question (few-shot examples); empty for a tuned student.
            reflection: None renders finished steps only (a training example, ends with the last step);
                a string, also the empty one, renders a prompt that ends where the model writes next, after that
                injected reflection.
        """
        ...

    def parse(self, reply: str) -> Move:
        """Read one reply.

        Raises:
            FormatError: the reply has neither a thought nor an action.
        """
        ...


# At the end because a dialect is made of the pieces defined above.
from fireact.dialects.react_text import ReactText  # noqa: E402

DIALECTS: dict[str, Dialect] = {"react-text": ReactText()}


def open_dialect(name: str) -> Dialect:
    """The dialect of this name.

    Raises:
        ConfigError: no dialect has it.
    """
    if name not in DIALECTS:
        raise unknown_name("dialect", name, tuple(DIALECTS))
    return DIALECTS[name]
