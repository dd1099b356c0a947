"""Stages: generate, unify, mix, finetune, evaluate, report. Each reads records and writes records.

Every stage has a config class and `run(config, folder) -> Summary`; a recipe has one section for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import Field

from fireact.config import Config, Seed, differing_keys, free_keys, to_values, validate
from fireact.errors import ConfigError, DependencyError, RunError
from fireact.models.weights import INSTALL, LocalConfig
from fireact.runs import STAGES, Summary, asked_of, has_made_something, output, some, write_recipe
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

PACKAGES = ("torch", "transformers", "peft")
"""What local models and `finetune` need."""
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


def require_all(recipe: Recipe, folder: Path) -> None:
    """Refuse a run that would stop on its way, before anything is asked or trained.

    Raises:
        ConfigError: a stage reads what no stage makes.
        DependencyError: packages that local models need are missing.
    """
    there = {*recipe.stages, *(stage for stage in STAGES if output(folder, stage).exists())}
    for stage, needed in _needs(recipe):
        if needed not in there:
            raise ConfigError(
                f"recipe {recipe.name!r}: {stage!r} reads what {needed!r} makes, and there is no section {needed!r}; "
                "add one, or leave the other out"
            )
    missing = [name for name in PACKAGES if find_spec(name) is None] if _has_weights(recipe) else []
    if missing:
        raise DependencyError(f"recipe {recipe.name!r}: the package {missing[0]} is missing; {INSTALL}")


def _needs(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Which stage of a recipe reads what which other one makes."""
    if recipe.unify is not None and not recipe.unify.files:
        yield "unify", "generate"
    if recipe.mix is not None:
        yield "mix", "unify"
    if recipe.finetune is not None and not recipe.finetune.train:
        yield "finetune", "mix"
    if recipe.evaluate is not None and any(evaluate.is_tuned(agent.model) for agent in recipe.evaluate.agents):
        yield "evaluate", "finetune"
    if recipe.report is not None:
        yield "report", "evaluate"


def _has_weights(recipe: Recipe) -> bool:
    models = [recipe.generate.teacher] if recipe.generate else []
    models += [agent.model for agent in recipe.evaluate.agents] if recipe.evaluate else []
    return recipe.finetune is not None or any(isinstance(model, LocalConfig) for model in models)


def complete(recipe: Recipe, folder: Path, *, running: str) -> Recipe:
    """The recipe of the whole folder: a section that is left out is the one that its stage was made with.

    Raises:
        RunError: stages besides `running` were made with other sections than the recipe's; all of them are named, so
            that none is deleted in vain.
    """
    kept: dict[str, Any] = {}
    others: dict[str, list[str]] = {}
    for stage in REMEMBERED:
        if not has_made_something(folder, stage):
            continue
        values = asked_of(folder, stage)
        if getattr(recipe, stage) is None:
            kept[stage] = values
            continue
        section = recipe.section(stage)
        keys = differing_keys(values, to_values(section), free=free_keys(section))
        if keys:
            others[stage] = [f"{stage}.{key}" for key in keys]
    if others.keys() - {running}:
        places = ", ".join(str(folder / stage) for stage in others)
        raise RunError(
            f"{folder} was made with another recipe; these keys differ: {some([*chain(*others.values())])}; "
            f"use another --out, or delete what was made otherwise: {places}"
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
