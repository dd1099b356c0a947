"""Attention while decoding: the keys and values of a prompt that rows have in common are held only once.

Rows that begin with the same prompt attend to one copy of its keys and values. For a row that writes one token, the
scores against the prompt are one matrix product over all rows; the scores against the row's own tokens are put beside
them, and one softmax goes over both. The result is that of ordinary attention but for the order of sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one layer for some tokens of one row, (heads, tokens, size)."""
MOST_SCORES = 2**26
"""Scores of one layer that are held at once; where there would be more, the prefix is copied for each row instead."""
ATTENTION = "fireact-shared-prefix"
"""The name under which transformers finds the attention of this module."""


def attends_to_all(config: Any) -> bool:
    """Whether every layer attends to everything before, so that keys and values can be cut and joined at will."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return kinds == {"full_attention"} and getattr(config, "sliding_window", None) is None


class SharedPrefix:
    """A prompt that all rows of a batch begin with, as the attention modules of one model see it.

    While `layers` is empty, their attention is plain scaled dot-product attention. Otherwise the cache holds what
    follows the prompt, and so do the mask and the lengths that the model sees; position ids count from its beginning.
    """

    def __init__(self, model: Any) -> None:
        self.layers: Sequence[KeysValues] = ()
        self.is_possible = model.config._attn_implementation == "sdpa" and attends_to_all(model.config)
        if self.is_possible:
            for module in model.modules():
                if hasattr(module, "layer_idx"):
                    module.shared_prefix = self
            model.set_attn_implementation(ATTENTION)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers asks of an attention: (rows, heads, new, size) -> (rows, new, heads, size)."""
    layers = module.shared_prefix.layers
    if layers:
        of_prefix = layers[module.layer_idx]
        rows, heads, new, size = query.shape
        if rows * heads * new * (of_prefix[0].shape[1] + key.shape[2]) <= MOST_SCORES:
            scale = size**-0.5 if scaling is None else scaling
            return _attend_once(query * scale, of_prefix, (key, value), attention_mask), None
        key, value = (
            torch.cat([shared.expand(rows, -1, -1, -1), own], dim=2)
            for shared, own in zip(of_prefix, (key, value), strict=True)
        )
        all_of_it = attention_mask.new_ones(*attention_mask.shape[:3], of_prefix[0].shape[1])
        attention_mask = torch.cat([all_of_it, attention_mask], dim=3)
    attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return attended, None


def _attend_once(query: torch.Tensor, of_prefix: KeysValues, own: KeysValues, mask: torch.Tensor) -> torch.Tensor:
    """Attention to one prefix and to each row's own tokens.

    query: (rows, heads, new, size), scaled; mask: (rows, 1, new, held).
    """
    rows, heads, new, size = query.shape
    (keys, values), (own_keys, own_values) = of_prefix, own
    groups, length, _ = keys.shape
    query = query.reshape(rows, groups, -1, size)
    together = query.transpose(0, 1).reshape(groups, -1, size)
    scores = (together @ keys.transpose(1, 2)).view(groups, rows, -1, length).transpose(0, 1)
    own_scores = query @ own_keys.transpose(2, 3)
    is_hidden = ~mask.expand(-1, heads // groups, -1, -1).reshape(rows, 1, -1, mask.shape[3])
    own_scores.masked_fill_(is_hidden, -math.inf)
    chances = torch.cat([scores, own_scores], dim=3).softmax(dim=3, dtype=torch.float32).to(query.dtype)
    of_both = chances[..., :length].transpose(0, 1).reshape(groups, -1, length) @ values
    attended = of_both.view(groups, rows, -1, size).transpose(0, 1) + chances[..., length:] @ own_values
    return attended.reshape(rows, heads, new, size).transpose(1, 2).contiguous()


def _whole_mask(*args: Any, **kwargs: Any) -> torch.Tensor:
    """The mask of scaled dot-product attention, written out also where that could do without."""
    mask: torch.Tensor = sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False})
    return mask


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, _whole_mask)
