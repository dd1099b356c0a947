"""Tools: an argument -> an observation. One file for each tool; `noise` wraps any of them.

A new tool is one file and one line in `Tool` and `open_tool`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

NOTHING = "None"
"""The observation of a search that found nothing, as in the released trajectories."""


@dataclass(frozen=True)
class Call:
    """Which call this is: what seeded wrappers depend on, so that every agent meets the same noise."""

    question_id: str
    index: int
    """Tool calls made in the episode before this one."""


class Tool(Protocol):
    """Something an agent can use.

    Raises ToolError where it cannot answer; the episode shows its sentence to the agent as an observation.
    """

    name: str
    description: str
    """One sentence for the agent: what the tool does and what its argument is."""

    async def __call__(self, argument: str, call: Call) -> str: ...
