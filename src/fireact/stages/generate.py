"""generate: a teacher answers questions with several methods, and every episode is kept.

Started again, it asks only what has no line yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from fireact.methods import MethodConfig
from fireact.models import Model, ModelConfig, open_model
from fireact.progress import Progress
from fireact.rollout import Episode, rollout
from fireact.runs import Append, Summary, appending, finished_ids, open_stage, output, read
from fireact.stages.asking import AgentSettings, QuestionSet, open_episodes, open_questions, summarise
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
    concurrency: int = Field(64, ge=1)
    """Episodes at once."""


def run(config: GenerateConfig, folder: Path) -> Summary:
    """Ask all that is not answered yet and append each trajectory as it ends.

    Raises:
        FireactError: a setting is wrong, the folder refuses, or all episodes failed.
    """
    open_stage(folder, "generate", config)
    path = output(folder, "generate")
    done = finished_ids(path)
    if len(done) < sum(len(open_questions(group)) for group in config.episodes):
        with appending(path) as append:
            asyncio.run(_generate(config, done, append))
    return summarise("generate", read(path, Trajectory), where=path)


async def _generate(config: GenerateConfig, done: frozenset[str], append: Append) -> None:
    model = open_model(config.teacher)
    try:
        episodes = [episode for episode in _episodes(config, model) if episode.id not in done]
        with Progress("generate", len(done) + len(episodes), before=len(done)) as progress:
            await rollout(episodes, append, concurrency=config.concurrency, progress=progress)
    finally:
        await model.close()


def _episodes(config: GenerateConfig, model: Model) -> Iterator[Episode]:
    for index, group in enumerate(config.episodes):
        yield from open_episodes(group, config, model=model, method=group.method, noise=group.noise, prefix=str(index))
