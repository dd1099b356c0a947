"""Examples -> padded tensors, and the loss on what is trained. The only module of this room that needs torch.

The output layer of a model costs tokens x vocabulary, and only about half of the tokens are trained. `TrainedPositions`
hands it the hidden states of the others' predecessors alone: same loss, same gradients, less time and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fireact.encoding.encode import Encoded

IGNORED = -100
"""The label of a token that is not trained, as in transformers."""
PADDING = 0
"""Any id serves: padded positions are neither read nor trained."""


def collate(rows: Sequence[Encoded]) -> dict[str, Tensor]:
    """One batch, padded on the right.

    Returns:
        `input_ids` (rows, tokens); `labels` (rows, tokens), the id itself where it is trained and -100 elsewhere;
        `predicts` (rows, tokens), True where the next token is trained. There is no attention mask: a causal model
        never looks to the right, where the padding is, and attends faster without one.
    """
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), PADDING)
    is_trained = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        is_trained[index, : len(row.ids)] = torch.tensor(row.mask)
    is_trained[:, 0] = False
    return {
        "input_ids": ids,
        "labels": ids.masked_fill(~is_trained, IGNORED),
        "predicts": is_trained.roll(-1, dims=1),
    }


class TrainedPositions:
    """Makes a causal language model compute logits only where `predicts` is True: (predicted, vocabulary).

    The model then takes `predicts` as one more keyword.
    """

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        self._predicts: Tensor | None = None
        model.register_forward_pre_hook(self._take, with_kwargs=True)
        head.register_forward_pre_hook(self._select)

    def _take(self, model: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self._predicts = kwargs.pop("predicts")
        return args, kwargs

    def _select(self, head: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        assert self._predicts is not None
        return (args[0][self._predicts],)


def trained_loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Mean cross-entropy in nats over the trained tokens.

    Args:
        outputs: has `logits` (trained, vocabulary), as `TrainedPositions` makes them.
        labels: (rows, tokens), -100 where nothing is trained.
        num_items_in_batch: trained tokens of all batches that make one update; those of this batch where None.
    """
    targets = labels[labels != IGNORED]
    total = nn.functional.cross_entropy(outputs.logits.float(), targets, reduction="sum")
    return total / (len(targets) if num_items_in_batch is None else num_items_in_batch)
