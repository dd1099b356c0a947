"""What the page of a report says, in words and numbers, from the results of an evaluation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fireact.stages import figures
from fireact.stages.evaluate import NORMAL, AgentConfig, EvaluateConfig
from fireact.stages.results import Cell, Difference, Outcome, Results, Row, by
from fireact.trajectory import Trajectory

NUM_COLOURS = 6
MOST_GAIN = 1000.0
"""Per cent, above which a relative gain says nothing: what it is over is close to 0."""


@dataclass(frozen=True)
class Story:
    """What a report is made of."""

    title: str
    agent: str
    """Whom it is about."""
    baseline: str
    """Whom the others are compared with; may be the same where there is only one agent."""
    evaluation: EvaluateConfig
    cells: tuple[Cell, ...]
    results: Results
    samples: tuple[tuple[str, Trajectory], ...] = ()
    """Of agents, by name."""

    @property
    def agents(self) -> tuple[AgentConfig, ...]:
        """Those that have answered, in the order of the recipe."""
        there = {cell.agent for cell in self.cells}
        return tuple(agent for agent in self.evaluation.agents if agent.name in there)

    @property
    def colours(self) -> dict[str, int]:
        """Agent -> colour; the agent that the report is about has the first, the baseline the second."""
        first = dict.fromkeys((self.agent, self.baseline, *(agent.name for agent in self.agents)))
        return {name: number % NUM_COLOURS for number, name in enumerate(first)}

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Task and split, in the order of the recipe; the first is the main one."""
        return tuple(dict.fromkeys(cell.place for cell in self.cells))

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Those from the baseline, those of the agent that the report is about first."""
        found = (one for one in self.results.differences if one.b == self.baseline)
        return tuple(sorted(found, key=lambda one: one.a != self.agent))

    @property
    def difference(self) -> Difference | None:
        """Between the two that the report is about, with clean tools on the main split."""
        return next((one for one in self.differences if self._is_main(one) and one.a == self.agent), None)

    def row(self, agent: str) -> Row | None:
        """The row of an agent with clean tools on the main split."""
        return next((one for one in self.results.rows if self._is_main(one) and one.agent == agent), None)

    def _is_main(self, one: Row | Difference) -> bool:
        return (one.noise, one.task, one.split) == (NORMAL, *self.places[0])


@dataclass(frozen=True)
class Tile:
    """One large number at the top of the page."""

    label: str
    value: str
    remark: str


def headline(story: Story) -> str:
    """One sentence that says how the comparison came out."""
    mine, other, difference = story.row(story.agent), story.row(story.baseline), story.difference
    task = story.places[0][0]
    if mine is None or mine.em is None:
        return f"{story.agent} on {task}"
    if other is None or other.em is None or difference is None:
        return f"{story.agent} answers {mine.em:.1f}% of {task} questions right"
    verb = "answers" if difference.low > 0 or difference.high < 0 else "is not clearly different: it answers"
    return f"{story.agent} {verb} {mine.em:.1f}% of {task} questions right; {story.baseline} answers {other.em:.1f}%"


def remark(story: Story) -> str:
    """The sentence under the headline: how sure that is."""
    one = story.difference
    if one is None:
        return f"With clean tools, {story.places[0][1]} split."
    interval = f"{figures.signed(one.low)} to {figures.signed(one.high)}"
    return (
        f"{figures.signed(one.difference)} points, 95% interval {interval}, "
        f"over the same {one.n:,} questions{gain(one, '; {:+.0f}% relative').replace('-', '−')}. "
        f"Exact match, clean tools, {one.split} split."
    )


def tiles(story: Story) -> Iterator[Tile]:
    """The numbers at the top, as far as they are known."""
    mine, other = story.row(story.agent), story.row(story.baseline)
    if mine is None or other is None or mine is other:
        return
    if mine.em is not None and other.em is not None:
        yield Tile("exact match", f"{mine.em:.1f}%", f"{story.baseline} {other.em:.1f}%")
    yield from _drop_tile(story)
    if mine.tokens_in is not None and other.tokens_in:
        remark = f"{story.baseline} {other.tokens_in:,.0f}{_times(other.tokens_in, mine.tokens_in)}"
        yield Tile("tokens read per question", f"{mine.tokens_in:,.0f}", remark)
    if mine.seconds is not None and other.seconds:
        remark = f"{story.baseline} {other.seconds:.2f} s{_times(other.seconds, mine.seconds)}"
        yield Tile("model time per question", f"{mine.seconds:.2f} s", remark)


def _drop_tile(story: Story) -> Iterator[Tile]:
    """The noise that costs the agent most."""
    drops = {
        (one.agent, one.noise): one.drop for one in story.results.drops if (one.task, one.split) == story.places[0]
    }
    mine = {noise: drop for (agent, noise), drop in drops.items() if agent == story.agent and drop is not None}
    if not mine:
        return
    noise = max(mine, key=mine.__getitem__)
    other = drops.get((story.baseline, noise))
    remark = "" if other is None else f"{story.baseline} {figures.signed(-other)}%"
    yield Tile(f"with broken tools ({noise})", f"{figures.signed(-mine[noise])}%", remark)


def _times(large: float, small: float) -> str:
    return f" ({large / small:.1f}×)" if small and large / small >= 1.1 else ""


def describe(agent: AgentConfig) -> str:
    """What an agent is, in a few words: its model, adapter, method and dialect."""
    model = agent.model.model_dump(mode="json")
    names = [str(model[key]) for key in ("kind", "path") if model.get(key)]
    adapter = ["with a LoRA adapter"] if model.get("adapter") else []
    prompt = ["without examples"] if agent.method.prompt == "none" else []
    return ", ".join((" ".join(names), *adapter, agent.method.kind, *prompt))


def describe_split(story: Story, task: str, split: str) -> dict[str, Any]:
    """What the page says about one split of a task."""
    found = story.results
    rows = [one for one in found.rows if (one.task, one.split) == (task, split)]
    drops = [one for one in found.drops if (one.task, one.split) == (task, split)]
    groups = [one for one in found.groups if (one.task, one.split) == (task, split)]
    cells = [cell for cell in story.cells if cell.place == (task, split) and cell.noise == NORMAL]
    return {
        "name": f"{task}, {split}",
        "rows": by(rows, lambda row: row.agent),
        "noise_plot": figures.noise_bars(rows, drops, story.colours) if any(row.em is not None for row in rows) else "",
        "turn_plots": turn_plots(cells, story.colours),
        "group_plot": figures.group_dots(groups, story.colours) if groups else "",
    }


def turn_plots(cells: Sequence[Cell], colours: Mapping[str, int]) -> dict[str, str]:
    """A histogram of turns for each agent; all share their axes."""
    counts = {cell.agent: _turns(cell.outcomes) for cell in cells}
    most_turns = max((turns for count in counts.values() for turns in count), default=1)
    most_questions = max((sum(pair) for count in counts.values() for pair in count.values()), default=1)
    return {
        agent: figures.turn_bars(
            count,
            label=f"Turns of {agent}",
            colour=colours[agent],
            most_turns=most_turns,
            most_questions=most_questions,
        )
        for agent, count in counts.items()
    }


def _turns(outcomes: Iterable[Outcome]) -> dict[int, tuple[int, int]]:
    """Number of turns -> how many right, how many not."""
    found: dict[int, tuple[int, int]] = {}
    for one in outcomes:
        right, wrong = found.get(one.turns, (0, 0))
        found[one.turns] = (right + one.is_correct, wrong + (not one.is_correct))
    return found


def gain(difference: Difference, form: str) -> str:
    """The relative gain in the given form; nothing where there is none, or it is over next to nothing."""
    relative = difference.relative_gain
    return "" if relative is None or relative > MOST_GAIN else form.format(relative)


def number(value: float | None, digits: int = 1) -> str:
    """With commas between thousands; a dash where it is not known."""
    return "-" if value is None else f"{value:,.{digits}f}"
