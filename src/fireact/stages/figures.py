"""The figures of the report, as SVG for a page that brings its own style. Pure.

Elements are built as an XML tree, which escapes every text. Colours are classes that the style of `report.jinja`
defines, so a figure follows the page into the dark; `agent0`, `agent1`, ... are the colours of the agents.
"""

from __future__ import annotations

import math
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fireact.stages.results import Difference, Drop, Group, Row, Teaching, by

WIDTH = 940
LETTER = 7.6
"""Width that a letter of a label is given; most fonts need less."""
BOLD = 1.2
HIDDEN = frozenset("\u061c\u200b\u200e\u200f\u2028\u2029\u2060\ufeff") | frozenset(
    map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080)))
)
"""Characters that are not seen but change what is: direction marks and overrides, zero widths, tags."""
Colours = Mapping[str, int]
"""Agent -> the number of its colour."""


def visible(text: str) -> str:
    """`text` with a code in place of each character that could hide or reorder the others.

    >>> visible("right" + chr(0x202E) + "left" + chr(7))
    'right⟨U+202E⟩left⟨U+0007⟩'
    """
    return "".join(f"⟨U+{ord(letter):04X}⟩" if _hides(letter) else letter for letter in text)


def _hides(letter: str) -> bool:
    return letter in HIDDEN or (unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t")


def signed(value: float, digits: int = 1) -> str:
    """With a plus or a real minus; zero has neither."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


@dataclass
class Drawing:
    """An SVG that grows element by element; lengths in pixels at full size."""

    width: float
    height: float
    label: str
    """What the figure shows, for readers who hear it."""
    root: ET.Element = field(init=False)

    def __post_init__(self) -> None:
        self.root = ET.Element("svg", {"role": "img", "aria-label": visible(self.label)})
        self.root.set("viewBox", f"0 0 {self.width:g} {self.height:g}")
        self.root.set("style", f"max-width:{self.width:g}px")

    def text(self, x: float, y: float, words: str, kind: str = "", *, anchor: str = "start") -> None:
        """Words on a line whose base is at `y`."""
        self._add("text", kind, {"text-anchor": anchor}, x=x, y=y).text = visible(words)

    def rect(self, x: float, y: float, width: float, height: float, kind: str, note: str = "") -> None:
        self._note(self._add("rect", kind, x=x, y=y, width=max(width, 0), height=max(height, 0), rx=2), note)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self._add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)

    def dot(self, x: float, y: float, kind: str, note: str = "") -> None:
        self._note(self._add("circle", kind, cx=x, cy=y, r=5), note)

    def whisker(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A line with a short bar across each end, level or upright."""
        self.line(x1, y1, x2, y2, kind)
        dx, dy = (0, 4) if y1 == y2 else (4, 0)
        for x, y in ((x1, y1), (x2, y2)):
            self.line(x - dx, y - dy, x + dx, y + dy, kind)

    def svg(self) -> str:
        """The whole element, with all text escaped."""
        return ET.tostring(self.root, encoding="unicode")

    def _add(self, tag: str, kind: str, extra: Mapping[str, str] | None = None, **numbers: float) -> ET.Element:
        values = {name: f"{number:.5g}" for name, number in numbers.items()}
        return ET.SubElement(self.root, tag, {"class": kind, **(extra or {}), **values})

    def _note(self, element: ET.Element, note: str) -> None:
        if note:
            ET.SubElement(element, "title").text = visible(note)


@dataclass(frozen=True)
class Mark:
    """A share with its interval, all in per cent."""

    value: float
    low: float
    high: float
    colour: str
    """A class of the style."""
    agent: str = ""
    """Whose it is; empty for the teacher's."""


@dataclass(frozen=True)
class ShareRow:
    """One row of a figure of shares."""

    name: str
    marks: tuple[Mark, ...]
    remark: str
    """Stands behind the marks."""


def noise_bars(rows: Sequence[Row], drops: Sequence[Drop], colours: Colours) -> str:
    """EM of each agent under each noise, with intervals, and what share of it the noise takes; for one split."""
    left, top, plot, foot = 46, 26, 220, 62
    groups = by((row for row in rows if row.em is not None), lambda row: row.agent)
    gap, count = 34.0, sum(map(len, groups.values()))
    step = min(max((WIDTH - left - gap * len(groups)) / max(count, 1), 50), 110)
    drawing = Drawing(
        max(left + step * count + gap * len(groups), 340), top + plot + foot, "EM of each agent under each noise"
    )
    lost = {(drop.agent, drop.noise): drop.drop for drop in drops}
    height = _upright_axis(drawing, left, top, plot, top_value=100, unit="EM, % of questions")
    x = left + gap / 2
    for agent, bars in groups.items():
        drawing.text(x + step * len(bars) / 2, top + plot + 54, agent, "strong", anchor="middle")
        for index, row in enumerate(bars):
            centre, base = x + step / 2, top + plot
            kind = f"agent{colours[agent]}" + (" pale" if index else "")
            em, low, high = row.em or 0.0, row.em_low or 0.0, row.em_high or 0.0
            note = f"{agent}, {row.noise}: EM {em:.1f}% [{low:.1f}, {high:.1f}], n = {row.n}"
            drawing.rect(centre - step * 0.38, base - height(em), step * 0.76, height(em), f"bar {kind}", note)
            drawing.whisker(centre, base - height(low), centre, base - height(high), "whisker")
            drawing.text(centre, base - height(high) - 8, f"{em:.1f}", "value", anchor="middle")
            drawing.text(centre, base + 18, row.noise, anchor="middle")
            drop = lost.get((agent, row.noise))
            if drop is not None:
                drawing.text(centre, base + 34, f"{signed(-drop)}%", "muted", anchor="middle")
            x += step
        x += gap
    return drawing.svg()


def difference_plot(differences: Sequence[Difference]) -> str:
    """Each paired difference with its interval, beside the line of no difference."""
    names = [f"{one.a} − {one.b}" for one in differences]
    places = [f"{one.task}, {one.noise}" for one in differences]
    left = 24 + max(*(BOLD * _width(name) for name in names), *map(_width, places))
    right, row_height, top = 190, 42, 14
    drawing = Drawing(WIDTH, top + row_height * len(differences) + 46, "Paired differences of EM")
    low = min(0.0, *(one.low for one in differences))
    high = max(0.0, *(one.high for one in differences))
    plot_width = drawing.width - left - right
    ticks = nice_ticks(low, high)
    span = max(ticks[-1] - ticks[0], 1e-9)

    def place(value: float) -> float:
        return left + (value - ticks[0]) / span * plot_width

    bottom = top + row_height * len(differences)
    for tick in ticks:
        drawing.line(place(tick), top, place(tick), bottom, "axis" if tick == 0 else "grid")
        drawing.text(place(tick), bottom + 18, signed(tick, 0), "muted", anchor="middle")
    drawing.text(left + plot_width / 2, bottom + 38, "difference of EM, points", "muted", anchor="middle")
    for index, one in enumerate(differences):
        y = top + row_height * (index + 0.5)
        kind = "better" if one.low > 0 else "worse" if one.high < 0 else "level"
        numbers = f"{signed(one.difference)} [{signed(one.low)}, {signed(one.high)}]"
        drawing.text(left - 14, y - 3, names[index], "strong", anchor="end")
        drawing.text(left - 14, y + 13, places[index], "muted", anchor="end")
        drawing.whisker(place(one.low), y, place(one.high), y, f"range {kind}")
        drawing.dot(
            place(one.difference), y, f"point {kind}", f"{names[index]}, {places[index]}: {numbers}, n = {one.n}"
        )
        drawing.text(drawing.width - right + 18, y - 3, numbers, "value")
        gain = "" if one.relative_gain is None else f"{signed(one.relative_gain, 0)}% relative, "
        drawing.text(drawing.width - right + 18, y + 13, f"{gain}n = {one.n}", "muted")
    return drawing.svg()


def turn_bars(
    turns: Mapping[int, tuple[int, int]], *, label: str, colour: int, most_turns: int, most_questions: int
) -> str:
    """A histogram of turns; of the questions at each number of turns the right ones are solid, the wrong ones pale.

    Args:
        turns: number of turns -> how many questions were answered right, how many wrong.
        most_turns: the end of the axis, which figures side by side share, as they do `most_questions`.
    """
    left, top, plot, width = 44, 26, 130, 350
    drawing = Drawing(width, top + plot + 46, label)
    top_value = nice_ticks(0, most_questions)[-1]
    height = _upright_axis(drawing, left, top, plot, top_value=top_value, unit="questions")
    step = (width - left - 8) / max(most_turns, 1)
    every = math.ceil(most_turns / 12)
    for number in range(1, most_turns + 1):
        right, wrong = turns.get(number, (0, 0))
        x, base = left + 4 + step * (number - 1), top + plot
        note = f"{number} turns: {right} right, {wrong} wrong"
        for start, amount, kind in ((0, right, ""), (right, wrong, " pale")):
            if amount:
                y = base - height(start + amount)
                drawing.rect(x + step * 0.1, y, step * 0.8, height(amount), f"bar agent{colour}{kind}", note)
        if (number - 1) % every == 0:
            drawing.text(x + step / 2, base + 16, str(number), "muted", anchor="middle")
    drawing.text(left + (width - left) / 2, top + plot + 36, "turns", "muted", anchor="middle")
    return drawing.svg()


def teacher_bars(teacher: Sequence[Teaching]) -> str:
    """Share of the teacher's trajectories that were right, by task and method."""
    return _share_rows(
        [
            ShareRow(
                f"{one.task} · {one.method}",
                (Mark(one.share, one.low, one.high, "teacher"),),
                f"{one.share:.1f}%  ({one.right:,} of {one.n:,})",
            )
            for one in teacher
        ],
        label="Share of the teacher's trajectories that were right",
        unit="right, % of trajectories",
    )


def group_dots(groups: Sequence[Group], colours: Colours, *, most: int = 12) -> str:
    """EM of each agent by kind of question, with intervals; the most frequent kinds of one split."""
    chosen = list(by(groups, lambda one: one.group).items())[:most]

    def mark(one: Group) -> Mark:
        return Mark(one.em, one.em_low, one.em_high, f"agent{colours[one.agent]}", one.agent)

    return _share_rows(
        [
            ShareRow(name, tuple(map(mark, members)), f"n = {max(one.n for one in members):,}")
            for name, members in chosen
        ],
        label="EM by kind of question",
        unit="EM, % of questions",
    )


def _share_rows(rows: Sequence[ShareRow], *, label: str, unit: str) -> str:
    """Rows of dots with intervals on an axis from 0 to 100%; one mark that is nobody's is a bar."""
    left = 24 + max((_width(row.name) for row in rows), default=0)
    right, top = 30 + max((_width(row.remark) for row in rows), default=0), 8
    heights = [max(34, 15 * len(row.marks) + 20) for row in rows]
    drawing = Drawing(WIDTH, top + sum(heights) + 44, label)
    plot_width = drawing.width - left - right
    bottom = top + sum(heights)
    for tick in range(0, 101, 20):
        x = left + plot_width * tick / 100
        drawing.line(x, top, x, bottom, "axis" if tick == 0 else "grid")
        drawing.text(x, bottom + 18, str(tick), "muted", anchor="middle")
    drawing.text(left + plot_width / 2, bottom + 38, unit, "muted", anchor="middle")
    y = float(top)
    for row, height in zip(rows, heights, strict=True):
        middle = y + height / 2
        drawing.text(left - 12, middle + 4, row.name, anchor="end")
        drawing.text(drawing.width - right + 16, middle + 4, row.remark, "muted")
        for index, mark in enumerate(row.marks):
            own = middle + 15 * (index - (len(row.marks) - 1) / 2)
            a, b, c = (left + plot_width * share / 100 for share in (mark.low, mark.value, mark.high))
            who = f"{mark.agent}, " if mark.agent else ""
            note = f"{who}{row.name}: {mark.value:.1f}% [{mark.low:.1f}, {mark.high:.1f}]"
            if len(row.marks) == 1 and not mark.agent:
                drawing.rect(left, own - 9, b - left, 18, f"bar {mark.colour}", note)
                drawing.whisker(a, own, c, own, "whisker")
            else:
                drawing.whisker(a, own, c, own, f"range {mark.colour}")
                drawing.dot(b, own, f"point {mark.colour}", note)
        y += height
        if len(row.marks) > 1 and y < bottom:
            drawing.line(0, y, drawing.width, y, "grid")
    return drawing.svg()


def _upright_axis(
    drawing: Drawing, left: float, top: float, plot: float, *, top_value: float, unit: str
) -> Callable[[float], float]:
    """Draws a grid from 0 to `top_value`; returns the height of a value."""

    def height(value: float) -> float:
        return plot * value / max(top_value, 1e-9)

    for tick in nice_ticks(0, top_value):
        y = top + plot - height(tick)
        drawing.line(left, y, drawing.width - 4, y, "axis" if tick == 0 else "grid")
        drawing.text(left - 8, y + 4, f"{tick:g}", "muted", anchor="end")
    drawing.text(4, 12, unit, "muted")
    return height


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from below `low` to above `high`, in steps of 1, 2 or 5 times a power of ten.

    >>> nice_ticks(0, 87)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    rough = max((high - low) / count, 1.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def _width(text: str) -> float:
    return LETTER * len(visible(text))
