"""generate: a teacher answers questions with several methods, and every episode is kept.

Started again, it asks only what has no line yet.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from pathlib import Path

from pydantic import Field

from fireact.config import Free
from fireact.methods import MethodConfig
from fireact.models import Means, ModelConfig, open_model
from fireact.progress import Progress
from fireact.rollout import rollout
from fireact.runs import Journal, Summary, journal, open_stage, output, read
from fireact.stages.asking import (
    AgentSettings,
    QuestionSet,
    open_agent,
    open_episodes,
    open_means,
    open_questions,
    summarise,
)
from fireact.tools import NoiseConfig
from fireact.trajectory import Trajectory


class EpisodeGroup(QuestionSet):
    """Questions for the teacher, and the method to answer them with."""

    method: MethodConfig
    noise: NoiseConfig | None = None
    """Clean tools where None."""


class GenerateConfig(AgentSettings):
    """What a teacher is asked."""

    teacher: ModelConfig
    episodes: tuple[EpisodeGroup, ...] = Field(min_length=1)
    concurrency: Free[int] = Field(64, ge=1)
    """Episodes at once."""
    budget_usd: Free[float | None] = Field(None, gt=0)
    """Dollars that the stage may spend, over all its starts; None for no cap."""


def run(config: GenerateConfig, folder: Path) -> Summary:
    """Ask all that is not answered yet and append each trajectory as it ends.

    Raises:
        FireactError: a setting is wrong, the folder refuses, or all episodes failed.
    """
    open_stage(folder, "generate", config)
    path = output(folder, "generate")
    with journal(path) as kept, open_means(path.parent, config.budget_usd) as means:
        total = sum(len(open_questions(group)) for group in config.episodes)
        if len(kept.done) < total:
            asyncio.run(_generate(config, kept, means, total))
    return summarise("generate", read(path, Trajectory), where=path)


async def _generate(config: GenerateConfig, kept: Journal, means: Means, total: int) -> None:
    model = open_model(config.teacher, means)
    try:
        agents = [
            open_agent(config, task=group.task, model=model, method=group.method, noise=group.noise, cache=means.cache)
            for group in config.episodes
        ]
        episodes = (
            open_episodes(group, agent, prefix=str(index), kept=kept)
            for index, (group, agent) in enumerate(zip(config.episodes, agents, strict=True))
        )
        with Progress("generate", total, before=len(kept.done)) as progress:
            await rollout(
                chain.from_iterable(episodes),
                kept.end,
                concurrency=config.concurrency,
                note=kept.note,
                progress=progress,
            )
    finally:
        await model.close()
