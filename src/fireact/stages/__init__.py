"""Stages: generate, unify, mix, finetune, evaluate, report. Each reads records and writes records.

Every stage has a config class and `run(config, folder) -> Summary`; a recipe has one section for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from fireact.config import Config, Seed, differing_keys, to_values, validate
from fireact.errors import ConfigError, RunError
from fireact.runs import STAGES, Summary, asked_of, has_made_something, write_recipe
from fireact.stages import evaluate, finetune, generate, mix, report, unify
from fireact.stages.evaluate import EvaluateConfig
from fireact.stages.finetune import FinetuneConfig
from fireact.stages.generate import GenerateConfig
from fireact.stages.mix import MixConfig
from fireact.stages.report import ReportConfig
from fireact.stages.unify import UnifyConfig

RUN: Mapping[str, Callable[[Any, Path], Summary]] = {
    "generate": generate.run,
    "unify": unify.run,
    "mix": mix.run,
    "finetune": finetune.run,
    "evaluate": evaluate.run,
    "report": report.run,
}

REMEMBERED = ("generate", "unify", "mix", "finetune", "evaluate")
"""Stages that refuse another config than they were begun with; `report` is made anew each time."""


class Recipe(Config):
    """One file for a whole run: a section for each stage that it has."""

    name: str = Field(pattern=r"^\w[\w.-]*$", max_length=100)
    """Names the folder under `runs/`."""
    seed: Seed = 0
    """Goes to everything in the recipe that has a seed and gives none: stages, agents, the teacher, noises."""
    generate: GenerateConfig | None = None
    unify: UnifyConfig | None = None
    mix: MixConfig | None = None
    finetune: FinetuneConfig | None = None
    evaluate: EvaluateConfig | None = None
    report: ReportConfig | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that have a section, in the order they run in."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    def section(self, stage: str) -> Config:
        """The section of a stage, with what other parts of the recipe hand down to it.

        Raises:
            ConfigError: the recipe has none.
        """
        section: Config | None = getattr(self, stage)
        if section is None:
            known = ", ".join(self.stages) or "none"
            raise ConfigError(f"recipe {self.name!r} has no section {stage!r}, only {known}; add one to run this stage")
        if isinstance(section, MixConfig) and self.evaluate is not None:
            asked = (chosen.question_set for chosen in self.evaluate.tasks)
            section = section.model_copy(update={"test": (*section.test, *asked)})
        seeded: Config = _seeded(section, self.seed)
        return seeded

    def resolved(self) -> Recipe:
        """The recipe with all that its sections are handed down written out."""
        return self.model_copy(update={stage: self.section(stage) for stage in self.stages})


def run(stage: str, recipe: Recipe, folder: Path) -> Summary:
    """Run one stage of a recipe in a run folder, and keep the recipe there."""
    whole = complete(recipe, folder, running=stage)
    summary = RUN[stage](recipe.section(stage), folder)
    write_recipe(folder, whole.resolved())
    return summary


def complete(recipe: Recipe, folder: Path, *, running: str) -> Recipe:
    """The recipe of the whole folder: a section that is left out is the one that its stage was made with.

    Raises:
        RunError: a stage besides `running` was made with another section than the recipe's.
    """
    made = [stage for stage in REMEMBERED if stage != running and has_made_something(folder, stage)]
    kept: dict[str, Any] = {}
    for stage in made:
        values = asked_of(folder, stage)
        if getattr(recipe, stage) is None:
            kept[stage] = values
            continue
        keys = differing_keys(values, to_values(recipe.section(stage)))
        if keys:
            raise RunError(
                f"{folder / stage} was made with another config; these keys differ: {', '.join(keys)}; "
                f"use another --out, or delete {folder / stage} and run 'fireact {stage}' first"
            )
    return validate(to_values(recipe) | kept, Recipe, where=str(folder)) if kept else recipe


def _seeded(value: Any, seed: int) -> Any:
    """A config, or several, with the seed in all places that have one and were given none."""
    if isinstance(value, tuple):
        return tuple(_seeded(one, seed) for one in value)
    if not isinstance(value, Config):
        return value
    own = {name: getattr(value, name) for name in type(value).model_fields}
    update = {name: new for name, old in own.items() if (new := _seeded(old, seed)) != old}
    if "seed" in type(value).model_fields and "seed" not in value.model_fields_set:
        update["seed"] = seed
    return value.model_copy(update=update)
