"""mix: choose the trajectories to train on, and split them into train and validation.

    unified -> finished -> correct -> readable -> unique -> not held out -> chosen by part -> train | validation

Every choice depends on the seed and the content alone, not on the order in which episodes happened to end. How many
were left after each filter, by task and method, stands in `mixture.json`. A larger count of the same part contains the
smaller one, so that runs with growing data are nested.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from fireact.config import Config, Seed
from fireact.dialects import open_dialect
from fireact.errors import RunError
from fireact.runs import PRODUCER, Summary, open_stage, output, read, require, write, write_json
from fireact.stages.asking import QuestionSet, open_questions, refuse_overlap
from fireact.trajectory import Trajectory, Words

FORMAT = "fireact-mixture"
VERSION = 1
SHORT = 0.9
"""Share of its ratio below which a part is said to be short."""
Group = tuple[str, str]
"""A task and a method."""
logger = logging.getLogger(__name__)


class MixPart(Config):
    """How much of one task and method; all of it where neither a count nor a ratio is given."""

    task: str
    method: str
    count: int | None = Field(None, ge=1)
    """At most so many trajectories."""
    ratio: float | None = Field(None, gt=0, lt=1)
    """Share of the whole mixture."""

    @model_validator(mode="after")
    def _has_one_amount(self) -> MixPart:
        if self.count is not None and self.ratio is not None:
            raise ValueError("give a count or a ratio, not both")
        return self


class MixConfig(Config):
    """Which trajectories are trained on."""

    parts: tuple[MixPart, ...] = ()
    """All tasks and methods where empty."""
    only_correct: bool = True
    validation_share: float = Field(0.05, ge=0, lt=1)
    """Share of the questions that are kept from training to measure the loss on."""
    drop_test_questions: bool = False
    """Leave out questions that `evaluate` asks, instead of refusing them."""
    seed: Seed = 0
    test: tuple[QuestionSet, ...] = Field((), exclude=True)
    """What `evaluate` will ask; filled in from that section of the recipe."""

    @field_validator("parts")
    @classmethod
    def _parts_fit_together(cls, parts: tuple[MixPart, ...]) -> tuple[MixPart, ...]:
        for (task, method), times in Counter((part.task, part.method) for part in parts).items():
            if times > 1:
                raise ValueError(f"the part of task {task!r} and method {method!r} stands {times} times")
        ratios = [part.ratio for part in parts if part.ratio is not None]
        if len(ratios) < len(parts) and sum(ratios) >= 1:
            raise ValueError("the ratios leave no room for the other parts; make them add up to less than 1")
        if ratios and len(ratios) == len(parts) and not math.isclose(sum(ratios), 1):
            raise ValueError(f"all parts have ratios; make them add up to 1 instead of {sum(ratios):g}")
        return parts


@dataclass(frozen=True)
class Mixture:
    """What was chosen, with the counts by task and method after each filter, in order."""

    train: tuple[Trajectory, ...]
    validation: tuple[Trajectory, ...]
    counts: Mapping[str, Mapping[Group, int]]


def mix(trajectories: Iterable[Trajectory], config: MixConfig, *, test: frozenset[Words] = frozenset()) -> Mixture:
    """Filter, choose, shuffle and split.

    Args:
        test: questions that may not be trained on.

    Raises:
        RunError: a part names a task and method that no trajectory has, a question is in `test`, or nothing is left.
    """
    left = sorted(
        trajectories, key=lambda trajectory: (trajectory.id, trajectory.source.file, trajectory.source.index or 0)
    )
    counts = {"read": _count(left)}
    _refuse_unknown_parts(config.parts, counts["read"])
    for name, keep in _filters(config, test):
        left = [trajectory for trajectory in left if keep(trajectory)]
        counts[name] = _count(left)
    kept_from_training = _validation_questions(left, config)
    left = _choose(left, config)
    counts["chosen"] = _count(left)
    random.Random(config.seed).shuffle(left)
    train = tuple(trajectory for trajectory in left if trajectory.question.words not in kept_from_training)
    validation = tuple(trajectory for trajectory in left if trajectory.question.words in kept_from_training)
    if not train:
        raise RunError(_nothing_left(counts))
    if not config.drop_test_questions:
        refuse_overlap((trajectory.question.words for trajectory in left), test)
    return Mixture(train, validation, counts | {"train": _count(train), "validation": _count(validation)})


def run(config: MixConfig, folder: Path) -> Summary:
    """Read what `unify` made; write `train.jsonl`, `validation.jsonl` and `mixture.json`.

    Raises:
        RunError: `unify` has not run, or the mixture is refused.
    """
    source = require(folder, "unify")
    stage = open_stage(folder, "mix", config, after=["unify"])
    test = frozenset(question.words for part in config.test for question in open_questions(part))
    mixture = mix(read(source, Trajectory), config, test=test)
    for shortage in shortages(mixture, config.parts):
        logger.warning("%s", shortage)
    write_json(stage / "mixture.json", _record(mixture, config))
    write(stage / "validation.jsonl", mixture.validation)
    write(output(folder, "mix"), mixture.train)
    counts = {name: sum(groups.values()) for name, groups in mixture.counts.items()}
    return Summary("mix", ", ".join(f"{count} {name}" for name, count in counts.items()), counts)


def shortages(mixture: Mixture, parts: Iterable[MixPart]) -> Iterator[str]:
    """One sentence for each part that has clearly less of the mixture than its ratio asks for."""
    chosen = mixture.counts["chosen"]
    for part in parts:
        share = chosen.get((part.task, part.method), 0) / sum(chosen.values())
        if part.ratio is not None and share < SHORT * part.ratio:
            yield (
                f"mix.parts: {part.task} {part.method} is {share:.1%} of the mixture instead of {part.ratio:.1%}: "
                "there are too few of them; generate more, or give the others counts"
            )


def _filters(config: MixConfig, test: frozenset[Words]) -> list[tuple[str, Callable[[Trajectory], bool]]]:
    seen: set[tuple[str, ...]] = set()

    def is_new(trajectory: Trajectory) -> bool:
        content = _content(trajectory)
        is_first = content not in seen
        seen.add(content)
        return is_first

    filters: list[tuple[str, Callable[[Trajectory], bool]]] = [("finished", lambda one: one.end == "finished")]
    if config.only_correct:
        filters.append(("correct", lambda one: one.is_correct))
    filters += [("readable", _is_readable), ("unique", is_new)]
    if config.drop_test_questions:
        filters.append(("not in test", lambda one: one.question.words not in test))
    return filters


def _is_readable(trajectory: Trajectory) -> bool:
    """True if every step has an action: a reply that could not be read is not to be imitated."""
    return bool(trajectory.steps) and all(step.action and not step.parse_error for step in trajectory.steps)


def _content(trajectory: Trajectory) -> tuple[str, ...]:
    pieces = open_dialect("react-text").render(trajectory.question, trajectory.steps)
    return tuple(piece.text for piece in pieces)


def _group(trajectory: Trajectory) -> Group:
    return trajectory.task, trajectory.method


def _count(trajectories: Iterable[Trajectory]) -> Mapping[Group, int]:
    return dict(sorted(Counter(map(_group, trajectories)).items()))


def _refuse_unknown_parts(parts: Sequence[MixPart], there: Mapping[Group, int]) -> None:
    known = ", ".join(f"{task} {method} ({count})" for (task, method), count in there.items()) or "none at all"
    for part in parts:
        if (part.task, part.method) not in there:
            raise RunError(
                f"mix.parts: no trajectory has task {part.task!r} and method {part.method!r}; there are: {known}; "
                "correct the part, or generate such trajectories"
            )


def _choose(trajectories: Sequence[Trajectory], config: MixConfig) -> list[Trajectory]:
    if not config.parts:
        return list(trajectories)
    there = {(part.task, part.method): list[Trajectory]() for part in config.parts}
    for trajectory in trajectories:
        if _group(trajectory) in there:
            there[_group(trajectory)].append(trajectory)
    amounts = part_amounts(config.parts, {group: len(found) for group, found in there.items()})
    return [one for group, found in there.items() for one in _sample(found, amounts[group], config.seed, group)]


def _sample(found: Sequence[Trajectory], count: int, seed: int, group: Group) -> list[Trajectory]:
    order = list(found)
    random.Random(f"{seed} {group}").shuffle(order)
    return order[:count]


def part_amounts(parts: Sequence[MixPart], there: Mapping[Group, int]) -> dict[Group, int]:
    """How many trajectories each part gives.

    Parts with a ratio are scaled to the others: with 300 by count and a ratio of 0.25, the mixture has 400. Where all
    parts have ratios, the scarcest one sets the size. No part gives more than there is.
    """
    ratios = {(part.task, part.method): part.ratio for part in parts if part.ratio is not None}
    fixed = {
        (part.task, part.method): min(part.count or there[part.task, part.method], there[part.task, part.method])
        for part in parts
        if part.ratio is None
    }
    if fixed:
        total = sum(fixed.values()) / (1 - sum(ratios.values()))
    else:
        total = min(there[group] / ratio for group, ratio in ratios.items())
    return fixed | {group: min(there[group], round(total * ratio)) for group, ratio in ratios.items()}


def _validation_questions(trajectories: Sequence[Trajectory], config: MixConfig) -> frozenset[Words]:
    """The questions kept from training: at least one where any share is asked for and two are there.

    Drawn from all that could be chosen, so that a question stays on its side when more of them are.
    """
    questions = sorted({trajectory.question.words for trajectory in trajectories})
    if config.validation_share == 0 or len(questions) < 2:
        return frozenset()
    count = max(1, round(config.validation_share * len(questions)))
    return frozenset(random.Random(f"{config.seed} validation").sample(questions, min(count, len(questions) - 1)))


def _nothing_left(counts: Mapping[str, Mapping[Group, int]]) -> str:
    steps = ", ".join(f"{sum(groups.values())} {name}" for name, groups in counts.items())
    return f"the mixture leaves nothing to train on ({steps}); generate more questions, or loosen the section 'mix'"


def _record(mixture: Mixture, config: MixConfig) -> dict[str, Any]:
    counts = {
        name: {f"{task} {method}": count for (task, method), count in groups.items()}
        for name, groups in mixture.counts.items()
    }
    test = [part.model_dump(mode="json") for part in config.test]
    return {
        "format": FORMAT,
        "version": VERSION,
        "producer": PRODUCER,
        "seed": config.seed,
        "test": test,
        "counts": counts,
    }
