"""Rows of tokens -> replies, with one Hugging Face causal language model: the loop that decodes many rows together.

Rows that wait enter the batch as soon as others leave it, each in the place of one that is done. A row is done when it
writes its end token, a stop string or its last allowed token. Greedy replies do not depend on the batch, but for the
rounding of sums; sampled ones draw from a generator of their own, seeded by the request.

Rows of one batch may be written with different LoRA adapters on one base, where the model is one of PEFT's.

What has been read is not read again: see known.py. What all rows of a batch begin with is held once: see attention.py.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from transformers.cache_utils import Cache

from fireact.dialects.tokens import ids_text
from fireact.models import Reply
from fireact.models.attention import SharedPrefix, attends_to_all
from fireact.models.known import NO_PREFIX, NOTHING_KNOWN, Kept, Known, Prefix, common_prefix
from fireact.models.kv_cache import new_cache

SHORTEST_PREFIX = 32
"""Tokens that first turns must have in common before reading them once is worth it."""
BARE = "__base__"
"""PEFT's name for no adapter."""
KEPT_BYTES = 2**30
"""Of keys and values that wait for the next turns of their episodes."""
DONE_SHARE = 1 / 6
"""Of a batch, after which the replies are handed out, so that the next turns can enter."""
FEWEST_WRITING = 0.75
"""Share of the places of a batch below which, if nobody waits, the empty ones are removed: that copies the others."""
MOST_PADDING = 1.5
"""Times the longest row that a batch may be long, before it is cut: that copies all rows."""


@dataclass(frozen=True, eq=False)
class Row:
    """One request as the decoder sees it."""

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    """Where the pieces of the prompt begin: the prompts of earlier turns end at some of these places."""
    stop: tuple[str, ...]
    max_tokens: int
    temperature: float
    seed: int
    adapter: str = ""
    """The name of the adapter that it is written with; empty for the bare base, or for a model without adapters."""


@dataclass
class _Waiting:
    """A row that has no place yet."""

    row: Row
    known: Known | None = None
    """None where nobody has looked yet."""


@dataclass
class _Writing:
    """A row while it is being written."""

    row: Row
    generator: torch.Generator
    ids: list[int] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class _Batch:
    """Rows that are written together. The last token of each is chosen, but not yet read."""

    prefix: Prefix
    """What all rows begin with; cache and mask hold only what follows."""
    cache: Cache
    mask: torch.Tensor
    """Where a row has a token, (places, held)."""
    positions: torch.Tensor
    """Of the token that is read next, (places, 1)."""
    places: list[_Writing | None]
    """None where a row is done."""

    @property
    def writing(self) -> list[tuple[int, _Writing]]:
        """The rows that are not done, with their places."""
        return [(place, writing) for place, writing in enumerate(self.places) if writing is not None]

    @property
    def longest(self) -> int:
        """Tokens of the longest row that is not done, after the prefix."""
        return int(self.mask[[place for place, _ in self.writing]].sum(1).max())


class Decoder:
    """Writes the replies to rows; not for use by two threads at once.

    `add` rows, then `advance` until it `is_idle`; rows may be added between. Models that do not attend to everything
    before, such as those with a sliding window, take in rows only when all others are done, and keep nothing.
    """

    def __init__(self, model: Any, tokenizer: Any, *, num_places: int, kept_bytes: int = KEPT_BYTES) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.num_places = num_places
        self.context = int(getattr(model.config, "max_position_embeddings", None) or 2**31)
        self.kept = Kept(kept_bytes if attends_to_all(model.config) else 0)
        self._has_adapters = hasattr(model, "peft_config")
        self._ends = _end_tokens(model, tokenizer)
        self._pad = self._ends[0] if self._ends else 0
        self._prefix = NO_PREFIX
        self._shared = SharedPrefix(model)
        self._queue: deque[_Waiting] = deque()
        self._batch: _Batch | None = None
        self._closers: dict[tuple[str, ...], frozenset[int]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether all rows are done."""
        return not self._queue and self._batch is None

    @property
    def _joins(self) -> bool:
        """Whether keys and values are cut and joined: to be kept, and to let rows enter while others are written."""
        return self.kept.max_bytes > 0

    def add(self, rows: Iterable[Row]) -> None:
        """Let rows wait for a place."""
        self._queue.extend(_Waiting(row) for row in rows)

    def clear(self) -> None:
        """Give up all rows that are not done."""
        self._queue.clear()
        self._batch = None

    @torch.inference_mode()
    def advance(self) -> list[tuple[Row, Reply]]:
        """Take in rows that wait, and write until some rows are done; those with their replies."""
        done = self._take_in()
        enough = DONE_SHARE * len(self._batch.writing) if self._batch else 0
        while self._batch and len(done) <= enough:
            done += self._step(self._batch)
        return [(writing.row, self._reply(writing)) for writing in done]

    # Entering: what is known of a row is found, and the rest of its prompt is read.

    def _take_in(self) -> list[_Writing]:
        """Fill free places with rows that wait; returns those that are done with their first token."""
        free = self.num_places - len(self._batch.writing if self._batch else ())
        if self._batch and not (self._joins and free):
            return []
        first = list(islice(self._queue, free))
        if not first:
            return []
        begun = time.perf_counter()
        self._look_up(first)
        prefix, knowns = self._fitting([waiting.known or NOTHING_KNOWN for waiting in first])
        rows = [self._queue.popleft().row for _ in knowns]
        return self._enter(self._read(rows, knowns, prefix, begun)) if rows else []

    def _look_up(self, waiting: Sequence[_Waiting]) -> None:
        """Find what is already known of each row: its earlier turns, or else what all first turns begin with."""
        if not self._joins:
            return
        unseen = [one for one in waiting if one.known is None]
        for one in unseen:
            one.known = self.kept.take(one.row.ids, one.row.starts, adapter=one.row.adapter)
        firsts = [one for one in unseen if one.known is None]
        # Few-shot prompts are for a bare base: a student that has an adapter needs none.
        bare = [one.row.ids for one in firsts if not one.row.adapter]
        if len(bare) > 1:
            self._read_prefix(common_prefix(bare))
        for one in firsts:
            one.known = self._beginning(one.row)

    def _beginning(self, row: Row) -> Known:
        """The common beginning of first turns, where the row has it and goes on."""
        ids = self._prefix.ids
        has_it = not row.adapter and len(ids) < len(row.ids) and row.ids[: len(ids)] == ids
        return Known(ids, prefix=self._prefix) if has_it else NOTHING_KNOWN

    def _read_prefix(self, ids: tuple[int, ...]) -> None:
        """Read what first turns have in common, unless nearly all of it is known."""
        known = self._prefix.ids
        if len(ids) < SHORTEST_PREFIX or (known == ids[: len(known)] and len(known) > 0.8 * len(ids)):
            return
        self._shared.layers = ()
        cache = new_cache(self.model.config)
        self._forward([BARE], input_ids=self._tensor([list(ids)]), past_key_values=cache)
        self._prefix = Prefix(ids, tuple((layer.keys[0], layer.values[0]) for layer in cache.layers))

    def _fitting(self, knowns: list[Known]) -> tuple[Prefix, list[Known]]:
        """The prefix of the batch and the rows, in order, that can enter; the one after them waits till it is empty."""
        prefix = self._batch.prefix if self._batch else knowns[0].prefix
        is_one = self._shared.is_possible and all(known.prefix is prefix for known in knowns)
        if is_one:
            return prefix, knowns
        if not self._batch or not prefix.ids:
            return NO_PREFIX, [known.alone() for known in knowns]
        fitting = next(place for place, known in enumerate(knowns) if known.prefix is not prefix)
        return prefix, knowns[:fitting]

    def _read(self, rows: Sequence[Row], knowns: Sequence[Known], prefix: Prefix, begun: float) -> _Batch:
        """Read what is not known of the prompts, and choose the first token of each reply."""
        cache, before = self._assemble(knowns)
        rests = [row.ids[len(known.ids) :] for row, known in zip(rows, knowns, strict=True)]
        longest = max(map(len, rests))
        ids = self._tensor([[self._pad] * (longest - len(rest)) + list(rest) for rest in rests])
        after = self._tensor([[0] * (longest - len(rest)) + [1] * len(rest) for rest in rests])
        mask = torch.cat([before, after], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, before.shape[1] :] + len(prefix.ids)
        writing = [_Writing(row, torch.Generator().manual_seed(row.seed)) for row in rows]
        batch = _Batch(prefix, cache, mask, positions[:, -1:] + 1, list(writing))
        self._choose(batch, self._logits(batch, ids, positions), begun)
        return batch

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

    def _enter(self, new: _Batch) -> list[_Writing]:
        """Give new rows a place in the batch; returns those that are already done."""
        done = self._leave(new)
        if self._batch is None:
            self._batch = new if new.writing else None
        elif new.writing:
            self._make_room(self._batch, num_new=len(new.writing), longest=new.longest)
            self._move(new, self._batch)
        return done

    def _make_room(self, batch: _Batch, *, num_new: int, longest: int) -> None:
        """Rearrange the batch if it has too few places for new rows, is too short for them, or is mostly padding."""
        needed = max(longest, batch.longest)
        held = batch.mask.shape[1]
        num_places = len(batch.writing) + num_new
        if num_places > len(batch.places) or needed > held or held > MOST_PADDING * needed:
            self._rearrange(batch, max(num_places, len(batch.places)), needed)

    def _rearrange(self, batch: _Batch, num_places: int, length: int) -> None:
        """Move the rows that are not done to the first of `num_places`, and hold only the last `length` tokens."""
        places = torch.tensor([place for place, _ in batch.writing], device=batch.mask.device)
        for layer in batch.cache.layers:
            layer.rearrange(places, num_places, length)
        taken = min(length, batch.mask.shape[1])
        mask, positions = batch.mask.new_zeros(num_places, length), batch.positions.new_zeros(num_places, 1)
        mask[: len(places), length - taken :] = batch.mask[places, batch.mask.shape[1] - taken :]
        positions[: len(places)] = batch.positions[places]
        batch.mask, batch.positions = mask, positions
        batch.places = [writing for _, writing in batch.writing] + [None] * (num_places - len(places))

    def _move(self, new: _Batch, batch: _Batch) -> None:
        """Put new rows in free places."""
        free = [place for place, writing in enumerate(batch.places) if writing is None]
        held = batch.mask.shape[1]
        for (origin, writing), place in zip(new.writing, free, strict=False):
            is_there = new.mask[origin].bool()
            start = held - int(is_there.sum())
            for layer, new_layer in zip(batch.cache.layers, new.cache.layers, strict=True):
                layer.put(place, (new_layer.keys[origin][:, is_there], new_layer.values[origin][:, is_there]))
            batch.mask[place, :start], batch.mask[place, start:] = 0, 1
            batch.positions[place] = new.positions[origin]
            batch.places[place] = writing

    # Writing.

    def _step(self, batch: _Batch) -> list[_Writing]:
        """Write one token of every row; returns the rows that are done with it."""
        begun = time.perf_counter()
        ids = self._tensor([[writing.ids[-1] if writing else self._pad] for writing in batch.places])
        batch.mask = torch.cat([batch.mask, batch.mask.new_ones(len(ids), 1)], dim=1)
        logits = self._logits(batch, ids, batch.positions)
        batch.positions = batch.positions + 1
        self._choose(batch, logits, begun)
        done = self._leave(batch)
        if not batch.writing:
            self._batch = None
        elif not self._queue and len(batch.writing) < FEWEST_WRITING * len(batch.places):
            self._shrink(batch)
        return done

    def _logits(self, batch: _Batch, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Read ids (places, new) and give the logits of what follows, (places, vocabulary)."""
        self._shared.layers = batch.prefix.layers
        return self._forward(
            [writing.row.adapter or BARE if writing else BARE for writing in batch.places],
            input_ids=ids,
            attention_mask=batch.mask,
            position_ids=positions,
            past_key_values=batch.cache,
        )

    def _forward(self, adapters: Sequence[str], **inputs: Any) -> torch.Tensor:
        """The logits after the last token of every row, (rows, vocabulary)."""
        named = {"adapter_names": list(adapters)} if self._has_adapters else {}
        logits: torch.Tensor = self.model(**inputs, **named, use_cache=True, logits_to_keep=1).logits[:, -1]
        return logits

    def _choose(self, batch: _Batch, logits: torch.Tensor, begun: float) -> None:
        """Append the next token to every row, and what it took since `begun` to its seconds."""
        tokens = logits.argmax(-1).tolist()
        for place, writing in batch.writing:
            if writing.row.temperature > 0:
                chances = torch.softmax(logits[place].float().cpu() / writing.row.temperature, -1)
                tokens[place] = int(torch.multinomial(chances, 1, generator=writing.generator))
            writing.ids.append(tokens[place])
        seconds = time.perf_counter() - begun
        for _, writing in batch.writing:
            writing.seconds += seconds / len(batch.writing)

    # Leaving.

    def _leave(self, batch: _Batch) -> list[_Writing]:
        """Free the places of rows that are done, and keep what was read and written, but for the last token."""
        done = [(place, writing) for place, writing in batch.writing if self._is_done(writing)]
        for place, writing in done:
            batch.places[place] = None
            if self._joins:
                there = batch.mask[place].bool()
                layers = ((layer.keys[place][:, there], layer.values[place][:, there]) for layer in batch.cache.layers)
                known = Known((*writing.row.ids, *writing.ids[:-1]), tuple(layers), batch.prefix)
                self.kept.keep(writing.row.ids, known, adapter=writing.row.adapter)
        return [writing for _, writing in done]

    def _shrink(self, batch: _Batch) -> None:
        """Remove the places of rows that are done."""
        if self._joins:
            self._rearrange(batch, len(batch.writing), batch.longest)
            return
        places = torch.tensor([place for place, _ in batch.writing], device=batch.mask.device)
        batch.cache.batch_select_indices(places)
        batch.mask, batch.positions = batch.mask[places], batch.positions[places]
        batch.places = [writing for _, writing in batch.writing]

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

    def _reply(self, writing: _Writing) -> Reply:
        ids = writing.ids[:-1] if writing.ids[-1] in self._ends else writing.ids
        text = ids_text(ids, self.tokenizer)
        for stop in writing.row.stop:
            text = text.partition(stop)[0]
        return Reply(text, len(writing.row.ids), len(writing.ids), writing.seconds)

    def _tensor(self, values: list[list[int]]) -> torch.Tensor:
        return torch.tensor(values, device=self.model.device)


def _end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Tokens that end a reply: the tokenizer's, then the further ones of the model's generation settings."""
    further = getattr(model.generation_config, "eos_token_id", None)
    every = [tokenizer.eos_token_id, *(further if isinstance(further, list) else [further])]
    return tuple(dict.fromkeys(token for token in every if token is not None))
