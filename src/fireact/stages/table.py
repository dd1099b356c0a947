"""The comparison as plain text: what `report` prints and writes to `table.txt`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fireact.stages.results import Results, Row
from fireact.stages.story import gain, number

HEAD = ("agent", "noise", "task", "n", "EM [low, high]", "F1", "turns", "tokens in", "tokens out", "s/question")
FAILED, STRICT = HEAD.index("EM [low, high]"), HEAD.index("F1")
"""Where the number of failed episodes stands, if there are any, and the strict score, if a task has one."""
NUM_NAMES = 3
"""The first columns, which hold names and stand on the left; the others hold numbers."""


def table(found: Results) -> str:
    """The comparison in aligned columns, then a line for each paired difference and each drop under noise."""
    lines = [HEAD, *map(_cells, found.rows)]
    if any(row.strict is not None for row in found.rows):
        lines = _with_column(lines, STRICT, ["strict", *(number(row.strict) for row in found.rows)])
    if any(row.failed for row in found.rows):
        lines = _with_column(lines, FAILED, ["failed", *(str(row.failed) for row in found.rows)])
    if any(row.dollars is not None for row in found.rows):
        lines = _with_column(lines, len(lines[0]), ["$/question", *(number(row.dollars, 5) for row in found.rows)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    parts = ["\n".join(_line(line, widths) for line in lines)]
    parts += ["\n".join(group) for group in (_difference_lines(found), _drop_lines(found)) if group]
    return "\n\n".join(parts)


def _with_column(lines: Sequence[tuple[str, ...]], place: int, column: Sequence[str]) -> list[tuple[str, ...]]:
    return [(*line[:place], cell, *line[place:]) for line, cell in zip(lines, column, strict=True)]


def _cells(row: Row) -> tuple[str, ...]:
    em = "-" if row.em is None else f"{row.em:.1f} [{row.em_low:.1f}, {row.em_high:.1f}]"
    numbers = number(row.f1), number(row.turns), number(row.tokens_in, 0), number(row.tokens_out, 0)
    return row.agent, row.noise, f"{row.task} {row.split}", str(row.n), em, *numbers, number(row.seconds, 2)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.ljust(width) if index < NUM_NAMES else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(padded).rstrip()


def _difference_lines(found: Results) -> list[str]:
    return [
        f"{one.a} - {one.b}, {one.task} {one.split}, {one.noise}: EM {one.difference:+.1f} points "
        f"[{one.low:+.1f}, {one.high:+.1f}]{gain(one, ' ({:+.0f}%)')} over {one.n} common questions"
        for one in found.differences
    ]


def _drop_lines(found: Results) -> list[str]:
    return [
        f"{one.agent}, {one.task} {one.split}: EM {one.em_normal:.1f} -> {one.em:.1f} under {one.noise}"
        f"{_loss(one.drop)}"
        for one in found.drops
    ]


def _loss(drop: float | None) -> str:
    if drop is None:
        return ""
    return f", a drop of {drop:.1f}%" if drop >= 0 else f", a gain of {-drop:.1f}%"
