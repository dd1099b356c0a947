"""Noise: a wrapper that breaks a tool now and then, as in the paper's robustness test (section 5.2).

With probability p an observation is replaced: by `None`, or by one that belongs to another search. Whether and by
what depends on the seed, the question and the number of the call alone, so every agent meets the same noise.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from pydantic import Field

from fireact.config import Config, Seed
from fireact.errors import ConfigError
from fireact.tools import NOTHING, Call, Tool


@runtime_checkable
class Distractible(Protocol):
    """A tool that can make up an observation of some other call."""

    def random_observation(self, rng: random.Random) -> str: ...


class NoiseConfig(Config):
    """How a tool is broken."""

    kind: Literal["none", "random"]
    """`none`: nothing was found; `random`: what another search would find."""
    p: float = Field(0.5, ge=0, le=1)
    """Probability, for each call."""
    seed: Seed = 0

    @property
    def label(self) -> str:
        """How trajectories name it."""
        return f"{self.kind} p={self.p:g}"


@dataclass(frozen=True)
class NoisyTool:
    """A tool whose observations are replaced now and then; the tool is not called for those."""

    tool: Tool
    config: NoiseConfig

    @property
    def name(self) -> str:
        return self.tool.name

    async def __call__(self, argument: str, call: Call) -> str:
        rng = noise_generator(self.config, call)
        if rng is None:
            return await self.tool(argument, call)
        if self.config.kind == "none":
            return NOTHING
        assert isinstance(self.tool, Distractible)
        return self.tool.random_observation(rng)


def noise_generator(config: NoiseConfig, call: Call) -> random.Random | None:
    """None for a clean call; for a noisy one the generator that its observation is drawn with."""
    rng = random.Random(f"{config.seed}/{call.question}/{call.index}")
    return rng if rng.random() < config.p else None


def add_noise(tool: Tool, config: NoiseConfig) -> Tool:
    """The tool with noise around it.

    Raises:
        ConfigError: random noise for a tool that has no observations of other calls.
    """
    if config.kind == "random" and not isinstance(tool, Distractible):
        raise ConfigError(f"noise random: the tool {tool.name!r} has no random observations; use the noise none")
    return NoisyTool(tool, config)
