"""Local models: a Hugging Face causal language model in this process, with or without LoRA.

Requests that are awaited at once are decoded together; see decoder.py.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from fireact.dialects.tokens import piece_tokens
from fireact.errors import ConfigError, ModelError
from fireact.memory import keep_freed_memory
from fireact.models import Reply, Request
from fireact.models.decoder import Decoder, Row
from fireact.models.weights import LocalConfig, find_weights, fingerprint, first_line, read_adapter_card


class LocalModel:
    """A model in this process; see LocalConfig. Several of them may write with one engine."""

    def __init__(self, config: LocalConfig, engine: Engine | None = None, *, adapter: str = "") -> None:
        """
        Args:
            engine: loaded here where None, with the adapter of the config merged into the weights.
            adapter: under which name the engine has the adapter, where it is not merged.
        """
        card = read_adapter_card(config.adapter) if config.adapter else {}
        weights = find_weights(config.path)
        trained_on = card.get("base_fingerprint")
        if trained_on and fingerprint(weights) not in ("", trained_on):
            raise ConfigError(
                f"adapter {config.adapter}: was trained on another base than {config.path}; give the one that its "
                f"card names, {card.get('base')!r}, as it was then"
            )
        self.name = config.path if config.adapter is None else f"{config.path} + {config.adapter}"
        self.end_of_turn = bool(card.get("end_of_turn")) if config.end_of_turn is None else config.end_of_turn
        self.adapter = adapter
        self.engine = engine or Engine(*_load(weights, config), name=self.name, num_places=config.batch_size)

    async def reply(self, request: Request) -> Reply:
        """Wait for a place in the batch, and for the last token."""
        tokens = piece_tokens(request.pieces, self.engine.tokenizer, end_of_turn=self.end_of_turn)
        ids = tokens.ids
        room = self.engine.decoder.context - len(ids)
        if room < 1:
            raise ModelError(
                f"the prompt has {len(ids)} tokens, the context of {self.name} {self.engine.decoder.context}; "
                "shorten the prompt, or lower max_steps or what a tool shows"
            )
        return await self.engine.write(
            Row(
                ids,
                tokens.starts,
                request.stop,
                min(room, request.max_tokens),
                request.temperature,
                request.seed,
                self.adapter,
            )
        )

    async def close(self) -> None:
        """Stop the engine; requests that still wait are cancelled."""
        await self.engine.close()


class Engine:
    """A decoder in a thread of its own, for all who wait on one event loop."""

    def __init__(self, tokenizer: Any, model: Any, *, name: str, num_places: int) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.decoder = Decoder(model, tokenizer, num_places=num_places)
        self._new: list[Row] = []
        self._futures: dict[Row, asyncio.Future[Reply]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def write(self, row: Row) -> Reply:
        """Wait until a row is written."""
        self._new.append(row)
        self._futures[row] = asyncio.get_running_loop().create_future()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await self._futures[row]

    async def close(self) -> None:
        """Stop the worker; requests that still wait are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
        for future in self._futures.values():
            future.cancel()

    async def _work(self) -> None:
        while self._new or not self.decoder.is_idle:
            await self._let_all_ask()
            self.decoder.add(self._new)
            self._new = []
            try:
                done = await asyncio.to_thread(self.decoder.advance)
            except Exception as error:  # every request in hand must hear of it, or it would wait for ever
                self._fail(ModelError(f"{self.name}: {type(error).__name__}: {error}"))
            else:
                for row, reply in done:
                    self._end(row, reply)

    def _fail(self, error: ModelError) -> None:
        """Give up every request but those that came in the meantime, which the decoder has not seen."""
        self.decoder.clear()
        for row in self._futures.keys() - set(self._new):
            self._end(row, error)

    def _end(self, row: Row, outcome: Reply | ModelError) -> None:
        """Tell whoever asked, unless they have gone."""
        future = self._futures.pop(row)
        if future.done():
            return
        if isinstance(outcome, ModelError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    async def _let_all_ask(self) -> None:
        """Go round the event loop until nobody new has come to wait."""
        num_seen = -1
        while num_seen != len(self._new):
            num_seen = len(self._new)
            await asyncio.sleep(0)


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
        model = load_causal_model(weights, dtype)
    except Exception as error:  # whatever transformers stumbles over in a folder, the folder is what is wrong
        reason = first_line(error)
        raise ConfigError(f"model {config.path}: cannot be loaded ({reason}); give a folder or a hub name") from error
    if config.adapter is not None:
        model = _merged(model, config.adapter, config.path)
    try:
        return tokenizer, model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"model {config.path}: device {device!r} cannot be used ({first_line(error)})") from error


def open_together(configs: Sequence[LocalConfig]) -> tuple[LocalModel, ...]:
    """Models that differ in their adapters alone, on one base and in one batch: the adapters stay beside the weights.

    Raises:
        ConfigError: the base or an adapter cannot be loaded.
    """
    first = configs[0]
    paths = sorted({config.adapter for config in configs if config.adapter is not None})
    names = {path: f"adapter-{number}" for number, path in enumerate(paths)}
    weights = find_weights(first.path)
    tokenizer, model = _load(weights, first.model_copy(update={"adapter": None}))
    for path, name in names.items():
        model = _beside(model, path, name, first.path)
    engine = Engine(tokenizer, model.eval(), name=first.path, num_places=first.batch_size)
    return tuple(LocalModel(config, engine, adapter=names.get(config.adapter or "", "")) for config in configs)


def load_config(weights: str) -> Any:
    """The configuration of a folder or hub name, a small file.

    Raises:
        ConfigError: there is none.
    """
    try:
        return AutoConfig.from_pretrained(weights, trust_remote_code=False)
    except Exception as error:  # as in `_load`
        raise ConfigError(f"model {weights}: not found ({first_line(error)}); give a folder or a hub name") from error


def load_causal_model(weights: str, dtype: torch.dtype) -> Any:
    """The model of a folder or hub name, with all of its weights.

    Raises:
        ValueError: tensors are missing; transformers would go on with random ones.
        Exception: whatever else transformers raises.
    """
    loaded = AutoModelForCausalLM.from_pretrained(
        weights, dtype=dtype, trust_remote_code=False, output_loading_info=True
    )
    model, info = loaded
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    return model


def _beside(model: Any, adapter: str, name: str, base: str) -> Any:
    """The model with one more LoRA adapter, which is not merged.

    Raises:
        ConfigError: the adapter cannot be loaded, or belongs to another base.
    """
    with _fitting(adapter, base):
        if not isinstance(model, PeftModel):
            return PeftModel.from_pretrained(model, adapter, adapter_name=name)
        model.load_adapter(adapter, adapter_name=name)
    return model


def _merged(model: Any, adapter: str, base: str) -> Any:
    """The model with a LoRA adapter in its weights.

    Raises:
        ConfigError: the adapter cannot be loaded, or belongs to another base.
    """
    with _fitting(adapter, base):
        return PeftModel.from_pretrained(model, adapter).merge_and_unload()


@contextmanager
def _fitting(adapter: str, base: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # peft still asks by a name that transformers has given up.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            yield
    except Exception as error:  # as above: PEFT meets a folder that it cannot read
        raise ConfigError(
            f"adapter {adapter}: does not fit {base} ({first_line(error)}); give the base that it was trained on"
        ) from error
