"""Tools: an argument -> an observation. One file for each tool; `noise` wraps any of them.

A new tool is one file, its config named in `ToolConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

NOTHING = "None"
"""The observation of a search that found nothing, as in the released trajectories."""


@dataclass(frozen=True)
class Call:
    """Which call this is: what seeded wrappers depend on, so that every agent meets the same noise."""

    question: str
    """`Question.key`."""
    index: int
    """Tool calls made in the episode before this one."""


class Tool(Protocol):
    """Something an agent can use.

    Raises ToolError where it cannot answer; the episode shows its sentence to the agent as an observation.
    """

    @property
    def name(self) -> str: ...

    async def __call__(self, argument: str, call: Call) -> str: ...


# At the end because tools are made of the types defined above.
from fireact.tools.cached import add_cache  # noqa: E402
from fireact.tools.noise import NoiseConfig, add_noise  # noqa: E402
from fireact.tools.search import SearchConfig  # noqa: E402

ToolConfig = SearchConfig
"""The config of any tool; with a second kind of tool, a union by `kind`."""


def open_tool(config: ToolConfig) -> Tool:
    """The tool that a config describes.

    Raises:
        DataError: what it needs cannot be read.
    """
    return config.open()


__all__ = [
    "NOTHING",
    "Call",
    "NoiseConfig",
    "SearchConfig",
    "Tool",
    "ToolConfig",
    "add_cache",
    "add_noise",
    "open_tool",
]
