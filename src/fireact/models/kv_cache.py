"""The keys and values of a batch while it is decoded: buffers with room to grow, whose rows come and go."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from fireact.models.attention import KeysValues, attends_to_all

ROOM = 64
"""Tokens by which a buffer grows."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """One layer of a cache. Adding a token to all rows copies that token only; so does a new row in another's place.

    All rows end at the same token, so that shorter ones begin later; what stands before their beginning is masked.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (rows, heads, new, size) and return all that is held, (rows, heads, held, size)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        self.keys = self._append("key_buffer", self.keys, key_states, start)
        self.values = self._append("value_buffer", self.values, value_states, start)
        return self.keys, self.values

    def put(self, place: int, known: KeysValues) -> None:
        """Let a row, (heads, tokens, size), take the place of another; it has at most as many tokens as are held."""
        for held, new in zip((self.keys, self.values), known, strict=True):
            held[place, :, held.shape[2] - new.shape[1] :] = new

    def rearrange(self, places: torch.Tensor, num_rows: int, length: int) -> None:
        """Keep the last `length` tokens of these rows as the first of `num_rows`; zeros stand for all else."""
        self.keys = self._rearranged("key_buffer", self.keys, places, num_rows, length)
        self.values = self._rearranged("value_buffer", self.values, places, num_rows, length)

    def _append(self, name: str, held: torch.Tensor, new: torch.Tensor, start: int) -> torch.Tensor:
        end = start + new.shape[2]
        buffer = getattr(self, name, None)
        if buffer is None or buffer.shape[0] != new.shape[0] or buffer.shape[2] < end:
            buffer = self._buffer(name, held if start else new, len(new), end)
            if start:
                buffer[:, :, :start] = held
        buffer[:, :, start:end] = new
        return buffer[:, :, :end]

    def _rearranged(
        self, name: str, held: torch.Tensor, places: torch.Tensor, num_rows: int, length: int
    ) -> torch.Tensor:
        buffer = self._buffer(name, held, num_rows, length)
        taken = min(length, held.shape[2])
        buffer[: len(places), :, length - taken : length] = held[places, :, held.shape[2] - taken :]
        return buffer[:, :, :length]

    def _buffer(self, name: str, like: torch.Tensor, num_rows: int, length: int) -> torch.Tensor:
        _, heads, _, size = like.shape
        buffer = like.new_zeros(num_rows, heads, ROOM * math.ceil((length + ROOM) / ROOM), size)
        setattr(self, name, buffer)
        return buffer


def new_cache(config: Any) -> Cache:
    """An empty cache: roomy where all layers attend to everything, else what transformers makes for the model."""
    return Cache(layer_class_to_replicate=RoomyLayer) if attends_to_all(config) else DynamicCache(config=config)
