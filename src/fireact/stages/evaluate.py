"""evaluate: every agent answers the same questions, with clean and with noisy tools.

One file for each agent, noise and split; started again, it asks only what has no line yet. A model is opened once for
all that its agent is asked. An agent whose method uses no tools meets no noise, so it is asked once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from fireact.cache import Cache
from fireact.config import Config, Free
from fireact.errors import unknown_name
from fireact.methods import MethodConfig, open_method
from fireact.models import Model, ModelConfig, open_models
from fireact.models.weights import LocalConfig, read_trained_questions
from fireact.progress import Progress
from fireact.rollout import Episode, rollout
from fireact.runs import (
    Journal,
    Summary,
    evaluation_path,
    journal,
    open_stage,
    output,
    read,
    require,
)
from fireact.stages.asking import (
    AgentSettings,
    QuestionSet,
    open_agent,
    open_episodes,
    open_means,
    open_questions,
    refuse_overlap,
    summarise,
)
from fireact.stages.processes import in_processes
from fireact.stages.results import by
from fireact.tools import NoiseConfig
from fireact.trajectory import Trajectory

NORMAL = "normal"
OWN_ADAPTER = "finetune"
"""The adapter that this run's own `finetune` makes."""
NOISES = (NORMAL, "none", "random")


def _named_noise(value: Any) -> Any:
    """A noise may be given by its name alone."""
    if value == NORMAL:
        return None
    if isinstance(value, str):
        if value not in NOISES:
            raise ValueError(str(unknown_name("noise", value, NOISES)))
        return {"kind": value}
    return value


Noise = Annotated[NoiseConfig | None, BeforeValidator(_named_noise)]
"""`normal`, `none`, `random`, or a NoiseConfig; None is normal."""
Noises = Annotated[
    tuple[Noise, ...], Field(min_length=1), AfterValidator(lambda noises: _distinct(noises, "noise", noise_name))
]
"""Each name once, because it is that of a file."""
T = TypeVar("T")


class AgentConfig(AgentSettings):
    """One agent of the comparison."""

    name: str = Field(pattern=r"^[\w][\w .+-]*$")
    """Stands in the report and names a folder."""
    model: ModelConfig
    method: MethodConfig


class TestSet(QuestionSet):
    """Questions that every agent is asked."""

    __test__ = False
    noises: Noises | None = None
    """For these questions only; those of the whole section where None."""

    @property
    def question_set(self) -> QuestionSet:
        """Which questions are meant, and nothing else."""
        return QuestionSet(**{name: getattr(self, name) for name in QuestionSet.model_fields})


class EvaluateConfig(Config):
    """Which agents are compared, and on what."""

    agents: tuple[AgentConfig, ...] = Field(min_length=1)
    tasks: tuple[TestSet, ...] = Field(min_length=1)
    noises: Noises = (None,)
    concurrency: Free[int] = Field(64, ge=1)
    """Episodes at once."""
    processes: Free[int] = Field(1, ge=1)
    """So many at once, each agent under each noise in a process of its own with a share of the cores."""
    share_base: Free[bool] = False
    """Whether local agents that differ in their adapters alone are asked together, on one base and in one batch."""
    budget_usd: Free[float | None] = Field(None, gt=0)
    """Dollars that the stage may spend, over all its starts; None for no cap."""

    @property
    def all_noises(self) -> tuple[Noise, ...]:
        """Every noise that some questions meet, after clean tools, which agents without tools have in any case."""
        own = (noise for chosen in self.tasks for noise in chosen.noises or ())
        return tuple({noise_name(noise): noise for noise in (None, *self.noises, *own)}.values())

    @model_validator(mode="after")
    def _one_process_spends(self) -> EvaluateConfig:
        if self.budget_usd is not None and self.processes > 1:
            raise ValueError("budget_usd needs processes: 1, since two processes would each spend it")
        return self

    @field_validator("agents")
    @classmethod
    def _agents_are_distinct(cls, agents: tuple[AgentConfig, ...]) -> tuple[AgentConfig, ...]:
        return _distinct(agents, "agent", lambda agent: agent.name)

    @field_validator("tasks")
    @classmethod
    def _tasks_are_distinct(cls, tasks: tuple[QuestionSet, ...]) -> tuple[QuestionSet, ...]:
        return _distinct(tasks, "split", lambda chosen: f"{chosen.task} {chosen.split}")


@dataclass(frozen=True)
class Cell:
    """One agent under one noise on one split: what becomes one file."""

    agent: AgentConfig
    noise: NoiseConfig | None
    chosen: QuestionSet

    def path(self, folder: Path) -> Path:
        names = {"agent": self.agent.name, "noise": noise_name(self.noise)}
        return evaluation_path(folder, **names, task=self.chosen.task, split=self.chosen.split)


def _noise_of(cell: Cell) -> str:
    return noise_name(cell.noise)


def noise_name(noise: NoiseConfig | None) -> str:
    """What a noise is called in the report and in folders; the probability is named where it is not the usual one."""
    if noise is None:
        return NORMAL
    usual = noise.p == NoiseConfig.model_fields["p"].default
    return noise.kind if usual else f"{noise.kind}-{noise.p:g}"


def run(config: EvaluateConfig, folder: Path) -> Summary:
    """Ask every agent all that it has not answered yet and append each trajectory as it ends.

    Raises:
        FireactError: a setting is wrong, the folder refuses, a tuned agent was trained on a question asked here, or
            all episodes of an agent failed.
    """
    has_tuned = any(is_tuned(agent.model) for agent in config.agents)
    if has_tuned:
        require(folder, "finetune")
    for agent in config.agents:
        if isinstance(agent.model, LocalConfig):
            agent.model.check()
    _refuse_trained_questions(config, folder)
    open_stage(folder, "evaluate", config, after=["finetune"] if has_tuned else [], pins_content=True)
    asked = [[cell for agent in agents for cell in cells_of(agent, config)] for agents in groups(config)]
    if config.processes == 1:
        for cells in asked:
            ask(cells, config, folder)
    else:
        parts = [(part, config, folder) for cells in asked for part in by(cells, _noise_of).values()]
        in_processes(ask, parts, processes=config.processes)
    lines = []
    for agent in config.agents:
        where = output(folder, "evaluate") / agent.name
        lines.append(f"{agent.name}: {summarise('evaluate', _trajectories(agent, config, folder), where=where).text}")
    return Summary("evaluate", "\n".join(lines))


def groups(config: EvaluateConfig) -> list[list[AgentConfig]]:
    """The agents that are asked together."""
    if not config.share_base:
        return [[agent] for agent in config.agents]
    return list(by(config.agents, _base_of).values())


def _base_of(agent: AgentConfig) -> str:
    """By what agents are asked together: a local base with its settings; every other agent is for itself."""
    model = agent.model
    return model.without_adapter().model_dump_json() if isinstance(model, LocalConfig) else agent.name


def ask(cells: Sequence[Cell], config: EvaluateConfig, folder: Path) -> None:
    """Ask all questions of these cells that are not answered yet; their agents share a model, but for adapters."""
    asyncio.run(_ask(cells, config, folder))


async def _ask(cells: Sequence[Cell], config: EvaluateConfig, folder: Path) -> None:
    """All cells in one rollout, so that the model always has enough to do."""
    with ExitStack() as opened:
        kept = [(cell, opened.enter_context(journal(cell.path(folder)))) for cell in cells]
        total = sum(len(open_questions(cell.chosen)) for cell in cells)
        num_done = sum(len(its.done) for _, its in kept)
        if num_done == total:
            return
        means = opened.enter_context(open_means(output(folder, "evaluate"), config.budget_usd))
        agents = {cell.agent.name: with_adapter(cell.agent.model, folder) for cell in cells}
        models = dict(zip(agents, open_models(tuple(agents.values()), means), strict=True))
        try:
            episodes = [_episodes(cell, models[cell.agent.name], its, means.cache) for cell, its in kept]
            prefixes = {f"{_prefix(cell)}/{cell.chosen.task}/{cell.chosen.split}/": its for cell, its in kept}

            def kept_of(id: str) -> Journal:
                return next(its for prefix, its in prefixes.items() if id.startswith(prefix))

            label = f"evaluate {' '.join(agents)} {' '.join(by(cells, _noise_of))}"
            with Progress(label, total, before=num_done) as progress:
                await rollout(
                    chain.from_iterable(episodes),
                    lambda trajectory: kept_of(trajectory.id).end(trajectory),
                    concurrency=config.concurrency,
                    note=lambda line: kept_of(line.id).note(line),
                    progress=progress,
                )
        finally:
            for model in models.values():
                await model.close()


def _episodes(cell: Cell, model: Model, kept: Journal, cache: Cache | None) -> Iterator[Episode]:
    its = cell.agent
    agent = open_agent(its, task=cell.chosen.task, model=model, method=its.method, noise=cell.noise, cache=cache)
    return open_episodes(cell.chosen, agent, prefix=_prefix(cell), kept=kept)


def _prefix(cell: Cell) -> str:
    return f"{cell.agent.name}/{noise_name(cell.noise)}"


def cells_of(agent: AgentConfig, config: EvaluateConfig) -> list[Cell]:
    """All that one agent is asked."""
    uses_tools = _uses_tools(agent, config)
    return [
        Cell(agent, noise, chosen)
        for chosen in config.tasks
        for noise in ((chosen.noises or config.noises) if uses_tools else (None,))
    ]


def _distinct(values: tuple[T, ...], kind: str, name: Callable[[T], str]) -> tuple[T, ...]:
    for twice, times in Counter(map(name, values)).items():
        if times > 1:
            raise ValueError(f"the {kind} {twice!r} stands {times} times")
    return values


def _uses_tools(agent: AgentConfig, config: EvaluateConfig) -> bool:
    return open_method(agent.method, config.tasks[0].task).uses_tools


def is_tuned(model: ModelConfig) -> bool:
    """Whether the model has the adapter that this run makes."""
    return isinstance(model, LocalConfig) and model.adapter == OWN_ADAPTER


def with_adapter(model: ModelConfig, folder: Path) -> ModelConfig:
    """The model with the folder of its adapter, where this run makes that."""
    if not is_tuned(model):
        return model
    return model.model_copy(update={"adapter": str(require(folder, "finetune"))})


def _refuse_trained_questions(config: EvaluateConfig, folder: Path) -> None:
    models = [with_adapter(agent.model, folder) for agent in config.agents]
    adapters = {model.adapter for model in models if isinstance(model, LocalConfig) and model.adapter is not None}
    if adapters:
        test = frozenset(question.words for chosen in config.tasks for question in open_questions(chosen))
        for adapter in sorted(adapters):
            refuse_overlap(read_trained_questions(adapter), test)


def _trajectories(agent: AgentConfig, config: EvaluateConfig, folder: Path) -> Iterator[Trajectory]:
    for cell in cells_of(agent, config):
        yield from read(cell.path(folder), Trajectory)
