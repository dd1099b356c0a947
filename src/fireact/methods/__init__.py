"""Methods: strategies without I/O. Shown the steps so far, a method says what to ask next; shown a reply, it says
which step that makes, or that the episode is over.

A new method is one file, its config named in `AnyMethodConfig`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field

from fireact.dialects import Dialect
from fireact.trajectory import Step


@dataclass(frozen=True)
class Turn:
    """What to put before the model in one turn."""

    instruction: str
    """Text before the question: what to do, with few-shot examples; empty for a tuned student."""
    reflection: str = ""
    """A sentence injected before the thought; empty in most turns."""
    stop: tuple[str, ...] = ()
    """Stop strings besides the dialect's own."""


class Method(Protocol):
    """A prompting strategy."""

    name: str
    uses_tools: bool

    def turn(self, steps: Sequence[Step]) -> Turn:
        """What to ask after these steps."""
        ...

    def read(self, reply: str, turn: Turn, dialect: Dialect) -> Step:
        """The step that a reply makes, without observation; a reply that cannot be parsed says so in the step."""
        ...

    def answer(self, steps: Sequence[Step]) -> str | None:
        """The answer, if these steps end the episode; None to go on."""
        ...


# At the end because methods are made of the turns defined above.
from fireact.methods.cot import CotConfig  # noqa: E402
from fireact.methods.io import IoConfig  # noqa: E402
from fireact.methods.prompts import read_prompt  # noqa: E402
from fireact.methods.react import ReactConfig  # noqa: E402
from fireact.methods.reflexion import ReflexionConfig  # noqa: E402

AnyMethodConfig = IoConfig | CotConfig | ReactConfig | ReflexionConfig
MethodConfig = Annotated[AnyMethodConfig, Field(discriminator="kind")]
"""The config of any method; `kind` says of which."""


def open_method(config: AnyMethodConfig, task: str) -> Method:
    """The method that a config describes, with its prompt for the questions of `task`.

    Raises:
        ConfigError: there is no such prompt, or its file cannot be read.
    """
    return config.open(read_prompt(config.prompt, method=config.kind, task=task))
