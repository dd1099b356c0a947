"""unify: every trajectory in one ReAct form, whatever method made it.

A reply that ends in an answer instead of an action (CoT, IO) becomes one step that finishes with it. Reflections stay
in their own field. Raw replies are dropped: what is trained is the plain form of thoughts and actions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from fireact.config import Config
from fireact.errors import RunError
from fireact.runs import Summary, open_stage, output, read, require, write
from fireact.trajectory import FINISH, Action, Step, Trajectory

DIALECT = "react-text"


class UnifyConfig(Config):
    """What `unify` reads."""

    files: tuple[str, ...] = ()
    """Files of trajectories besides those that `generate` made, such as what `fireact import` wrote."""


def unify(trajectory: Trajectory) -> Trajectory:
    """The same episode in ReAct form: question, answer, score and end are kept."""
    steps = [step.model_copy(update={"reply": ""}) for step in trajectory.steps]
    if steps and steps[-1].action is None and trajectory.answer is not None:
        steps[-1] = _finish(steps[-1], trajectory.answer)
    return trajectory.model_copy(update={"steps": tuple(steps), "dialect": DIALECT})


def run(config: UnifyConfig, folder: Path) -> Summary:
    """Read what `generate` made and the given files, and write all of it unified.

    Raises:
        RunError: there is nothing to read.
        DataError: a file cannot be read.
    """
    generated = output(folder, "generate").exists() or not config.files
    paths = [require(folder, "generate")] if generated else []
    open_stage(folder, "unify", config, after=["generate"] if generated else [])
    paths += [Path(name) for name in config.files]
    found = map(unify, _read_all(paths))
    first = next(found, None)
    if first is None:
        names = ", ".join(str(path) for path in paths)
        raise RunError(f"{names}: no trajectory in it; run 'fireact generate' again, or import another file")
    count = write(output(folder, "unify"), chain([first], found))
    return Summary("unify", f"{count} trajectories in ReAct form", {"trajectories": count})


def _read_all(paths: Iterable[Path]) -> Iterator[Trajectory]:
    for path in paths:
        yield from read(path, Trajectory)


def _finish(step: Step, answer: str) -> Step:
    return step.model_copy(update={"action": Action(tool=FINISH, argument=answer), "parse_error": ""})
