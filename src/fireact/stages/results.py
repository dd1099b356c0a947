"""What an evaluation says, as rows: scores with intervals, paired differences, drops under noise, the teacher. Pure.

Shares are in per cent of the questions whose gold answer is known; an episode that failed or found no answer counts
as wrong. Values that are not known are None, so that JSON never holds NaN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from typing import Literal, TypeVar

import numpy as np

from fireact.runs import PRODUCER
from fireact.statistics import RESAMPLES, Estimate, paired_difference, wilson
from fireact.trajectory import Question, Record, Trajectory

DECIMALS, DOLLAR_DECIMALS = 4, 8
FACTS = ("famous facts", "obscure facts")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the report keeps of one trajectory; a few hundred bytes, so that long evaluations fit in memory."""

    question: str
    """Its id."""
    is_scored: bool
    """False where no gold answer is known."""
    is_correct: bool
    f1: float
    turns: int
    tokens_in: int
    tokens_out: int
    seconds: float
    has_failed: bool
    groups: tuple[str, ...]
    """Kinds of question that it belongs to."""
    strict: float | None = None
    """The strict score, in [0, 1], where the task's official one is loose."""
    dollars: float | None = None
    """None where a price is not known."""


@dataclass(frozen=True)
class Cell:
    """All outcomes of one agent under one noise on one split of a task."""

    agent: str
    noise: str
    task: str
    split: str
    outcomes: tuple[Outcome, ...]

    @property
    def place(self) -> tuple[str, str]:
        return self.task, self.split

    @property
    def scored(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.is_scored)

    @property
    def correct(self) -> dict[str, bool]:
        """Question -> whether the answer was right, where that is known."""
        return {outcome.question: outcome.is_correct for outcome in self.scored}


class Row(Record):
    """One agent under one noise on one split: shares in per cent, then means per question."""

    agent: str
    noise: str
    task: str
    split: str
    n: int
    """Questions answered whose gold answer is known."""
    failed: int
    """Episodes among all that ended in an error."""
    em: float | None
    em_low: float | None
    """Of the 95% Wilson interval."""
    em_high: float | None
    strict: float | None = None
    """By the strict score; None where the task has but one."""
    f1: float | None
    turns: float | None
    """Replies of the model."""
    tokens_in: float | None
    """Tokens read, summed over the turns of an episode."""
    tokens_out: float | None
    seconds: float | None
    """The model's working time, summed over the turns; a batch's time is shared among its requests."""
    dollars: float | None = None
    """What its replies cost, whether paid now or before; None where no price is known."""


class Difference(Record):
    """EM of agent `a` minus EM of agent `b` in points, over the questions that both answered."""

    a: str
    b: str
    noise: str
    task: str
    split: str
    n: int
    difference: float
    low: float
    """Of the 95% interval by the paired bootstrap."""
    high: float
    relative_gain: float | None
    """The difference in per cent of the EM of `b`; None where that is 0."""


class Drop(Record):
    """What noise costs one agent, over the questions that it answered with and without."""

    agent: str
    noise: str
    task: str
    split: str
    n: int
    em_normal: float
    em: float
    """Under the noise."""
    drop: float | None
    """The loss in per cent of `em_normal`; below 0 for a gain, None where `em_normal` is 0."""


class Group(Record):
    """EM of one agent on questions of one kind."""

    agent: str
    noise: str
    task: str
    split: str
    group: str
    """One of FACTS, or a kind that the task names."""
    n: int
    em: float
    em_low: float
    em_high: float


class Teaching(Record):
    """How often the teacher was right on one task with one method."""

    task: str
    method: str
    n: int
    """Trajectories, failed ones among them."""
    right: int
    share: float
    """In per cent."""
    low: float
    """Of the 95% Wilson interval."""
    high: float


class Results(Record):
    """All that `results.json` holds."""

    format: Literal["fireact-results"] = "fireact-results"
    version: Literal[1] = 1
    producer: str = PRODUCER
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...] = ()
    drops: tuple[Drop, ...] = ()
    groups: tuple[Group, ...] = ()
    teacher: tuple[Teaching, ...] = ()


def outcome(trajectory: Trajectory) -> Outcome:
    """What the report keeps of a trajectory."""
    usage, score = trajectory.usage, trajectory.score
    return Outcome(
        question=trajectory.question.id,
        is_scored=score is not None,
        is_correct=trajectory.is_correct,
        strict=score.strict if score is not None else None,
        f1=score.f1 if score is not None else 0.0,
        turns=trajectory.num_turns,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        seconds=usage.seconds,
        dollars=usage.dollars,
        has_failed=trajectory.end == "failed",
        groups=tuple(question_groups(trajectory.question)),
    )


def question_groups(question: Question) -> Iterator[str]:
    """The kinds of question that it belongs to, as far as it knows: by its facts, and by its own kind."""
    if question.chain:
        yield FACTS[0 if question.is_famous else 1]
    if question.kind:
        yield question.kind


def results(cells: Sequence[Cell], teacher: Iterable[Trajectory], *, baseline: str, normal: str, seed: int) -> Results:
    """Everything that can be said about these cells.

    Args:
        teacher: what `generate` made; may be empty.
        baseline: the agent that the others are compared with.
        normal: the name of clean tools among the noises.
        seed: of the bootstrap; each comparison starts from it, so that none depends on the others.
    """
    return Results(
        rows=tuple(map(row, cells)),
        differences=tuple(differences(cells, baseline=baseline, seed=seed)),
        drops=tuple(drops(cells, normal=normal)),
        groups=tuple(group for cell in cells if cell.noise == normal for group in groups(cell)),
        teacher=tuple(teaching(teacher)),
    )


def row(cell: Cell) -> Row:
    """The scores and costs of one cell."""
    scored, everything = cell.scored, cell.outcomes
    em = _share(scored) if scored else None
    return Row(
        **_names(cell),
        n=len(scored),
        failed=sum(one.has_failed for one in everything),
        em=em.value if em else None,
        em_low=em.low if em else None,
        em_high=em.high if em else None,
        strict=_strict(scored),
        f1=_mean(100 * one.f1 for one in scored),
        turns=_mean(one.turns for one in everything),
        tokens_in=_mean(one.tokens_in for one in everything),
        tokens_out=_mean(one.tokens_out for one in everything),
        seconds=_mean(one.seconds for one in everything),
        dollars=_mean_dollars(everything),
    )


def differences(cells: Sequence[Cell], *, baseline: str, seed: int, resamples: int = RESAMPLES) -> Iterator[Difference]:
    """Every two agents under the same noise and on the same questions, the baseline as `b` wherever it takes part.

    Of two others `b` is the one that comes first.
    """
    ordered = sorted(cells, key=lambda cell: cell.agent != baseline)
    for a, b in ((a, b) for b, a in combinations(ordered, 2)):
        if a.agent == b.agent or (a.noise, *a.place) != (b.noise, *b.place):
            continue
        right_a, right_b = _common(a, b)
        if right_a:
            generator = np.random.default_rng(seed)
            found = _per_cent(paired_difference(right_a, right_b, generator=generator, resamples=resamples))
            yield Difference(
                a=a.agent,
                b=b.agent,
                noise=a.noise,
                task=a.task,
                split=a.split,
                n=len(right_a),
                difference=found.value,
                low=found.low,
                high=found.high,
                relative_gain=_relative(sum(right_a), sum(right_b)),
            )


def drops(cells: Sequence[Cell], *, normal: str) -> Iterator[Drop]:
    """Every noisy cell against the same agent with clean tools."""
    clean = {(cell.agent, *cell.place): cell for cell in cells if cell.noise == normal}
    for cell in cells:
        other = clean.get((cell.agent, *cell.place))
        if other is None or cell is other:
            continue
        noisy, before = _common(cell, other)
        if noisy:
            gain = _relative(sum(noisy), sum(before))
            yield Drop(
                **_names(cell),
                n=len(noisy),
                em_normal=_rounded(100 * sum(before) / len(before)),
                em=_rounded(100 * sum(noisy) / len(noisy)),
                drop=None if gain is None else 0.0 - gain,
            )


def groups(cell: Cell) -> Iterator[Group]:
    """EM by facts, then by kind of question, most frequent first; what all questions belong to is left out."""
    counts = Counter(group for one in cell.scored for group in one.groups)
    kinds = sorted((group for group in counts if group not in FACTS), key=lambda group: (-counts[group], group))
    for group in (*FACTS, *kinds):
        n = counts[group]
        if n in (0, len(cell.scored)):
            continue
        em = _share([one for one in cell.scored if group in one.groups])
        yield Group(**_names(cell), group=group, n=n, em=em.value, em_low=em.low, em_high=em.high)


def teaching(trajectories: Iterable[Trajectory]) -> Iterator[Teaching]:
    """How often each method was right, by task, over trajectories whose gold answer is known."""
    asked, right = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for one in trajectories:
        if one.score is not None:
            asked[one.task, one.method] += 1
            right[one.task, one.method] += one.is_correct
    for (task, method), n in sorted(asked.items()):
        found = _per_cent(wilson(right[task, method], n))
        yield Teaching(
            task=task,
            method=method,
            n=n,
            right=right[task, method],
            share=found.value,
            low=found.low,
            high=found.high,
        )


def by(values: Iterable[T], key: Callable[[T], str]) -> Mapping[str, list[T]]:
    """The values under the key that each has, keys in the order of their first value."""
    found: dict[str, list[T]] = {}
    for value in values:
        found.setdefault(key(value), []).append(value)
    return found


def _names(cell: Cell) -> dict[str, str]:
    return {"agent": cell.agent, "noise": cell.noise, "task": cell.task, "split": cell.split}


def _common(a: Cell, b: Cell) -> tuple[list[bool], list[bool]]:
    """Whether each was right, over the questions that stand in both."""
    right_a, right_b = a.correct, b.correct
    shared = [question for question in right_a if question in right_b]
    return [right_a[question] for question in shared], [right_b[question] for question in shared]


def _strict(outcomes: Sequence[Outcome]) -> float | None:
    """The mean strict score in per cent. An answer to which it does not apply, such as none, has the official one."""
    if all(one.strict is None for one in outcomes):
        return None
    return _mean(100.0 * (one.is_correct if one.strict is None else one.strict) for one in outcomes)


def _mean_dollars(outcomes: Sequence[Outcome]) -> float | None:
    """None where no price is known, or not of all; an episode that failed before its first reply has cost nothing."""
    known = [one.dollars for one in outcomes if one.dollars is not None]
    if not known or any(one.dollars is None and one.turns for one in outcomes):
        return None
    return round(sum(known) / len(outcomes), DOLLAR_DECIMALS)


def _share(outcomes: Sequence[Outcome]) -> Estimate:
    return _per_cent(wilson(sum(one.is_correct for one in outcomes), len(outcomes)))


def _per_cent(estimate: Estimate) -> Estimate:
    return Estimate(*(_rounded(100 * value) for value in (estimate.value, estimate.low, estimate.high)))


def _relative(a: float, b: float) -> float | None:
    """How much more `a` is than `b`, in per cent of `b`."""
    return _rounded(100 * (a - b) / b) if b else None


def _mean(values: Iterable[float]) -> float | None:
    there = list(values)
    mean = sum(there) / len(there) if there else float("nan")
    return _rounded(mean) if isfinite(mean) else None


def _rounded(value: float) -> float:
    return round(value, DECIMALS)
