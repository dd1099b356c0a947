"""A scripted model: replies that are known beforehand, for tests, examples and dry runs. A token is a word."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from fireact.config import Config
from fireact.errors import ModelError
from fireact.models import Means, Reply, Request

Script = Callable[[Request], str]


class ScriptedModel:
    """Answers with a function of the request."""

    def __init__(self, script: Script, *, fails_at: Sequence[int] = (), name: str = "scripted") -> None:
        """`fails_at`: numbers of the calls, from 0, that raise ModelError."""
        self.name = name
        self.script = script
        self.fails_at = frozenset(fails_at)
        self.calls = 0

    async def reply(self, request: Request) -> Reply:
        call, self.calls = self.calls, self.calls + 1
        if call in self.fails_at:
            raise ModelError(f"scripted model: call {call} was told to fail")
        begun = time.perf_counter()
        text = self.script(request)
        return Reply(text, len(request.text.split()), len(text.split()), time.perf_counter() - begun)

    async def close(self) -> None:
        """Nothing is held open."""


def by_question(replies: Mapping[str, Sequence[str]]) -> Script:
    """A script that finds the question's words in the prompt and gives its replies turn by turn, the last for ever.

    Raises (when called):
        ModelError: the prompt holds none of the questions.
    """

    def script(request: Request) -> str:
        last = request.text.rpartition("Question: ")[2]
        for question, answers in replies.items():
            if last.startswith(question):
                turn = last.count("\nObservation:")
                return answers[min(turn, len(answers) - 1)]
        raise ModelError(f"scripted model: no reply for {last[:60]!r}; known questions: {len(replies)}")

    return script


class ScriptedConfig(Config):
    """Replies by question."""

    kind: Literal["scripted"] = "scripted"
    replies: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(min_length=1)
    """The words of a question -> its replies, turn by turn."""
    fails_at: tuple[int, ...] = ()
    """Calls, from 0, that fail."""

    def open(self, means: Means) -> ScriptedModel:
        return ScriptedModel(by_question(self.replies), fails_at=self.fails_at)
