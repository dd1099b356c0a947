"""Local models: many requests decoded together by a Hugging Face causal language model, with or without LoRA.

Requests that wait at the same moment make one left-padded batch, those of like lengths together. What all rows of a
batch begin with (a few-shot prompt) is read once and kept for the next batch. A row leaves the batch when it writes
its end token, a stop string or its last allowed token. Greedy replies do not depend on the batch; sampled ones draw
from a generator of their own, seeded by the request.
"""

from __future__ import annotations

import asyncio
import math
import time
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
"""Tokens that a batch must have in common before reading them once is worth the copies."""


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
        ids = piece_tokens(request.pieces, self.tokenizer, end_of_turn=self.end_of_turn).ids
        room = self.decoder.context - len(ids)
        if room < 1:
            raise ModelError(f"the prompt has {len(ids)} tokens, the context of {self.name} {self.decoder.context}")
        row = Row(ids, request.stop, min(room, request.max_tokens), request.temperature, request.seed)
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


class Decoder:
    """Rows of tokens -> replies, with one model. Not for use by two threads at once."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context = int(getattr(model.config, "max_position_embeddings", None) or 2**31)
        self._ends = _end_tokens(model, tokenizer)
        self._prefix: tuple[tuple[int, ...], Cache] | None = None
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
        prefix = _common_prefix([row.ids for row in rows])
        cache, num_shared = self._read_prefix(prefix, len(rows))
        rests = [row.ids[num_shared:] for row in rows]
        longest = max(map(len, rests))
        pad = self._ends[0] if self._ends else 0
        ids = self._tensor([[pad] * (longest - len(rest)) + list(rest) for rest in rests])
        mask = self._tensor([[1] * num_shared + [0] * (longest - len(rest)) + [1] * len(rest) for rest in rests])
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, num_shared:]
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
            done += [writing for place, writing in enumerate(active) if place not in set(keep)]
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

    def _read_prefix(self, prefix: tuple[int, ...], num_rows: int) -> tuple[Cache, int]:
        """A cache for so many rows that holds what they share, and how many tokens that is."""
        if num_rows == 1 or len(prefix) < SHORTEST_PREFIX:
            return new_cache(self.model.config), 0
        known = self._prefix[0] if self._prefix else ()
        if not (known == prefix[: len(known)] and len(known) > 0.8 * len(prefix)):
            cache = new_cache(self.model.config)
            self.model(input_ids=self._tensor([list(prefix)]), past_key_values=cache, use_cache=True, logits_to_keep=1)
            self._prefix, known = (prefix, cache), prefix
        assert self._prefix is not None
        cache = new_cache(self.model.config)
        for number, layer in enumerate(self._prefix[1].layers):
            shape = (num_rows, -1, -1, -1)
            cache.update(layer.keys.expand(shape), layer.values.expand(shape), number)
        return cache, len(known)

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
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds == {"full_attention"} and getattr(config, "sliding_window", None) is None:
        return Cache(layer_class_to_replicate=RoomyLayer)
    return DynamicCache(config=config)


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
