"""Which examples make one update: batches of like lengths, in an order that depends on the seed alone. Pure.

Examples are shuffled and cut into windows; each window is sorted by length before it is cut into batches, and the
batches are shuffled again. Padding nearly vanishes while batches stay random, within windows and between epochs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

BATCHES_IN_WINDOW = 64


def grouped_batches(
    lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int, by_length: bool = True
) -> list[list[int]]:
    """The batches of one epoch, as indices into `lengths`; each index once, all batches full but at most one.

    Args:
        lengths: (examples,) in tokens.
        by_length: False leaves the shuffled order as it is.
    """
    generator = random.Random(f"{seed} {epoch}")
    order = list(range(len(lengths)))
    generator.shuffle(order)
    if not by_length:
        return _cut(order, batch_size)
    windows = _cut(order, BATCHES_IN_WINDOW * batch_size)
    batches = [batch for window in windows for batch in _cut(sorted(window, key=lengths.__getitem__), batch_size)]
    generator.shuffle(batches)
    return batches


def _cut(items: list[int], size: int) -> list[list[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
