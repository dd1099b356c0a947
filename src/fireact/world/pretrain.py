"""Pretrain the base model of the embedded world: `python -m fireact.world.pretrain --out FOLDER`.

Makes the tokenizer, then trains a small Llama on the text of `text.py` in phases: short windows, then windows longer
than any prompt that the demo sends, then the same with more and longer episodes. Everything follows from the seed; a
killed run goes on from its last checkpoint. At the end the folder holds bf16 safetensors, the tokenizer and a model
card, ready to be shipped as `world/base`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from fireact.errors import ConfigError, FireactError
from fireact.world.text import DOCUMENTS, MIXTURES, document

START, END = "<|start|>", "<|end|>"
SHARD_TOKENS = 500_000
TOKENIZER_DOCUMENTS = 8000
"""How many documents the tokenizer is trained on."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training in which little changes. Its tokens are a whole number of batches."""

    window: int
    batch: int
    tokens: int
    text: str
    """A name in `MIXTURES`."""
    rates: tuple[float, float]
    """Share of the peak learning rates at its beginning and end, linear in between."""


@dataclass(frozen=True)
class Recipe:
    """All that determines the weights."""

    seed: int = 0
    vocabulary: int = 1536
    hidden: int = 256
    intermediate: int = 576
    layers: int = 4
    heads: int = 4
    matrix_rate: float = 3e-3
    """Peak learning rate of Muon, which trains the matrices of the layers."""
    vector_rate: float = 3e-3
    """Peak learning rate of AdamW, which trains embeddings and norms."""
    phases: tuple[Phase, ...] = (
        Phase(512, 16, 393_216, "early", (0.0, 1.0)),
        Phase(512, 16, 9_355_264, "early", (1.0, 1.0)),
        Phase(512, 16, 2_252_800, "early", (1.0, 0.57)),
        Phase(1280, 6, 3_002_880, "early", (0.57, 0.01)),
        Phase(1280, 6, 4_945_920, "late", (0.4, 0.012)),
        Phase(1280, 6, 3_072_000, "last", (0.4, 0.0)),
        Phase(1280, 6, 2_764_800, "final", (0.5, 0.0)),
    )

    @property
    def tokens(self) -> int:
        return sum(phase.tokens for phase in self.phases)


def documents(seed: int | str, shares: Mapping[str, float] = MIXTURES["early"]) -> Iterator[tuple[str, str]]:
    """Endless (kind, text), with kinds in their shares."""
    rng = random.Random(f"pretrain {seed}")
    written = dict.fromkeys(shares, 0)
    while True:
        kind = min(shares, key=lambda name: (written[name] + 1) / shares[name])
        text = document(kind, rng)
        written[kind] += len(text)
        yield kind, text


def make_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits, trained on a sample of the text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sample = (text for _, (_, text) in zip(range(TOKENIZER_DOCUMENTS), documents("tokenizer"), strict=False))
    tokenizer.train_from_iterator(sample, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END)


def make_shard(tokenizer_file: str, seed: str, index: int, shares: Mapping[str, float]) -> np.ndarray:
    """The token ids of one shard, a pure function of its arguments."""
    tokenizer = Tokenizer.from_file(tokenizer_file)
    start, end = tokenizer.encode(START).ids[0], tokenizer.encode(END).ids[0]
    ids: list[int] = []
    source = documents(f"{seed}/{index}", shares)
    while len(ids) < SHARD_TOKENS:
        batch = [next(source)[1] for _ in range(200)]
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            ids += [start, *encoding.ids, end]
    return np.array(ids[:SHARD_TOKENS], dtype=np.int64)


class Stream:
    """Windows of tokens from numbered shards; the next shard is made while this one is read."""

    def __init__(self, tokenizer_file: Path, seed: str, shares: Mapping[str, float], position: int) -> None:
        # A forked child of a process with tokenizer threads can hang.
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self.make = partial(make_shard, str(tokenizer_file), seed, shares=shares)
        self.position = position
        self.shard = position // SHARD_TOKENS
        self.current = self.make(self.shard)
        self.coming = self.pool.submit(self.make, self.shard + 1)

    @staticmethod
    def at(tokenizer_file: Path, recipe: Recipe, seen: int) -> Stream:
        """The stream that is read after so many tokens; phases with the same text share one."""
        text = phase_at(recipe, seen)[0].text
        before = sum(phase.tokens for phase in recipe.phases[: [phase.text for phase in recipe.phases].index(text)])
        seed = f"{recipe.seed}" if text == "early" else f"{text} {recipe.seed}"
        return Stream(tokenizer_file, seed, MIXTURES[text], seen - before)

    def take(self, count: int) -> torch.Tensor:
        """The next so many tokens."""
        parts = []
        while count:
            offset = self.position - self.shard * SHARD_TOKENS
            if offset == SHARD_TOKENS:
                self._advance()
                continue
            part = self.current[offset : offset + count]
            parts.append(part)
            self.position += len(part)
            count -= len(part)
        return torch.from_numpy(np.concatenate(parts))

    def _advance(self) -> None:
        self.shard += 1
        self.current = self.coming.result()
        self.coming = self.pool.submit(self.make, self.shard + 1)

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def make_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=max(phase.window for phase in recipe.phases),
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def make_optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of the layers, AdamW for the rest."""
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.vector_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def phase_at(recipe: Recipe, seen: int) -> tuple[Phase, float]:
    """The phase in which so many tokens have been seen, and the share of it that is over."""
    for phase in recipe.phases:
        if seen < phase.tokens:
            return phase, seen / phase.tokens
        seen -= phase.tokens
    return recipe.phases[-1], 1.0


def rate_factor(phase: Phase, share: float) -> float:
    """What the peak learning rates are multiplied with."""
    begin, end = phase.rates
    return begin + share * (end - begin)


def loss_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of windows of (batch, window) ids, in nats for each token."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


@dataclass
class Checkpoint:
    """What training goes on from; kept in a folder, in one file that is replaced whole."""

    recipe: Recipe
    model: LlamaForCausalLM
    optimizers: list[torch.optim.Optimizer]
    seen: int = 0
    """Tokens."""
    seconds: float = 0.0

    def save(self, folder: Path) -> None:
        state = {
            "recipe": json.dumps(asdict(self.recipe)),
            "seen": self.seen,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        torch.save(state, folder / "checkpoint.new")
        (folder / "checkpoint.new").replace(folder / "checkpoint.pt")

    def restore(self, folder: Path) -> None:
        """Take over what the folder holds, if it holds anything.

        Raises:
            ConfigError: it was made by another recipe.
        """
        path = folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != json.dumps(asdict(self.recipe)):
            raise ConfigError(f"{path}: made by another recipe; use another --out or delete it")
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.seen, self.seconds = int(state["seen"]), float(state["seconds"])


def train(recipe: Recipe, folder: Path, *, save_every: int) -> Checkpoint:
    """Train to the end of the recipe, from the last checkpoint if there is one, and say how fast."""
    tokenizer = make_tokenizer(recipe)
    tokenizer.save_pretrained(folder)
    model = make_model(recipe, tokenizer)
    state = Checkpoint(recipe, model, make_optimizers(model, recipe))
    state.restore(folder)
    stream = Stream.at(folder / "tokenizer.json", recipe, state.seen)
    begun, before, step = time.time() - state.seconds, (state.seen, state.seconds), 0
    while state.seen < recipe.tokens:
        phase, share = phase_at(recipe, state.seen)
        ids = stream.take(phase.batch * phase.window).view(phase.batch, phase.window)
        loss = update(state, ids, rate_factor(phase, share))
        state.seen += ids.numel()
        state.seconds = time.time() - begun
        step += 1
        if state.seen < recipe.tokens and phase_at(recipe, state.seen)[0].text != phase.text:
            stream.close()
            stream = Stream.at(folder / "tokenizer.json", recipe, state.seen)
        if step % 25 == 0:
            speed = (state.seen - before[0]) / (state.seconds - before[1])
            line = f"{state.seen / 1e6:.2f} M tokens, loss {loss:.3f}, {speed:.0f} tokens/s"
            print(line, file=sys.stderr, flush=True)
        if step % save_every == 0:
            state.save(folder)
    stream.close()
    return state


def update(state: Checkpoint, ids: torch.Tensor, factor: float) -> float:
    """One step on windows of (batch, window) ids at so much of the peak rates; the loss before it."""
    loss = loss_of(state.model, ids)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
    for optimizer, rate in zip(state.optimizers, (state.recipe.matrix_rate, state.recipe.vector_rate), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


@torch.inference_mode()
def loss_by_kind(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Mean loss on unseen documents of each kind, in nats for each token."""
    losses = {}
    for kind in DOCUMENTS:
        rng = random.Random(f"held out {kind}")
        ids: list[int] = []
        while len(ids) < 16 * 513:
            ids += tokenizer.encode(f"{START}{document(kind, rng)}{END}")
        losses[kind] = round(loss_of(model, torch.tensor(ids[: 16 * 513]).view(16, 513)).item(), 4)
    return losses


CARD = """# Base model of the embedded world

A Llama-shaped model with {parameters:,} parameters, pretrained on the made-up text of `fireact.world.text` only. It is
the student of the demo and of the tests; it knows nothing of the real world.

| | |
| --- | --- |
| rebuild | `python -m fireact.world.pretrain --out FOLDER` |
| seed | {seed} |
| shape | {layers} layers, width {hidden}, {heads} heads, inner width {intermediate}, vocabulary {vocabulary} |
| tokens | {tokens:,} ({phases}) |
| optimisers | Muon (matrices) and AdamW (the rest), both {matrix_rate} at the peak |
| text | {mixtures} |
| final loss on unseen documents (nats/token) | {losses} |
| seconds | {seconds:.0f} (2 cores, bf16) |
| weights | bf16 safetensors, SHA-256 `{digest}` |

Trained on: pages of and closed-book questions about the famous half of the shipped world; reading, comparing and
search episodes over fresh random worlds. Never on a test question or on a page of an obscure entity. The same seed
gives the same text and order; the last bits of the weights depend on the machine.
"""


def describe(phase: Phase) -> str:
    """One phase as the card tells it."""
    begin, end = phase.rates
    return f"{phase.tokens:,} {phase.text} in windows of {phase.window} at {begin:g} to {end:g} of the peak rates"


def describe_mixture(name: str) -> str:
    """One of `MIXTURES` as the card tells it."""
    return f"{name}: " + ", ".join(f"{kind} {100 * share:g}%" for kind, share in MIXTURES[name].items())


def export(state: Checkpoint, folder: Path) -> None:
    """Write weights in bf16 and the model card."""
    recipe, model, seconds = state.recipe, state.model, state.seconds
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    losses = loss_by_kind(model, tokenizer)
    model.to(torch.bfloat16).save_pretrained(folder)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    card = CARD.format(
        **asdict(recipe) | {"phases": ", ".join(map(describe, recipe.phases))},
        tokens=recipe.tokens,
        parameters=sum(weight.numel() for weight in model.parameters()),
        mixtures="; ".join(map(describe_mixture, MIXTURES)),
        losses=", ".join(f"{kind} {loss}" for kind, loss in losses.items()),
        seconds=seconds,
        digest=digest,
    )
    (folder / "README.md").write_text(card)
    print(json.dumps({"losses": losses, "sha256": digest, "seconds": round(seconds)}))


def _shorter(phase: Phase, share: float) -> Phase:
    """The same phase with a share of its batches, at least one."""
    batches = max(1, round(share * phase.tokens / (phase.window * phase.batch)))
    return replace(phase, tokens=batches * phase.window * phase.batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="train on this share of the tokens only, to try it")
    parser.add_argument("--save-every", type=int, default=250, help="steps between checkpoints")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(seed=options.seed)
    if options.share != 1.0:
        recipe = replace(recipe, phases=tuple(_shorter(phase, options.share) for phase in recipe.phases))
    export(train(recipe, options.out, save_every=options.save_every), options.out)


if __name__ == "__main__":
    try:
        main()
    except FireactError as error:
        print(f"fireact: {error}", file=sys.stderr)
        sys.exit(2)
