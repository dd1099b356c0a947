"""The comparison as plain text: what `report` prints and writes to `table.txt`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fireact.stages.results import Results, Row
from fireact.stages.story import gain, number

HEAD = ("agent", "noise", "task", "n", "EM [low, high]", "F1", "turns", "tokens in", "tokens out", "s/question")
STRICT = HEAD.index("F1")
"""Where the strict score stands, if a task has one."""
NUM_NAMES = 3
"""The first columns, which hold names and stand on the left; the others hold numbers."""


def table(found: Results) -> str:
    """The comparison in aligned columns, then a line for each paired difference and each drop under noise."""
    lines = [HEAD, *map(_cells, found.rows)]
    if any(row.strict is not None for row in found.rows):
        stricts = ("strict", *(number(row.strict) for row in found.rows))
        lines = [(*line[:STRICT], strict, *line[STRICT:]) for line, strict in zip(lines, stricts, strict=True)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    parts = ["\n".join(_line(line, widths) for line in lines)]
    parts += ["\n".join(group) for group in (_difference_lines(found), _drop_lines(found)) if group]
    return "\n\n".join(parts)


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
        f"{'' if one.drop is None else f', a drop of {one.drop:.1f}%'}"
        for one in found.drops
    ]
