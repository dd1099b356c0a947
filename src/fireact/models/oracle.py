"""The oracle of the embedded world as a model: a teacher that costs nothing and runs offline."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field

from fireact.config import Config, Seed
from fireact.models import Means, Reply, Request
from fireact.world import oracle


class OracleModel:
    """Answers each request from its text alone; a token is a word."""

    def __init__(self, *, error_rate: float, seed: int, spells_out: bool = True) -> None:
        self.name = "oracle"
        self.error_rate = error_rate
        self.seed = seed
        self.spells_out = spells_out

    async def reply(self, request: Request) -> Reply:
        begun = time.perf_counter()
        text = oracle.reply(request.text, error_rate=self.error_rate, seed=self.seed, spells_out=self.spells_out)
        return Reply(text, len(request.text.split()), len(text.split()), time.perf_counter() - begun)

    async def close(self) -> None:
        """Nothing is held open."""


class OracleConfig(Config):
    """The teacher of the embedded world."""

    kind: Literal["oracle"] = "oracle"
    error_rate: float = Field(0.1, ge=0, le=1)
    """Share of the ReAct episodes in which it slips."""
    seed: Seed = 0
    spells_out: bool = True
    """Whether its thoughts spell out the small steps that a small student needs."""

    def open(self, means: Means) -> OracleModel:
        return OracleModel(error_rate=self.error_rate, seed=self.seed, spells_out=self.spells_out)
