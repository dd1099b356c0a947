"""Episodes: the one place where model, method, dialect and tools meet.

One event loop drives many episodes at once; they wait on models and tools, not on each other. Questions are drawn
only as places become free, so that memory grows with the concurrency and not with the number of questions, and each
trajectory is handed on as soon as it ends.

What goes wrong inside an episode stays inside:

- a reply that cannot be read, an unknown tool and a tool that fails become observations the agent can react to;
- any other failure, such as a model that does not reply, ends this episode as a failed trajectory (`run_episode`);
- a wrong setting, unreadable file or missing package would fail every episode alike, and so it ends the whole rollout.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from fireact.dialects import Dialect
from fireact.errors import ConfigError, DataError, DependencyError, RunError, ToolError
from fireact.methods import Method
from fireact.models import Model, Request
from fireact.progress import Progress
from fireact.runs import PRODUCER
from fireact.tools import Call, Tool
from fireact.trajectory import FINISH, Failure, Question, Score, Source, Step, Trajectory, Usage

Scorer = Callable[[Question, str | None], Score]
Sink = Callable[[Trajectory], None]
ENDS_THE_ROLLOUT = (ConfigError, DataError, DependencyError, RunError)


@dataclass(frozen=True)
class Agent:
    """A model, a method, a dialect and tools, with the limits they work under."""

    model: Model
    method: Method
    dialect: Dialect
    tools: Mapping[str, Tool] = field(default_factory=dict)
    noise: str = ""
    """What the tools do to their observations; empty for clean tools."""
    max_steps: int = 11
    """Turns before an episode is given up; a method that uses no tools has one."""
    max_tokens: int = 256
    """Length of one reply."""
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Episode:
    """One question put to one agent."""

    id: str
    agent: Agent
    question: Question
    scorer: Scorer


async def rollout(
    episodes: Iterable[Episode], sink: Sink, *, concurrency: int, progress: Progress | None = None
) -> None:
    """Run all episodes, at most `concurrency` at once, and hand each trajectory to `sink` when it ends.

    Raises:
        FireactError: a setting, file or package that all episodes need is wrong. What ended before is with `sink`.
    """
    # All workers draw from one iterator; on one event loop two of them never draw at the same time.
    waiting = iter(episodes)

    async def work(first: Episode) -> None:
        for episode in chain([first], waiting):
            # Where neither model nor tools wait for anything, Ctrl-C would otherwise be heard only at the end.
            await asyncio.sleep(0)
            trajectory = await run_episode(episode)
            sink(trajectory)
            if progress is not None:
                progress.advance(correct=trajectory.is_correct, failed=trajectory.end == "failed")

    try:
        async with asyncio.TaskGroup() as group:
            for first in islice(waiting, concurrency):
                group.create_task(work(first))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def run_episode(episode: Episode) -> Trajectory:
    """Run one episode to its end; a failure is part of the trajectory."""
    agent, question = episode.agent, episode.question
    steps: list[Step] = []
    answer, score, failure = None, None, None
    start = time.perf_counter()
    try:
        answer = await _play(agent, question, steps)
        score = episode.scorer(question, answer) if question.answer else None
    except ENDS_THE_ROLLOUT:
        raise
    except Exception as error:  # whatever it is, the other episodes go on and this one says what it met
        failure = Failure(type=type(error).__name__, message=" ".join(str(error).split()))
        answer, score = None, Score(em=0.0, f1=0.0) if question.answer else None
    return Trajectory(
        id=episode.id,
        question=question,
        method=agent.method.name,
        dialect=agent.dialect.name,
        model=agent.model.name,
        tools=tuple(sorted(agent.tools)) if agent.method.uses_tools else (),
        noise=agent.noise if agent.method.uses_tools else "",
        seed=agent.seed,
        steps=tuple(steps),
        answer=answer,
        end="failed" if failure else "step_limit" if answer is None else "finished",
        failure=failure,
        score=score,
        seconds=time.perf_counter() - start,
        source=Source(producer=PRODUCER),
    )


async def _play(agent: Agent, question: Question, steps: list[Step]) -> str | None:
    """Take turns until there is an answer; None where the limit comes first. Every step is added to `steps`."""
    while len(steps) < (agent.max_steps if agent.method.uses_tools else 1):
        if steps:
            steps[-1] = await _observe(agent, question, steps)
        steps.append(await _ask(agent, question, steps))
        answer = agent.method.answer(steps)
        if answer is not None:
            return answer
    return None


async def _ask(agent: Agent, question: Question, steps: list[Step]) -> Step:
    turn = agent.method.turn(steps)
    request = Request(
        pieces=agent.dialect.render(question, steps, instruction=turn.instruction, reflection=turn.reflection),
        stop=(*agent.dialect.stop, *turn.stop),
        max_tokens=agent.max_tokens,
        temperature=agent.temperature,
        seed=zlib.crc32(f"{agent.seed}/{question.key}/{len(steps)}".encode()),
    )
    reply = await agent.model.reply(request)
    usage = Usage(calls=1, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out, seconds=reply.seconds)
    return agent.method.read(_writable(reply.text), turn, agent.dialect).model_copy(update={"usage": usage})


async def _observe(agent: Agent, question: Question, steps: list[Step]) -> Step:
    """The last step with what the world answers to it."""
    step = steps[-1]
    calls = sum(earlier.action is not None for earlier in steps[:-1])
    answer = await _call(agent.tools, step, Call(question=question.key, index=calls))
    return step.model_copy(update={"observation": _writable(answer)})


async def _call(tools: Mapping[str, Tool], step: Step, call: Call) -> str:
    names = ", ".join((*sorted(tools), FINISH))
    if step.parse_error:
        return f"error: {step.parse_error}"
    if step.action is None:
        return f"error: expected an action with one of the tools: {names}"
    if step.action.tool not in tools:
        return f"error: unknown tool {step.action.tool!r}; known: {names}"
    try:
        return await tools[step.action.tool](step.action.argument, call)
    except ToolError as error:
        return f"error: {error}"


def _writable(text: str) -> str:
    """`text` without lone surrogates, which JSON may bring in and UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()
