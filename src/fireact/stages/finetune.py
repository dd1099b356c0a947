"""finetune: train a small model on the chosen trajectories with LoRA (Hu et al. 2021, arXiv 2106.09685).

    train.jsonl -> encode -> gate -> batches of like lengths -> transformers Trainer + PEFT -> adapter

The loss is on what the model wrote and on nothing else. The order of all batches is fixed before training starts, so
that a killed training goes on from its last checkpoint with the batches that it has not seen. torch and its friends
are imported inside functions: reading a recipe does not need them.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fireact.config import Config, Seed
from fireact.dialects import Dialect, open_dialect
from fireact.dialects.tokens import Tokenizer
from fireact.encoding import Encoded, check, encode, grouped_batches
from fireact.errors import ConfigError, DataError, DependencyError, FireactError, RunError
from fireact.memory import keep_freed_memory
from fireact.models.weights import (
    ADAPTER_CARD,
    CARD_FORMAT,
    CARD_VERSION,
    INSTALL,
    TRAINED_QUESTIONS,
    WORLD,
    find_weights,
    fingerprint,
    first_line,
)
from fireact.progress import Progress
from fireact.runs import (
    PRODUCER,
    Append,
    Summary,
    appending,
    open_stage,
    output,
    read,
    read_json,
    require,
    write,
    write_json,
)
from fireact.stages.asking import DialectName
from fireact.trajectory import Record, Trajectory, Words

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import Trainer, TrainerCallback

FEWEST_UPDATES = 5
ADAPTER_WEIGHTS = "adapter_model.safetensors"
CHECKPOINT_FILES = (
    ADAPTER_WEIGHTS, "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"
)  # fmt: skip
"""Without one of them, training would go on otherwise than it was going."""
LOG = "log.jsonl"
CHECKPOINTS = "checkpoints"
LOWER = "lower finetune.learning_rate, and delete the folder of the stage to train anew"


class FinetuneConfig(Config):
    """How the student is trained."""

    base: str = WORLD
    """The model to start from: `world`, a folder in Hugging Face form, or a name on its hub."""
    train: str | None = None
    """A file of trajectories; what `mix` made where None."""
    validation: str | None = None
    """A file of trajectories to measure the loss on; what `mix` kept for that where neither file is given."""
    dialect: DialectName = "react-text"
    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0)
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """On the input of the adapter."""
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names of the layers that get an adapter; `all-linear` is all linear layers but the output layer."""
    epochs: int = Field(3, ge=1)
    max_updates: int | None = Field(None, ge=1, le=1_000_000)
    """Exactly so many updates, whatever `epochs` says."""
    batch_size: int = Field(16, ge=1)
    """Trajectories for one update."""
    learning_rate: float = Field(3e-4, gt=0)
    """The highest one, after warm-up."""
    warmup_share: float = Field(0.03, ge=0, lt=1)
    """Share of the updates in which the learning rate rises from 0."""
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """How the learning rate falls to 0 after that; `constant` does not."""
    max_tokens: int | None = Field(None, ge=1)
    """Longer trajectories are left out whole, never cut; the base's own limit where None."""
    group_by_length: bool = True
    """Batches of like lengths, so that little is padded."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto` is bf16 autocast where the machine computes in it, and fp32 elsewhere."""
    log_every: int = Field(10, ge=1)
    """Updates between two lines of `log.jsonl`."""
    save_every: int = Field(50, ge=1)
    """Updates between two checkpoints, from which a killed training goes on."""
    seed: Seed = 0


class LogLine(Record):
    """One line of `log.jsonl`: a training loss with its learning rate, or a validation loss."""

    step: int
    """Updates done."""
    loss: float | None = None
    """Mean since the last such line, in nats for each trained token."""
    learning_rate: float | None = None
    validation_loss: float | None = None
    seconds: float
    """Training time so far, that of an interrupted start included."""


@dataclass(frozen=True)
class Examples:
    """What is trained on or measured, encoded and checked."""

    rows: tuple[Encoded, ...] = ()
    questions: frozenset[Words] = frozenset()
    num_too_long: int = 0
    """Trajectories left out because they have more than `max_tokens` tokens."""


@dataclass(frozen=True)
class Plan:
    """All that a training does, fixed before it starts."""

    train: Examples
    validation: Examples
    batches: tuple[tuple[Encoded, ...], ...]
    """The batch of every update, in order."""


def run(config: FinetuneConfig, folder: Path) -> Summary:
    """Train an adapter, or go on with it, and write `adapter/` and `log.jsonl`.

    Raises:
        RunError: `mix` has not run, or the folder holds a training with another config.
        ConfigError: the base is missing, or the settings do not fit it or make too few updates.
        DataError: a file cannot be read, leaves nothing to train on, or holds a trajectory that the gate refuses.
        DependencyError: torch, transformers or peft is not installed.
    """
    adapter = output(folder, "finetune")
    sources = _sources(config, folder)
    after = [] if config.train else ["mix"]
    if not all((adapter / name).exists() for name in (ADAPTER_CARD, ADAPTER_WEIGHTS)):
        with _quiet():
            plan = make_plan(config, *sources)
            student = _open_student(config)
            _train(student, plan, config, open_stage(folder, "finetune", config, after=after, pins_content=True))
    stage = open_stage(folder, "finetune", config, after=after, pins_content=True)
    return _summary(read_json(adapter / ADAPTER_CARD), stage / LOG)


def make_plan(config: FinetuneConfig, train: Path, validation: Path | None) -> Plan:
    """Read, encode, check and put in order; no weights are loaded.

    Raises:
        ConfigError, DataError, DependencyError: as `run`.
    """
    tokenizer, window = _open_tokenizer(config)
    if window is not None and config.max_tokens is not None and config.max_tokens > window:
        raise ConfigError(
            f"finetune.max_tokens is {config.max_tokens}, but base {config.base!r} reads {window} at most"
        )

    def encoded(path: Path) -> Examples:
        limit = config.max_tokens or window
        return examples(read(path, Trajectory), open_dialect(config.dialect), tokenizer, max_tokens=limit)

    chosen = encoded(train)
    if not chosen.rows:
        raise DataError(_nothing_left(train, chosen))
    held_out = Examples() if validation is None else encoded(validation)
    return Plan(chosen, held_out, plan_batches(chosen.rows, config))


def examples(
    trajectories: Iterable[Trajectory], dialect: Dialect, tokenizer: Tokenizer, *, max_tokens: int | None = None
) -> Examples:
    """Encode and check each trajectory; those of more than `max_tokens` tokens are left out and counted.

    Raises:
        DataError: the gate refuses a trajectory.
    """
    rows: list[Encoded] = []
    questions: set[Words] = set()
    num_too_long = 0
    for trajectory in trajectories:
        row = encode(trajectory, dialect, tokenizer)
        check(trajectory, row, dialect, tokenizer)
        if max_tokens is not None and len(row.ids) > max_tokens:
            num_too_long += 1
        else:
            rows.append(row)
            questions.add(trajectory.question.words)
    return Examples(tuple(rows), frozenset(questions), num_too_long)


def plan_batches(rows: Sequence[Encoded], config: FinetuneConfig) -> tuple[tuple[Encoded, ...], ...]:
    """The batch of every update, epoch after epoch.

    Raises:
        ConfigError: `epochs` makes too few updates to change anything.
    """
    updates = config.max_updates or config.epochs * _updates_in_epoch(rows, config)
    if config.max_updates is None and updates < FEWEST_UPDATES:
        raise ConfigError(
            f"finetune: {len(rows)} trajectories, batch_size {config.batch_size} and epochs {config.epochs} make "
            f"{updates} updates, too few to learn from; raise epochs, lower batch_size, or set max_updates"
        )
    batches = (batch for epoch in count() for batch in _epoch(rows, config, epoch))
    return tuple(islice(batches, updates))


def _epoch(rows: Sequence[Encoded], config: FinetuneConfig, epoch: int) -> Iterator[tuple[Encoded, ...]]:
    lengths = [len(row.ids) for row in rows]
    batches = grouped_batches(
        lengths, batch_size=config.batch_size, seed=config.seed, epoch=epoch, by_length=config.group_by_length
    )
    return (tuple(rows[index] for index in batch) for batch in batches)


def _updates_in_epoch(rows: Sequence[Encoded], config: FinetuneConfig) -> int:
    return math.ceil(len(rows) / config.batch_size)


def _sources(config: FinetuneConfig, folder: Path) -> tuple[Path, Path | None]:
    """The files to train and to validate on."""
    validation = None if config.validation is None else Path(config.validation)
    if config.train is not None:
        return Path(config.train), validation
    train = require(folder, "mix")
    return train, validation or train.with_name("validation.jsonl")


def _nothing_left(path: Path, chosen: Examples) -> str:
    if chosen.num_too_long:
        return f"{path}: all {chosen.num_too_long} trajectories are longer than finetune.max_tokens; raise it"
    return f"{path}: no trajectory in it; run 'fireact mix' again, or give another file as finetune.train"


@contextmanager
def _loading(config: FinetuneConfig) -> Iterator[None]:
    """Turn what transformers refuses, in many lines, into one sentence."""
    try:
        yield
    except FireactError:
        raise
    except ImportError as error:
        raise DependencyError(f"finetune needs {error.name or error}; {INSTALL}") from error
    except Exception as error:  # whatever transformers stumbles over in a folder, the folder is what is wrong
        raise ConfigError(
            f"finetune.base: {config.base!r} cannot be loaded ({first_line(error)}); give a folder or a hub name"
        ) from error


def _open_tokenizer(config: FinetuneConfig) -> tuple[Tokenizer, int | None]:
    """The tokenizer of the base, and the most tokens that the base reads where it says so."""
    with _loading(config):
        from transformers import AutoConfig, AutoTokenizer

        weights = find_weights(config.base)
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(weights)
        shape = AutoConfig.from_pretrained(weights)
    return tokenizer, getattr(shape, "max_position_embeddings", None)


def _open_student(config: FinetuneConfig) -> PeftModel:
    """The base with a fresh adapter, ready to be trained."""
    with _loading(config):
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import set_seed

        from fireact.models.local import load_causal_model

        if torch.cuda.device_count() > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("finetune trains on one device; start one process, with CUDA_VISIBLE_DEVICES=0")
        set_seed(config.seed)
        dtype = torch.bfloat16 if torch.cuda.is_available() and _computes_in_bf16(config) else torch.float32
        base = load_causal_model(find_weights(config.base), dtype)
    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    adapter = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(base, adapter)
    except ValueError as error:
        raise ConfigError(f"finetune.targets: base {config.base!r} has no layer named {targets}") from error


def _computes_in_bf16(config: FinetuneConfig) -> bool:
    if config.precision != "auto":
        return config.precision == "bf16"
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def _train(student: PeftModel, plan: Plan, config: FinetuneConfig, stage: Path) -> None:
    """Train from the last checkpoint, or from the start, and publish the adapter."""
    checkpoint, step = _last_checkpoint(stage / CHECKPOINTS)
    kept = _cut_log(stage / LOG, step)
    trainer = _trainer(student, plan, config, stage)
    with appending(stage / LOG) as append, Progress("finetune", len(plan.batches), before=step) as progress:
        trainer.add_callback(_recorder(append, progress, seconds_before=kept))
        trainer.train(resume_from_checkpoint=checkpoint)
    _refuse_diverged(student)
    _publish(student, plan, config, stage)


def _trainer(student: PeftModel, plan: Plan, config: FinetuneConfig, stage: Path) -> Trainer:
    """One entry of the datasets is one whole batch, so that the Trainer keeps the order that was planned."""
    import torch
    from transformers import PrinterCallback, Trainer, TrainingArguments

    from fireact.encoding.pack import TrainedPositions, collate, trained_loss

    has_gpu = torch.cuda.is_available()
    if not has_gpu:
        keep_freed_memory()
    schedule = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    arguments = TrainingArguments(
        output_dir=str(stage / CHECKPOINTS),
        max_steps=len(plan.batches),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=config.learning_rate,
        lr_scheduler_type=schedule,
        warmup_steps=config.warmup_share,  # below 1, transformers takes it for a share of all updates
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        save_steps=config.save_every,
        save_total_limit=1,
        eval_strategy="steps" if plan.validation.rows else "no",
        eval_steps=min(_updates_in_epoch(plan.train.rows, config), len(plan.batches)),
        prediction_loss_only=True,
        bf16=_computes_in_bf16(config),
        use_cpu=not has_gpu,
        dataloader_pin_memory=has_gpu,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
    )
    TrainedPositions(student, student.get_output_embeddings())
    trainer = Trainer(
        model=student,
        args=arguments,
        train_dataset=plan.batches,
        eval_dataset=list(_epoch(plan.validation.rows, config, 0)) or None,
        data_collator=lambda batches: collate([row for batch in batches for row in batch]),
        compute_loss_func=trained_loss,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _recorder(append: Append, progress: Progress, *, seconds_before: float) -> TrainerCallback:
    """Writes `log.jsonl` and moves the progress bar."""
    from transformers import TrainerCallback

    started = time.monotonic()

    class Recorder(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            progress.advance()

        def on_log(self, _: Any, state: Any, __: Any, *, logs: dict[str, float], **___: Any) -> None:
            if "loss" not in logs and "eval_loss" not in logs:
                return
            if not math.isfinite(logs.get("loss", 0.0)):
                raise RunError(f"finetune: the loss is no number after {state.global_step} updates; {LOWER}")
            line = LogLine(
                step=state.global_step,
                loss=logs.get("loss"),
                learning_rate=logs.get("learning_rate"),
                validation_loss=logs.get("eval_loss"),
                seconds=round(seconds_before + time.monotonic() - started, 2),
            )
            append(line)

    return Recorder()


def _last_checkpoint(folder: Path) -> tuple[str | None, int]:
    """The newest whole checkpoint and its number of updates."""
    names = (path.name.removeprefix("checkpoint-") for path in folder.glob("checkpoint-*") if _is_whole(path))
    steps = [int(name) for name in names if name.isdecimal()]
    return (str(folder / f"checkpoint-{max(steps)}"), max(steps)) if steps else (None, 0)


def _is_whole(checkpoint: Path) -> bool:
    """Whether all files of a checkpoint are there to their ends."""
    if not all((checkpoint / name).is_file() for name in CHECKPOINT_FILES):
        return False
    # What torch saves is a zip file, which has its table of contents at its end.
    if not all(zipfile.is_zipfile(checkpoint / name) for name in CHECKPOINT_FILES if name.endswith((".pt", ".pth"))):
        return False
    from safetensors import SafetensorError, safe_open

    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
        with safe_open(checkpoint / ADAPTER_WEIGHTS, "pt"):
            return True
    except (ValueError, SafetensorError):
        return False


def _cut_log(path: Path, step: int) -> float:
    """Drop what was logged after a checkpoint, since it will happen again; returns the seconds of training kept."""
    kept = [line for line in read(path, LogLine) if line.step <= step] if path.exists() else []
    write(path, kept)
    return kept[-1].seconds if kept else 0.0


def _refuse_diverged(student: PeftModel) -> None:
    """Refuse weights that are no numbers.

    Raises:
        RunError: the training has diverged.
    """
    if not all(weight.isfinite().all() for weight in student.parameters() if weight.requires_grad):
        raise RunError(f"finetune: the weights are no numbers any more; {LOWER}")


def _publish(student: PeftModel, plan: Plan, config: FinetuneConfig, stage: Path) -> None:
    """Put the adapter in place whole, and drop the checkpoints."""
    draft, adapter = stage / "adapter.part", stage / "adapter"
    for leftover in (draft, adapter):
        shutil.rmtree(leftover, ignore_errors=True)
    student.peft_config["default"].base_model_name_or_path = config.base
    student.save_pretrained(str(draft), save_embedding_layers=False)
    # PEFT's page is a form that nobody has filled in, with paths of this machine.
    (draft / "README.md").unlink(missing_ok=True)
    trained = sorted(plan.train.questions | plan.validation.questions)
    write_json(draft / TRAINED_QUESTIONS, {"questions": trained})
    write_json(draft / ADAPTER_CARD, _card(plan, config))
    draft.rename(adapter)
    shutil.rmtree(stage / CHECKPOINTS, ignore_errors=True)


def _card(plan: Plan, config: FinetuneConfig) -> dict[str, Any]:
    return {
        "format": CARD_FORMAT,
        "version": CARD_VERSION,
        "producer": PRODUCER,
        "base": config.base,
        "base_fingerprint": fingerprint(find_weights(config.base)),
        "dialect": config.dialect,
        "end_of_turn": True,
        "trajectories": len(plan.train.rows),
        "too_long": plan.train.num_too_long,
        "tokens": sum(len(row.ids) for row in plan.train.rows),
        "trained_tokens": sum(sum(row.mask) for row in plan.train.rows),
        "updates": len(plan.batches),
        "seed": config.seed,
    }


def _summary(card: dict[str, Any], log: Path) -> Summary:
    if not card.keys() >= {"updates", "trajectories", "too_long", "tokens", "trained_tokens"}:
        raise DataError(f"{log.parent / 'adapter' / ADAPTER_CARD}: damaged; delete {log.parent} and run it again")
    lines = list(read(log, LogLine))
    losses = [line.loss for line in lines if line.loss is not None]
    validation = [line.validation_loss for line in lines if line.validation_loss is not None]
    parts = [f"{card['updates']} updates on {card['trajectories']} trajectories"]
    if card["too_long"]:
        parts.append(f"{card['too_long']} left out as too long")
    if losses:
        parts.append(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    if validation:
        parts.append(f"validation {validation[-1]:.3f}")
    if lines:
        parts.append(f"{lines[-1].seconds:.0f} s")
    counts = {name: card[name] for name in ("updates", "trajectories", "too_long", "tokens", "trained_tokens")}
    return Summary("finetune", ", ".join(parts), counts)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the remarks and bars of transformers and its friends off the screen; errors still come through."""
    try:
        from transformers.utils import logging as remarks
    except ImportError as error:
        raise DependencyError(f"finetune needs transformers; {INSTALL}") from error
    loggers = [logging.getLogger(name) for name in ("transformers", "peft", "accelerate")]
    levels = [one.level for one in loggers]
    had_bars = remarks.is_progress_bar_enabled()
    remarks.disable_progress_bar()
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
        if had_bars:
            remarks.enable_progress_bar()
