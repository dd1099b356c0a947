"""Keys and values that are kept, so that what has been read is not read again.

The prompt of an episode's next turn begins with all that was read and written in this one; first turns begin alike
with a few-shot prompt. Both are found again by their tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fireact.models.attention import KeysValues

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Prefix:
    """Tokens that many rows begin with, and their keys and values."""

    ids: Ids
    layers: tuple[KeysValues, ...]


NO_PREFIX = Prefix((), ())


@dataclass(frozen=True)
class Known:
    """Tokens whose keys and values are known: those of a prefix, which many rows share, and then those of one row."""

    ids: Ids
    """All of them, beginning with the prefix."""
    layers: tuple[KeysValues, ...] = ()
    """Of the tokens after the prefix; empty where there are none."""
    prefix: Prefix = NO_PREFIX

    @property
    def num_own(self) -> int:
        """Tokens after the prefix."""
        return len(self.ids) - len(self.prefix.ids)

    @property
    def num_bytes(self) -> int:
        """Of the keys and values after the prefix."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)

    def first(self, length: int) -> Known:
        """Of the first so many tokens alone, not fewer than the prefix has."""
        own = length - len(self.prefix.ids)
        layers = tuple((keys[:, :own], values[:, :own]) for keys, values in self.layers)
        return Known(self.ids[:length], layers, self.prefix)

    def alone(self) -> Known:
        """The same with a copy of the prefix in the row's own keys and values."""
        if not self.prefix.layers:
            return self
        if not self.layers:
            return Known(self.ids, self.prefix.layers)
        pairs = zip(self.prefix.layers, self.layers, strict=True)
        joined = ((torch.cat([a, c], dim=1), torch.cat([b, d], dim=1)) for (a, b), (c, d) in pairs)
        return Known(self.ids, tuple(joined))


NOTHING_KNOWN = Known(())


class Kept:
    """What is known of episodes that wait for their next turn, by the adapter and prompt of their last one.

    Beyond `max_bytes` the oldest is forgotten.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._by_prompt: OrderedDict[tuple[str, Ids], Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_prompt)

    def keep(self, prompt: Ids, known: Known, *, adapter: str = "") -> None:
        """Keep it until it is taken."""
        self._drop((adapter, prompt))
        self._by_prompt[adapter, prompt] = known
        self.num_bytes += known.num_bytes
        while self.num_bytes > self.max_bytes:
            self._drop(next(iter(self._by_prompt)))

    def take(self, ids: Ids, starts: Sequence[int], *, adapter: str = "") -> Known | None:
        """What is known of a prompt that goes on from an earlier one; that one ended where a piece of this starts."""
        for start in reversed(starts):
            known = self._drop((adapter, ids[:start]))
            if known is not None:
                return known.first(len(common_prefix([known.ids, ids])))
        return None

    def _drop(self, key: tuple[str, Ids]) -> Known | None:
        known = self._by_prompt.pop(key, None)
        self.num_bytes -= 0 if known is None else known.num_bytes
        return known


def common_prefix(rows: Sequence[Ids]) -> Ids:
    """What all rows begin with, leaving each at least one token to read."""
    first, last = min(rows), max(rows)
    limit = min(map(len, rows)) - 1
    length = next((place for place in range(limit) if first[place] != last[place]), limit)
    return first[:length]
