"""Local models: many requests decoded together by a Hugging Face causal language model, with or without LoRA.

Requests that wait at the same moment make one left-padded batch, those of like lengths together. A row leaves the batch
when it writes its end token, a stop string or its last allowed token. Greedy replies do not depend on the batch;
sampled ones draw from a generator of their own, seeded by the request.

What has been read is not read again: the keys and values of an episode are kept until its next turn, which begins with
the same tokens, and those of what all first turns begin with (a few-shot prompt) for as long as the model lives.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.utils import logging as transformers_logging

from fireact.dialects.tokens import ids_text, piece_tokens
from fireact.errors import ConfigError, ModelError
from fireact.memory import keep_freed_memory
from fireact.models import Reply, Request
from fireact.models.weights import LocalConfig, find_weights, read_adapter_card

SHORTEST_PREFIX = 32
"""Tokens that first turns must have in common before reading them once is worth the copies."""
KEPT_BYTES = 2**30
"""Of keys and values that wait for the next turns of their episodes; beyond it, the oldest are dropped."""


class LocalModel:
    """A model in this process; see LocalConfig."""

    def __init__(self, config: LocalConfig) -> None:
        card = read_adapter_card(config.adapter) if config.adapter else {}
        weights = find_weights(config.path)
        self.name = config.path if config.adapter is None else f"{config.path} + {config.adapter}"
        self.batch_size = config.batch_size
        self.end_of_turn = bool(card.get("end_of_turn")) if config.end_of_turn is None else config.end_of_turn
        self.tokenizer, model = _load(weights, config)
        self.decoder = Decoder(model, self.tokenizer)
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None

    async def reply(self, request: Request) -> Reply:
        """Wait for a place in a batch, and for the batch."""
        tokens = piece_tokens(request.pieces, self.tokenizer, end_of_turn=self.end_of_turn)
        ids = tokens.ids
        room = self.decoder.context - len(ids)
        if room < 1:
            raise ModelError(f"the prompt has {len(ids)} tokens, the context of {self.name} {self.decoder.context}")
        limit = min(room, request.max_tokens)
        row = Row(ids, tokens.starts, request.stop, limit, request.temperature, request.seed)
        waiting = _Waiting(row, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await waiting.future

    async def close(self) -> None:
        """Stop the worker; requests that still wait are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
        for waiting in self._waiting:
            waiting.future.cancel()

    async def _work(self) -> None:
        while self._waiting:
            await self._let_all_ask()
            self._waiting.sort(key=lambda waiting: len(waiting.row.ids))
            batch, self._waiting = self._waiting[: self.batch_size], self._waiting[self.batch_size :]
            try:
                replies = await asyncio.to_thread(self.decoder.decode, [waiting.row for waiting in batch])
            except Exception as error:  # every request of the batch must hear of it, or it would wait for ever
                for waiting in batch:
                    waiting.fail(ModelError(f"{self.name}: {type(error).__name__}: {error}"))
            else:
                for waiting, reply in zip(batch, replies, strict=True):
                    waiting.succeed(reply)

    async def _let_all_ask(self) -> None:
        """Go round the event loop until nobody new has come to wait."""
        num_seen = -1
        while num_seen != len(self._waiting):
            num_seen = len(self._waiting)
            await asyncio.sleep(0)


@dataclass(frozen=True)
class _Waiting:
    row: Row
    future: asyncio.Future[Reply]

    def succeed(self, reply: Reply) -> None:
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: ModelError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


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


@dataclass(frozen=True)
class Known:
    """Tokens whose keys and values are known."""

    ids: tuple[int, ...]
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    """Keys and values of each layer, (heads, ids, size)."""

    @property
    def num_bytes(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)

    def first(self, length: int) -> Known:
        """Of the first so many tokens alone."""
        layers = tuple((keys[:, :length], values[:, :length]) for keys, values in self.layers)
        return Known(self.ids[:length], layers)


NOTHING_KNOWN = Known((), ())


class Decoder:
    """Rows of tokens -> replies, with one model. Not for use by two threads at once."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context = int(getattr(model.config, "max_position_embeddings", None) or 2**31)
        self._ends = _end_tokens(model, tokenizer)
        self._kept: OrderedDict[tuple[int, ...], Known] = OrderedDict()
        self._kept_bytes = 0
        self._prefix = NOTHING_KNOWN
        self._keeps = _attends_to_all(model.config)
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
        cache, before = self._assemble(knowns)
        rests = [row.ids[len(known.ids) :] for row, known in zip(rows, knowns, strict=True)]
        longest = max(map(len, rests))
        pad = self._ends[0] if self._ends else 0
        ids = self._tensor([[pad] * (longest - len(rest)) + list(rest) for rest in rests])
        after = self._tensor([[0] * (longest - len(rest)) + [1] * len(rest) for rest in rests])
        mask = torch.cat([before, after], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, before.shape[1] :]
        active = [_Writing(row, index, self._generator(row)) for index, row in enumerate(rows)]
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
            for writing, token in zip(active, self._choose(logits, active), strict=True):
                writing.ids.append(token)
            keep = [place for place, writing in enumerate(active) if not self._is_done(writing)]
            for place in sorted(set(range(len(active))) - set(keep)):
                self._keep(active[place], cache, place, mask[place].bool())
                done.append(active[place])
            if not keep:
                return done
            positions = positions[:, -1:] + 1
            if len(keep) < len(active):
                chosen = torch.tensor(keep, device=mask.device)
                cache.batch_select_indices(chosen)
                mask, positions = mask[chosen], positions[chosen]
                active = [active[place] for place in keep]
            ids = self._tensor([[writing.ids[-1]] for writing in active])
            mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)

    def _known(self, rows: Sequence[Row]) -> list[Known]:
        """For each row what is already known of it: its earlier turns, or else what all first turns begin with."""
        if not self._keeps:
            return [NOTHING_KNOWN] * len(rows)
        earlier = [self._take(row) for row in rows]
        firsts = [row.ids for row, known in zip(rows, earlier, strict=True) if known is None]
        if firsts:
            self._read_prefix(_common_prefix(firsts) if len(firsts) > 1 else ())
        return [known or self._shared(row) for row, known in zip(rows, earlier, strict=True)]

    def _shared(self, row: Row) -> Known:
        """The common beginning of first turns, where the row has it and goes on."""
        length = len(self._prefix.ids)
        return self._prefix if length < len(row.ids) and row.ids[:length] == self._prefix.ids else NOTHING_KNOWN

    def _take(self, row: Row) -> Known | None:
        """What was kept of the last turn of the row's episode, as far as the row begins with it."""
        for start in reversed(row.starts):
            known = self._kept.pop(row.ids[:start], None)
            if known is not None:
                self._kept_bytes -= known.num_bytes
                return known.first(len(_common_prefix([known.ids, row.ids])))
        return None

    def _keep(self, writing: _Writing, cache: Cache, place: int, is_there: torch.Tensor) -> None:
        """Keep what a finished row has read and written, but for its last token, under the row's prompt."""
        if not self._keeps:
            return
        layers = tuple((layer.keys[place][:, is_there], layer.values[place][:, is_there]) for layer in cache.layers)
        known = Known((*writing.row.ids, *writing.ids[:-1]), layers)
        self._kept[writing.row.ids] = known
        self._kept_bytes += known.num_bytes
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= self._kept.popitem(last=False)[1].num_bytes

    def _read_prefix(self, prefix: tuple[int, ...]) -> None:
        """Read what first turns have in common, unless nearly all of it is known."""
        known = self._prefix.ids
        if len(prefix) < SHORTEST_PREFIX or (known == prefix[: len(known)] and len(known) > 0.8 * len(prefix)):
            return
        cache = new_cache(self.model.config)
        self.model(input_ids=self._tensor([list(prefix)]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        self._prefix = Known(prefix, tuple((layer.keys[0], layer.values[0]) for layer in cache.layers))

    def _assemble(self, knowns: Sequence[Known]) -> tuple[Cache, torch.Tensor]:
        """A cache that holds what is known of each row, padded on the left, and where it is padded (rows, known)."""
        cache = new_cache(self.model.config)
        width = max(len(known.ids) for known in knowns)
        mask = self._tensor([[0] * (width - len(known.ids)) + [1] * len(known.ids) for known in knowns])
        longest = max(knowns, key=lambda known: len(known.ids))
        for number, (like, _) in enumerate(longest.layers):
            for_all = like.new_zeros(2, len(knowns), like.shape[0], width, like.shape[-1])
            for place, known in enumerate(knowns):
                if known.ids:
                    for kind in (0, 1):
                        for_all[kind, place, :, width - len(known.ids) :] = known.layers[number][kind]
            cache.update(for_all[0], for_all[1], number)
        return cache, mask

    def _choose(self, logits: torch.Tensor, active: Sequence[_Writing]) -> list[int]:
        """The next token of each row; `logits` is (rows, vocabulary)."""
        tokens = logits.argmax(-1).tolist()
        for place, writing in enumerate(active):
            if writing.generator is not None:
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


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """Keys and values of one layer, in a buffer with room to grow: adding a token copies that token only."""

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

    def _append(self, name: str, held: torch.Tensor, new: torch.Tensor, start: int) -> torch.Tensor:
        end = start + new.shape[-2]
        buffer = getattr(self, name, None)
        if buffer is None or buffer.shape[0] != new.shape[0] or buffer.shape[-2] < end:
            room = 64 * math.ceil((end + 64) / 64)
            buffer = new.new_empty(*new.shape[:-2], room, new.shape[-1])
            if start:
                buffer[:, :, :start] = held
            setattr(self, name, buffer)
        buffer[:, :, start:end] = new
        return buffer[:, :, :end]


def new_cache(config: Any) -> Cache:
    """An empty cache: roomy where all layers attend to everything, else what transformers makes for the model."""
    return Cache(layer_class_to_replicate=RoomyLayer) if _attends_to_all(config) else DynamicCache(config=config)


def _attends_to_all(config: Any) -> bool:
    """Whether every layer attends to everything before, so that keys and values can be cut and joined at will."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return kinds == {"full_attention"} and getattr(config, "sliding_window", None) is None


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


def _load(weights: str, config: LocalConfig) -> tuple[Any, Any]:
    """Tokenizer and model, the adapter merged into it.

    Raises:
        ConfigError: the weights or the adapter cannot be loaded.
    """
    transformers_logging.disable_progress_bar()
    device = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    automatic = torch.bfloat16 if device.startswith("cuda") else torch.float32
    if device == "cpu":
        keep_freed_memory()
    dtype = automatic if config.dtype == "auto" else getattr(torch, config.dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(weights, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(weights, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"model {config.path}: cannot be loaded ({reason}); give a folder or a hub name") from error
    if config.adapter is not None:
        try:
            model = PeftModel.from_pretrained(model, config.adapter).merge_and_unload()
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"adapter {config.adapter}: does not fit {config.path} ({reason})") from error
    return tokenizer, model.to(device).eval()
