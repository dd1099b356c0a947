"""What `generate`, `mix` and `evaluate` share: which questions are meant, and how an agent for them is put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from fireact.cache import Cache, cache_path
from fireact.config import Config, Seed
from fireact.dialects import DIALECTS, open_dialect
from fireact.errors import ConfigError, DataError, ModelError, RunError, unknown_name
from fireact.methods import MethodConfig, open_method
from fireact.models import Means, Model
from fireact.money import Budget
from fireact.rollout import Agent, Episode, Limits
from fireact.runs import Journal, Summary, read_spending, write_spending
from fireact.tasks import TASKS, open_task
from fireact.tools import NoiseConfig, SearchConfig, Tool, ToolConfig, add_cache, add_noise, open_tool
from fireact.trajectory import Question, Trajectory, Words

MOST_SHOWN = 60


def _known_task(name: str) -> str:
    if name not in TASKS:
        raise ValueError(str(unknown_name("task", name, tuple(TASKS))))
    return name


def _known_dialect(name: str) -> str:
    if name not in DIALECTS:
        raise ValueError(str(unknown_name("dialect", name, tuple(DIALECTS))))
    return name


TaskName = Annotated[str, AfterValidator(_known_task)]
DialectName = Annotated[str, AfterValidator(_known_dialect)]


class QuestionSet(Config):
    """Some questions of one split of a task, in the order of the task."""

    task: TaskName
    split: str
    num_questions: int | None = Field(None, ge=1)
    """All that are left after `skip` where None."""
    skip: int = Field(0, ge=0)
    """Questions passed over first, so that two sets need not share any."""

    @model_validator(mode="after")
    def _split_is_known(self) -> QuestionSet:
        splits = open_task(self.task).splits
        if self.split not in splits:
            raise ValueError(str(unknown_name("split", self.split, splits, self.task)))
        return self


class AgentSettings(Config):
    """What an agent is besides its model and method."""

    dialect: DialectName = "react-text"
    tools: tuple[ToolConfig, ...] = (SearchConfig(),)
    max_steps: int = Field(11, ge=1)
    """Turns before an episode is given up."""
    max_tokens: int = Field(256, ge=1)
    """Length of one reply."""
    max_episode_tokens: int | None = Field(None, ge=1)
    """Read and written in one episode before it is given up; None for no limit, as for the next two."""
    max_episode_seconds: float | None = Field(None, gt=0)
    max_episode_dollars: float | None = Field(None, gt=0)
    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""
    seed: Seed = 0


def open_questions(chosen: QuestionSet) -> Sequence[Question]:
    """The questions that a set means.

    Raises:
        ConfigError: the split has fewer.
        DataError: the split cannot be read, or two of its questions have one id.
    """
    there = open_task(chosen.task).questions(chosen.split)
    for name, times in Counter(question.id for question in there).most_common(1):
        if times > 1:
            raise DataError(
                f"{chosen.task} {chosen.split}: the question id {name!r} stands {times} times; make them differ"
            )
    # At least one, so that a skip beyond the end is refused instead of asking nothing.
    asked = chosen.num_questions or max(1, len(there) - chosen.skip)
    if chosen.skip + asked > len(there):
        raise ConfigError(
            f"{chosen.task} {chosen.split} has {len(there)} questions; skip {chosen.skip} and num_questions {asked} "
            "ask for more; lower one of them"
        )
    return there[chosen.skip : chosen.skip + asked]


def open_agent(
    settings: AgentSettings,
    *,
    task: str,
    model: Model,
    method: MethodConfig,
    noise: NoiseConfig | None,
    cache: Cache | None,
) -> Agent:
    """The agent for questions of a task; everything that it needs is looked up here, before any is asked.

    Raises:
        FireactError: a prompt or the pages of a tool cannot be read.
    """
    return Agent(
        model=model,
        method=open_method(method, task),
        dialect=open_dialect(settings.dialect),
        tools=_open_tools(settings.tools, noise, cache),
        noise="" if noise is None else noise.label,
        max_steps=settings.max_steps,
        max_tokens=settings.max_tokens,
        limits=Limits(settings.max_episode_tokens, settings.max_episode_seconds, settings.max_episode_dollars),
        temperature=settings.temperature,
        seed=settings.seed,
    )


def open_episodes(chosen: QuestionSet, agent: Agent, *, prefix: str, kept: Journal) -> Iterator[Episode]:
    """One episode for each question that has no trajectory yet; its id is `prefix/task/split/question`."""
    scorer = open_task(chosen.task).score
    for question in open_questions(chosen):
        id = f"{prefix}/{chosen.task}/{chosen.split}/{question.id}"
        if id not in kept.done:
            yield Episode(id, agent, question, scorer, kept.begun.get(id, ()))


@contextmanager
def open_means(stage: Path, budget_usd: float | None) -> Iterator[Means]:
    """What models and tools of a stage share: what is left of its budget, and the cache of all runs."""
    budget = Budget(budget_usd, spent=read_spending(stage), book=partial(write_spending, stage))
    with closing(budget), Cache(cache_path()) as cache:
        yield Means(budget, cache)


def _open_tools(configs: Iterable[ToolConfig], noise: NoiseConfig | None, cache: Cache | None) -> Mapping[str, Tool]:
    tools = (add_cache(open_tool(config), cache) for config in configs)
    return {tool.name: tool if noise is None else add_noise(tool, noise) for tool in tools}


def summarise(stage: str, trajectories: Iterable[Trajectory], *, where: Path) -> Summary:
    """What a stage that asked has to say: how many trajectories, how many correct, how many failed and why.

    Raises:
        ModelError: all episodes failed, so that there is nothing to go on with.
    """
    counts, reasons = Counter[str](), Counter[str]()
    for trajectory in trajectories:
        counts.update(trajectories=1, correct=int(trajectory.is_correct), failed=int(trajectory.end == "failed"))
        if trajectory.failure is not None:
            reasons[f"{trajectory.failure.type}: {trajectory.failure.message}"] += 1
    often = f" (most often {reasons.most_common(1)[0][0]})" if reasons else ""
    if reasons and counts["failed"] == counts["trajectories"]:
        raise ModelError(f"{where}: all {counts['failed']} episodes failed{often}; mend that, delete it and run again")
    text = f"{counts['trajectories']} trajectories, {counts['correct']} correct, {counts['failed']} failed{often}"
    return Summary(stage, text, counts)


def refuse_overlap(train: Iterable[Words], test: frozenset[Words]) -> None:
    """Refuse to train on what is asked in the test.

    Raises:
        RunError: a question is in both.
    """
    shared = test.intersection(train)
    if shared:
        task, text = min(shared)
        raise RunError(
            f"{len(shared)} questions to train on are also asked by 'evaluate', such as "
            f"{task} {text[:MOST_SHOWN]!r}; ask others there, or set mix.drop_test_questions=true"
        )
