"""A base and its adapter become one model in a folder, which every server can load; needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GenerationConfig

from fireact.config import validate
from fireact.errors import ConfigError
from fireact.models.local import LocalModel
from fireact.models.weights import LocalConfig, first_line


def best_dtype() -> str:
    """The one in which a local model computes on this machine."""
    return "bfloat16" if torch.cuda.is_available() else "float32"


def save_merged(*, base: str, adapter: str, folder: Path) -> None:
    """Write the model that a local agent with this adapter asks, to the last bit, with its tokenizer.

    Raises:
        ConfigError: the weights cannot be loaded, or do not belong together.
    """
    local = LocalModel(validate({"path": base, "adapter": adapter}, LocalConfig, where="serve"))
    model, tokenizer = local.engine.decoder.model, local.engine.tokenizer
    model.generation_config = _plain_settings(model.generation_config, tokenizer)
    # Whoever decodes for us should not tidy up what the model wrote.
    tokenizer.clean_up_tokenization_spaces = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def names_of_tokens(model: str) -> tuple[str, str]:
    """The names of a model's start and end tokens.

    Returns:
        The start token where it has to be written at the head of a prompt, since the tokenizer does not add it and a
        local model reads it; and the end token. Empty where there is none.

    Raises:
        ConfigError: there is no tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except Exception as error:  # whatever transformers stumbles over in a folder, the folder is what is wrong
        raise ConfigError(f"model {model}: has no tokenizer ({first_line(error)}); give one that has") from error
    adds_start = tokenizer.bos_token_id is None or tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]
    return "" if adds_start else str(tokenizer.bos_token), str(tokenizer.eos_token or "")


def _plain_settings(given: Any, tokenizer: Any) -> GenerationConfig:
    """Settings that say where a reply ends and leave all else to the request."""
    ends = given.eos_token_id if isinstance(given.eos_token_id, list) else [given.eos_token_id]
    known = dict.fromkeys(end for end in (tokenizer.eos_token_id, *ends) if end is not None)
    return GenerationConfig(
        bos_token_id=given.bos_token_id, eos_token_id=list(known) or None, pad_token_id=given.pad_token_id
    )
