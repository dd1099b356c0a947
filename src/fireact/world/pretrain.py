"""Pretrain the base model of the embedded world: `python -m fireact.world.pretrain --out FOLDER`.

Makes the tokenizer, then trains a small Llama on the text of `text.py` in two phases: short windows, then windows
longer than any prompt that the demo sends. Everything follows from the seed; a killed run goes on from its last
checkpoint. At the end the folder holds bf16 safetensors, the tokenizer and a model card, ready to be shipped as
`world/base`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from fireact.world.text import SHARES, document

START, END = "<|start|>", "<|end|>"
SHARD_TOKENS = 500_000


@dataclass(frozen=True)
class Phase:
    """A stretch of training with windows of one length."""

    window: int
    batch: int
    tokens: int


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
    """Learning rate of Muon, which trains the matrices of the layers."""
    vector_rate: float = 3e-3
    """Learning rate of AdamW, which trains embeddings and norms."""
    warmup_tokens: int = 390_000
    decay_share: float = 0.35
    phases: tuple[Phase, ...] = (Phase(512, 16, 12_000_000), Phase(1280, 6, 3_000_000))

    @property
    def tokens(self) -> int:
        return sum(phase.tokens for phase in self.phases)


def documents(seed: int | str) -> Iterator[tuple[str, str]]:
    """Endless (kind, text), with kinds in the shares of the text."""
    rng = random.Random(f"pretrain {seed}")
    written = dict.fromkeys(SHARES, 0)
    while True:
        kind = min(SHARES, key=lambda name: (written[name] + 1) / SHARES[name])
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
    sample = (text for _, (_, text) in zip(range(8000), documents("tokenizer"), strict=False))
    tokenizer.train_from_iterator(sample, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END)


def make_shard(tokenizer_file: str, seed: int, index: int) -> np.ndarray:
    """The token ids of one shard, a pure function of its arguments."""
    tokenizer = Tokenizer.from_file(tokenizer_file)
    start, end = tokenizer.encode(START).ids[0], tokenizer.encode(END).ids[0]
    ids: list[int] = []
    source = documents(f"{seed}/{index}")
    while len(ids) < SHARD_TOKENS:
        batch = [next(source)[1] for _ in range(200)]
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            ids += [start, *encoding.ids, end]
    return np.array(ids[:SHARD_TOKENS], dtype=np.int64)


class Stream:
    """Windows of tokens from numbered shards; the next shard is made while this one is read."""

    def __init__(self, tokenizer_file: Path, recipe: Recipe, position: int) -> None:
        self.arguments = (str(tokenizer_file), recipe.seed)
        # A forked child of a process with tokenizer threads can hang.
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self.position = position
        self.shard = position // SHARD_TOKENS
        self.current = make_shard(*self.arguments, self.shard)
        self.coming = self.pool.submit(make_shard, *self.arguments, self.shard + 1)

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
        self.coming = self.pool.submit(make_shard, *self.arguments, self.shard + 1)


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


def rate_factor(recipe: Recipe, seen: int) -> float:
    """Linear warm-up, constant, linear decay to a hundredth; by tokens seen."""
    if seen < recipe.warmup_tokens:
        return seen / recipe.warmup_tokens
    return min(1.0, max(0.01, (1 - seen / recipe.tokens) / recipe.decay_share))


def phase_at(recipe: Recipe, seen: int) -> Phase | None:
    """The phase in which so many tokens have been seen; None after the last."""
    for phase in recipe.phases:
        if seen < phase.tokens:
            return phase
        seen -= phase.tokens
    return None


def loss_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of windows of (batch, window) ids, in nats for each token."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


def train(recipe: Recipe, folder: Path, *, save_every: int) -> LlamaForCausalLM:
    """Train to the end of the recipe, from the last checkpoint if there is one."""
    tokenizer = make_tokenizer(recipe)
    tokenizer.save_pretrained(folder)
    model = make_model(recipe, tokenizer)
    optimizers = make_optimizers(model, recipe)
    seen = _restore(folder, recipe, model, optimizers)
    stream = Stream(folder / "tokenizer.json", recipe, seen)
    begun, begun_at, step = time.time(), seen, 0
    while phase := phase_at(recipe, seen):
        ids = stream.take(phase.batch * phase.window).view(phase.batch, phase.window)
        loss = loss_of(model, ids)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, rate in zip(optimizers, (recipe.matrix_rate, recipe.vector_rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_factor(recipe, seen)
            optimizer.step()
            optimizer.zero_grad()
        seen += ids.numel()
        step += 1
        if step % 25 == 0:
            speed = (seen - begun_at) / (time.time() - begun)
            print(
                f"{seen / 1e6:.2f} M tokens, loss {loss.item():.3f}, {speed:.0f} tokens/s", file=sys.stderr, flush=True
            )
        if step % save_every == 0:
            _save(folder, recipe, model, optimizers, seen)
    stream.pool.shutdown(cancel_futures=True)
    return model


def _save(
    folder: Path, recipe: Recipe, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], seen: int
) -> None:
    state = {
        "recipe": json.dumps(asdict(recipe)),
        "seen": seen,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    torch.save(state, folder / "checkpoint.new")
    (folder / "checkpoint.new").replace(folder / "checkpoint.pt")


def _restore(folder: Path, recipe: Recipe, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer]) -> int:
    """Load the last checkpoint, if any, and return the tokens seen."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["recipe"] != json.dumps(asdict(recipe)):
        raise SystemExit(f"{path}: made by another recipe; use another --out or delete it")
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["seen"])


@torch.inference_mode()
def loss_by_kind(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Mean loss on unseen documents of each kind, in nats for each token."""
    losses = {}
    for kind in SHARES:
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
| optimisers | Muon {matrix_rate} (matrices), AdamW {vector_rate} (the rest); decay over the last {decay_share:.0%} |
| shares of the text | {shares} |
| final loss on unseen documents (nats/token) | {losses} |
| seconds | {seconds:.0f} (2 cores, bf16) |
| weights | bf16 safetensors, SHA-256 `{digest}` |

Trained on: pages of and closed-book questions about the famous half of the shipped world; reading, comparing and
search episodes over fresh random worlds. Never on a test question or on a page of an obscure entity. The same seed
gives the same text and order; the last bits of the weights depend on the machine.
"""


def export(model: LlamaForCausalLM, folder: Path, recipe: Recipe, seconds: float) -> None:
    """Write weights in bf16 and the model card."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    losses = loss_by_kind(model, tokenizer)
    model.to(torch.bfloat16).save_pretrained(folder)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    card = CARD.format(
        **asdict(recipe)
        | {"phases": ", ".join(f"{phase.tokens:,} in windows of {phase.window}" for phase in recipe.phases)},
        tokens=recipe.tokens,
        parameters=sum(weight.numel() for weight in model.parameters()),
        shares=", ".join(f"{kind} {share:.0%}" for kind, share in SHARES.items()),
        losses=", ".join(f"{kind} {loss}" for kind, loss in losses.items()),
        seconds=seconds,
        digest=digest,
    )
    (folder / "README.md").write_text(card)
    print(json.dumps({"losses": losses, "sha256": digest, "seconds": round(seconds)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--millions", type=float, nargs=2, help="tokens of the two phases, in millions")
    parser.add_argument("--save-every", type=int, default=250, help="steps between checkpoints")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(seed=options.seed)
    if options.millions:
        phases = tuple(
            Phase(phase.window, phase.batch, int(millions * 1e6))
            for phase, millions in zip(recipe.phases, options.millions, strict=True)
        )
        recipe = Recipe(seed=options.seed, phases=phases)
    begun = time.time()
    model = train(recipe, options.out, save_every=options.save_every)
    export(model, options.out, recipe, time.time() - begun)


if __name__ == "__main__":
    main()
