"""Episodes: the one place where model, method, dialect and tools meet.

One event loop drives many episodes at once; they wait on models and tools, not on each other. Questions are drawn
only as places become free, so that memory grows with the concurrency and not with the number of questions, and each
trajectory is handed on as soon as it ends. Before that, every reply and observation is noted as it comes: an episode
that is interrupted goes on from there.

What goes wrong inside an episode stays inside:

- a reply that cannot be read, an unknown tool and a tool that fails become observations the agent can react to;
- any other failure, such as a model that does not reply, ends this episode as a failed trajectory (`run_episode`);
- what would fail every episode alike ends the whole rollout: a wrong setting, an unreadable file, a missing package, a
  model that nobody can reach, a budget that is used up, or many failures one after the other (`Fuse`).
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from fireact.dialects import Dialect
from fireact.errors import (
    AccessError,
    BudgetError,
    BusyError,
    ConfigError,
    DataError,
    DependencyError,
    LimitError,
    ModelError,
    RunError,
    ToolError,
)
from fireact.methods import Method
from fireact.models import Model, Request
from fireact.progress import Progress
from fireact.runs import PRODUCER, StepLine
from fireact.tools import Call, Tool
from fireact.trajectory import FINISH, Failure, Question, Score, Source, Step, Trajectory, Usage

Scorer = Callable[[Question, str | None], Score]
Sink = Callable[[Trajectory], None]
Note = Callable[[StepLine], None]
ENDS_THE_ROLLOUT = (ConfigError, DataError, DependencyError, RunError, AccessError, BudgetError)
MOST_FAILURES = 16
"""One after the other, before the rollout is given up."""


@dataclass(frozen=True)
class Limits:
    """What one episode may use; None for no limit. They are looked at before each call to the model."""

    tokens: int | None = None
    """Read and written."""
    seconds: float | None = None
    dollars: float | None = None


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
    limits: Limits = Limits()
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Episode:
    """One question put to one agent."""

    id: str
    agent: Agent
    question: Question
    scorer: Scorer
    begun: tuple[Step, ...] = ()
    """The steps that it had taken when it was interrupted."""


async def rollout(
    episodes: Iterable[Episode],
    sink: Sink,
    *,
    concurrency: int,
    note: Note | None = None,
    progress: Progress | None = None,
) -> None:
    """Run all episodes, at most `concurrency` at once, and hand each trajectory to `sink` when it ends.

    Args:
        note: told of every step when its reply comes, and of what is observed then.

    Raises:
        FireactError: what all episodes need is wrong. What ended before is with `sink`.
    """
    # All workers draw from one iterator; on one event loop two of them never draw at the same time.
    waiting = iter(episodes)
    fuse = Fuse(sink, progress)

    async def work(first: Episode) -> None:
        for episode in chain([first], waiting):
            # Where neither model nor tools wait for anything, Ctrl-C would otherwise be heard only at the end.
            await asyncio.sleep(0)
            if progress is not None:
                progress.begin()
            fuse.take(*await _run(episode, note))

    try:
        async with asyncio.TaskGroup() as group:
            for first in islice(waiting, concurrency):
                group.create_task(work(first))
    except BaseExceptionGroup as errors:
        raise _most_telling(errors) from None
    fuse.flush()


async def run_episode(episode: Episode, note: Note | None = None) -> Trajectory:
    """Run one episode to its end; a failure is part of the trajectory."""
    trajectory, _ = await _run(episode, note)
    return trajectory


class Fuse:
    """Hands trajectories on, and gives up where failures of the model come one after the other.

    Those are held back until an episode goes well: if none does, the model is at fault, not they, and they can still
    be played.
    """

    def __init__(self, sink: Sink, progress: Progress | None) -> None:
        self._sink = sink
        self._progress = progress
        self._held: list[Trajectory] = []
        self._has_gone_well = False

    def take(self, trajectory: Trajectory, error: Exception | None) -> None:
        """The next trajectory, and the error that ended it, if one did.

        Raises:
            ModelError: too many failures.
        """
        if isinstance(error, BusyError) or (type(error) is ModelError and not self._has_gone_well):
            self._held.append(trajectory)
            if len(self._held) == MOST_FAILURES:
                raise ModelError(
                    f"{MOST_FAILURES} episodes in a row failed, the last with {type(error).__name__}: {error}; "
                    "they are not counted: mend that and run the same command again"
                )
            return
        self._has_gone_well |= error is None
        self.flush()
        self._hand_on(trajectory)

    def flush(self) -> None:
        """Hand on what was held back."""
        held, self._held = self._held, []
        for trajectory in held:
            self._hand_on(trajectory)

    def _hand_on(self, trajectory: Trajectory) -> None:
        self._sink(trajectory)
        if self._progress is not None:
            usage = trajectory.usage
            self._progress.advance(
                tokens=usage.tokens_in + usage.tokens_out,
                dollars=usage.dollars or 0.0,
                correct=trajectory.is_correct,
                failed=trajectory.end == "failed",
            )


def _most_telling(errors: BaseExceptionGroup) -> BaseException:
    """Of several errors that came together, one that is meant for the user."""
    return next((error for error in errors.exceptions if isinstance(error, ENDS_THE_ROLLOUT)), errors.exceptions[0])


async def _run(episode: Episode, note: Note | None) -> tuple[Trajectory, Exception | None]:
    """A trajectory, and the error that ended it, if one did."""
    agent, question = episode.agent, episode.question
    steps = list(episode.begun)
    answer, score, failed = None, None, None
    start = time.perf_counter() - sum(step.usage.seconds for step in steps)
    try:
        async with asyncio.timeout(agent.limits.seconds) as clock:
            answer = await _play(episode, steps, note)
        score = episode.scorer(question, answer) if question.answer else None
    except ENDS_THE_ROLLOUT:
        raise
    except Exception as error:  # whatever it is, the other episodes go on and this one says what it met
        failed = LimitError(f"more than {agent.limits.seconds:g} seconds") if clock.expired() else error
        answer, score = None, Score(em=0.0, f1=0.0) if question.answer else None
    trajectory = Trajectory(
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
        end="failed" if failed else "step_limit" if answer is None else "finished",
        failure=Failure(type=type(failed).__name__, message=" ".join(str(failed).split())) if failed else None,
        score=score,
        seconds=time.perf_counter() - start,
        source=Source(producer=PRODUCER),
    )
    return trajectory, failed


async def _play(episode: Episode, steps: list[Step], note: Note | None) -> str | None:
    """Take turns until there is an answer; None where the limit comes first. Every step is added to `steps`."""
    agent = episode.agent
    answer = agent.method.answer(steps) if steps else None
    while answer is None and len(steps) < (agent.max_steps if agent.method.uses_tools else 1):
        if steps and steps[-1].observation is None:
            observation = await _observe(agent, episode.question, steps)
            steps[-1] = _with(steps[-1], observation=observation)
            if note is not None:
                note(StepLine(id=episode.id, index=len(steps) - 1, observation=observation))
        _refuse_excess(agent.limits, steps)
        steps.append(await _ask(agent, episode.question, steps))
        if note is not None:
            note(StepLine(id=episode.id, index=len(steps) - 1, step=steps[-1]))
        answer = agent.method.answer(steps)
    return answer


def _refuse_excess(limits: Limits, steps: Sequence[Step]) -> None:
    """
    Raises:
        LimitError: the episode has used up its tokens or dollars.
    """
    if limits.tokens is None and limits.dollars is None:
        return
    usage = sum((step.usage for step in steps), Usage())
    if limits.tokens is not None and usage.tokens_in + usage.tokens_out >= limits.tokens:
        raise LimitError(f"more than {limits.tokens:,} tokens")
    if limits.dollars is not None and (usage.dollars or 0.0) >= limits.dollars:
        raise LimitError(f"more than ${limits.dollars:g}")


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
    usage = Usage(
        calls=1,
        calls_cached=int(reply.is_cached),
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        seconds=reply.seconds,
        dollars=reply.dollars,
    )
    return _with(agent.method.read(_writable(reply.text), turn, agent.dialect), usage=usage)


async def _observe(agent: Agent, question: Question, steps: list[Step]) -> str:
    """What the world answers to the last step."""
    calls = sum(earlier.action is not None for earlier in steps[:-1])
    return _writable(await _call(agent.tools, steps[-1], Call(question=question.key, index=calls)))


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


def _with(step: Step, **fields: Any) -> Step:
    return step.model_copy(update=fields)


def _writable(text: str) -> str:
    """`text` without lone surrogates, which JSON may bring in and UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()
