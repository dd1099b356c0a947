"""Local models: a Hugging Face causal language model in this process, with or without LoRA.

Requests that wait at the same moment are decoded together, those of like lengths in one batch; see decoder.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from fireact.dialects.tokens import piece_tokens
from fireact.errors import ConfigError, ModelError
from fireact.memory import keep_freed_memory
from fireact.models import Reply, Request
from fireact.models.decoder import Decoder, Row
from fireact.models.weights import LocalConfig, find_weights, read_adapter_card


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
