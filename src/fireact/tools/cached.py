"""The cache around a tool that costs money or time: what it observed once is not asked for again, by any run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fireact.cache import Cache, key_of
from fireact.tools import Call, Tool


@runtime_checkable
class Costly(Protocol):
    """A tool whose observations are worth keeping."""

    @property
    def cache_key(self) -> str:
        """All that an observation depends on besides the argument: the service and its settings, and no secret."""
        ...


@dataclass(frozen=True)
class CachedTool:
    """A tool that asks the cache first. What failed is not kept."""

    tool: Tool
    cache: Cache
    cache_key: str

    @property
    def name(self) -> str:
        return self.tool.name

    async def __call__(self, argument: str, call: Call) -> str:
        key = key_of("tool", self.tool.name, self.cache_key, argument)
        known = self.cache.get(key)
        if known is not None:
            return str(known["observation"])
        observation = await self.tool(argument, call)
        self.cache.put(key, {"observation": observation})
        return observation


def add_cache(tool: Tool, cache: Cache | None) -> Tool:
    """The tool with the cache around it, if there is one and the tool says that it is worth it."""
    return CachedTool(tool, cache, tool.cache_key) if cache is not None and isinstance(tool, Costly) else tool
