"""Rows of tokens -> replies, with one Hugging Face causal language model: the loop that decodes many rows together.

Rows of one call make one left-padded batch. A row is done when it writes its end token, a stop string or its last
allowed token. Greedy replies do not depend on the batch; sampled ones draw from a generator of their own, seeded by the
request.

What has been read is not read again: the keys and values of an episode are kept until its next turn, which begins with
the same tokens, and those of what all first turns begin with (a few-shot prompt) for as long as the model lives. The
latter are held once for all rows of a batch.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache

from fireact.dialects.tokens import ids_text
from fireact.models import Reply
from fireact.models.attention import KeysValues, SharedPrefix, attends_to_all, new_cache

SHORTEST_PREFIX = 32
"""Tokens that first turns must have in common before reading them once is worth it."""
KEPT_BYTES = 2**30
"""Of keys and values that wait for the next turns of their episodes; beyond it, the oldest are dropped."""
FEWEST_GOING_ON = 0.75
"""Share of a batch that still writes, below which the rows that are done are taken out: that copies all others."""


@dataclass(frozen=True)
class Row:
    """One request as the decoder sees it."""

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    """Where the pieces of the prompt begin: the prompts of earlier turns end at some of these places."""
    stop: tuple[str, ...]
    max_tokens: int
    temperature: float
    seed: int


@dataclass
class _Writing:
    """A row while it is being written."""

    row: Row
    index: int
    """Place of the row's reply in the answer."""
    generator: torch.Generator | None
    ids: list[int] = field(default_factory=list)
    is_done: bool = False


@dataclass(frozen=True)
class Prefix:
    """Tokens that many rows begin with, and their keys and values."""

    ids: tuple[int, ...]
    layers: tuple[KeysValues, ...]


NO_PREFIX = Prefix((), ())


@dataclass(frozen=True)
class Known:
    """Tokens whose keys and values are known: those of a prefix, which many rows share, and then those of one row."""

    ids: tuple[int, ...]
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
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)

    def first(self, length: int) -> Known:
        """Of the first so many tokens alone, not fewer than the prefix has."""
        own = length - len(self.prefix.ids)
        return Known(
            self.ids[:length], tuple((keys[:, :own], values[:, :own]) for keys, values in self.layers), self.prefix
        )

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


class Decoder:
    """Rows of tokens -> replies, with one model. Not for use by two threads at once."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context = int(getattr(model.config, "max_position_embeddings", None) or 2**31)
        self._ends = _end_tokens(model, tokenizer)
        self._kept: OrderedDict[tuple[int, ...], Known] = OrderedDict()
        self._kept_bytes = 0
        self._prefix = NO_PREFIX
        self._keeps = attends_to_all(model.config)
        self._shared = SharedPrefix(model)
        self._closers: dict[tuple[str, ...], frozenset[int]] = {}

    @torch.inference_mode()
    def decode(self, rows: Sequence[Row]) -> list[Reply]:
        """Replies in the order of the rows."""
        begun = time.perf_counter()
        written: list[_Writing | None] = [None] * len(rows)
        for writing in self._write(rows):
            written[writing.index] = writing
        seconds = (time.perf_counter() - begun) / len(rows)
        return [self._reply(writing, seconds) for writing in written if writing is not None]

    def _write(self, rows: Sequence[Row]) -> list[_Writing]:
        """All rows with the tokens they wrote, in the order in which they were done."""
        knowns = self._known(rows)
        prefix = knowns[0].prefix
        cache, before = self._assemble(knowns)
        rests = [row.ids[len(known.ids) :] for row, known in zip(rows, knowns, strict=True)]
        longest = max(map(len, rests))
        pad = self._ends[0] if self._ends else 0
        ids = self._tensor([[pad] * (longest - len(rest)) + list(rest) for rest in rests])
        after = self._tensor([[0] * (longest - len(rest)) + [1] * len(rest) for rest in rests])
        mask = torch.cat([before, after], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, before.shape[1] :] + len(prefix.ids)
        self._shared.layers = prefix.layers
        held = [_Writing(row, index, self._generator(row)) for index, row in enumerate(rows)]
        done: list[_Writing] = []
        while True:
            logits = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            tokens = self._choose(logits, held)
            for place in [place for place, writing in enumerate(held) if not writing.is_done]:
                held[place].ids.append(tokens[place])
                if self._is_done(held[place]):
                    held[place].is_done = True
                    self._keep(held[place], prefix, cache, place, mask[place].bool())
                    done.append(held[place])
            going_on = [place for place, writing in enumerate(held) if not writing.is_done]
            if not going_on:
                return done
            positions = positions[:, -1:] + 1
            if len(going_on) < FEWEST_GOING_ON * len(held):
                chosen = torch.tensor(going_on, device=mask.device)
                cache.batch_select_indices(chosen)
                mask, positions = mask[chosen], positions[chosen]
                held = [held[place] for place in going_on]
            ids = self._tensor([[writing.ids[-1]] for writing in held])
            mask = torch.cat([mask, mask.new_ones(len(held), 1)], dim=1)

    def _known(self, rows: Sequence[Row]) -> list[Known]:
        """For each row what is already known of it: its earlier turns, or else what all first turns begin with.

        All of them have the same prefix.
        """
        if not self._keeps:
            return [NOTHING_KNOWN] * len(rows)
        earlier = [self._take(row) for row in rows]
        firsts = [row.ids for row, known in zip(rows, earlier, strict=True) if known is None]
        if firsts:
            self._read_prefix(_common_prefix(firsts) if len(firsts) > 1 else ())
        knowns = [known or self._beginning(row) for row, known in zip(rows, earlier, strict=True)]
        is_one = self._shared.is_possible and all(known.prefix is knowns[0].prefix for known in knowns)
        return knowns if is_one else [known.alone() for known in knowns]

    def _beginning(self, row: Row) -> Known:
        """The common beginning of first turns, where the row has it and goes on."""
        prefix = self._prefix
        length = len(prefix.ids)
        has_it = length < len(row.ids) and row.ids[:length] == prefix.ids
        return Known(prefix.ids, prefix=prefix) if has_it else NOTHING_KNOWN

    def _take(self, row: Row) -> Known | None:
        """What was kept of the last turn of the row's episode, as far as the row begins with it."""
        for start in reversed(row.starts):
            known = self._kept.pop(row.ids[:start], None)
            if known is not None:
                self._kept_bytes -= known.num_bytes
                return known.first(len(_common_prefix([known.ids, row.ids])))
        return None

    def _keep(self, writing: _Writing, prefix: Prefix, cache: Cache, place: int, is_there: torch.Tensor) -> None:
        """Keep what a finished row has read and written, but for its last token, under the row's prompt."""
        if not self._keeps:
            return
        layers = tuple((layer.keys[place][:, is_there], layer.values[place][:, is_there]) for layer in cache.layers)
        known = Known((*writing.row.ids, *writing.ids[:-1]), layers, prefix)
        self._kept[writing.row.ids] = known
        self._kept_bytes += known.num_bytes
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= self._kept.popitem(last=False)[1].num_bytes

    def _read_prefix(self, ids: tuple[int, ...]) -> None:
        """Read what first turns have in common, unless nearly all of it is known."""
        known = self._prefix.ids
        if len(ids) < SHORTEST_PREFIX or (known == ids[: len(known)] and len(known) > 0.8 * len(ids)):
            return
        self._shared.layers = ()
        cache = new_cache(self.model.config)
        self.model(input_ids=self._tensor([list(ids)]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        self._prefix = Prefix(ids, tuple((layer.keys[0], layer.values[0]) for layer in cache.layers))

    def _assemble(self, knowns: Sequence[Known]) -> tuple[Cache, torch.Tensor]:
        """A cache of what is known of each row after the prefix, padded on the left, and where it is (rows, known)."""
        cache = new_cache(self.model.config)
        width = max(known.num_own for known in knowns)
        mask = self._tensor([[0] * (width - known.num_own) + [1] * known.num_own for known in knowns])
        longest = max(knowns, key=lambda known: known.num_own)
        for number, (like, _) in enumerate(longest.layers):
            for_all = like.new_zeros(2, len(knowns), like.shape[0], width, like.shape[-1])
            for place, known in enumerate(knowns):
                if known.num_own:
                    for kind in (0, 1):
                        for_all[kind, place, :, width - known.num_own :] = known.layers[number][kind]
            cache.update(for_all[0], for_all[1], number)
        return cache, mask

    def _choose(self, logits: torch.Tensor, held: Sequence[_Writing]) -> list[int]:
        """The next token of each row; `logits` is (rows, vocabulary)."""
        tokens = logits.argmax(-1).tolist()
        for place, writing in enumerate(held):
            if writing.generator is not None and not writing.is_done:
                chances = torch.softmax(logits[place].float().cpu() / writing.row.temperature, -1)
                tokens[place] = int(torch.multinomial(chances, 1, generator=writing.generator))
        return list(tokens)

    def _is_done(self, writing: _Writing) -> bool:
        token = writing.ids[-1]
        if token in self._ends or len(writing.ids) >= writing.row.max_tokens:
            return True
        if token not in self._tokens_that_close(writing.row.stop):
            return False
        text = ids_text(writing.ids, self.tokenizer)
        return any(stop in text for stop in writing.row.stop)

    def _tokens_that_close(self, stop: tuple[str, ...]) -> frozenset[int]:
        """Tokens after which a stop string can be complete: those that hold the last character of one, or may."""
        if stop not in self._closers:
            lasts = {text[-1] for text in stop}
            texts = ((token, ids_text([token], self.tokenizer)) for token in range(len(self.tokenizer)))
            self._closers[stop] = frozenset(
                token for token, text in texts if "\ufffd" in text or not lasts.isdisjoint(text)
            )
        return self._closers[stop]

    def _reply(self, writing: _Writing, seconds: float) -> Reply:
        ids = writing.ids[:-1] if writing.ids[-1] in self._ends else writing.ids
        text = ids_text(ids, self.tokenizer)
        for stop in writing.row.stop:
            text = text.partition(stop)[0]
        return Reply(text, len(writing.row.ids), len(writing.ids), seconds)

    def _generator(self, row: Row) -> torch.Generator | None:
        return torch.Generator().manual_seed(row.seed) if row.temperature > 0 else None

    def _tensor(self, values: list[list[int]]) -> torch.Tensor:
        return torch.tensor(values, device=self.model.device)


def _common_prefix(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """What all rows begin with, leaving each at least one token to read."""
    first, last = min(rows), max(rows)
    limit = min(map(len, rows)) - 1
    length = next((place for place in range(limit) if first[place] != last[place]), limit)
    return first[:length]


def _end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Tokens that end a reply: the tokenizer's, then the further ones of the model's generation settings."""
    further = getattr(model.generation_config, "eos_token_id", None)
    every = [tokenizer.eos_token_id, *(further if isinstance(further, list) else [further])]
    return tuple(dict.fromkeys(token for token in every if token is not None))
