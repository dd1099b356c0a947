"""One question to one agent of a run, its steps shown as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fireact.config import validate
from fireact.errors import ConfigError, ModelError
from fireact.models import open_model
from fireact.rollout import Episode, run_episode
from fireact.runs import StepLine, asked_of
from fireact.stages.asking import open_agent, open_means
from fireact.stages.evaluate import AgentConfig, EvaluateConfig, with_adapter
from fireact.tasks import open_task
from fireact.trajectory import Question, Trajectory

USUAL = "tuned"


def find_agent(folder: Path, name: str | None) -> tuple[AgentConfig, str]:
    """An agent of a run by its name, `tuned` or else the last one where None is given, and the task it is tested on.

    Raises:
        RunError: nothing was evaluated there.
        ConfigError: no agent has the name.
    """
    config = validate(asked_of(folder, "evaluate"), EvaluateConfig, where=str(folder / "evaluate" / "config.json"))
    agents = {agent.name: agent for agent in config.agents}
    chosen = name or (USUAL if USUAL in agents else config.agents[-1].name)
    if chosen not in agents:
        raise ConfigError(f"{folder}: unknown agent {chosen!r}; known: {', '.join(agents)}")
    return agents[chosen], config.tasks[0].task


def ask(text: str, folder: Path, show: Callable[[str], None], *, name: str | None = None) -> Trajectory:
    """Let an agent of a run answer a question.

    Args:
        show: is given every thought, action and observation as it comes, in the form of the ReAct lines.

    Raises:
        FireactError: there is no such agent, or its model did not reply.
    """
    if not text.strip():
        raise ConfigError("the question is empty; give it in quotes")
    agent, task = find_agent(folder, name)
    return asyncio.run(_ask(agent, Question(id="asked", task=task, text=text.strip()), folder, show))


async def _ask(config: AgentConfig, question: Question, folder: Path, show: Callable[[str], None]) -> Trajectory:
    with open_means(folder / "ask", None) as means:
        model = open_model(with_adapter(config.model, folder), means)
        try:
            agent = open_agent(
                config, task=question.task, model=model, method=config.method, noise=None, cache=means.cache
            )
            scorer = open_task(question.task).score
            trajectory = await run_episode(Episode("ask", agent, question, scorer), lambda line: _show(line, show))
        finally:
            await model.close()
    if trajectory.failure is not None:
        raise ModelError(f"{trajectory.failure.type}: {trajectory.failure.message}")
    return trajectory


def _show(line: StepLine, show: Callable[[str], None]) -> None:
    if line.observation is not None:
        show(f"Observation: {line.observation}")
    if line.step is None:
        return
    for label, words in (("Reflection", line.step.reflection), ("Thought", line.step.thought)):
        if words:
            show(f"{label}: {words}")
    if line.step.action is not None:
        show(f"Action: {line.step.action.tool}[{line.step.action.argument}]")
    if line.step.parse_error:
        show(f"Not understood: {line.step.reply}")
