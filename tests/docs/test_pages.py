"""The pages of docs/ agree with the code: tables of keys, counts of the world, examples, and the links between them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

import fireact
from fireact import stages
from fireact.config import validate
from fireact.models import LocalConfig, OpenAIConfig, OracleConfig, ScriptedConfig
from fireact.stages import Recipe
from fireact.stages.evaluate import AgentConfig, EvaluateConfig, TestSet
from fireact.stages.finetune import FinetuneConfig, LogLine
from fireact.stages.generate import EpisodeGroup, GenerateConfig
from fireact.stages.mix import MixConfig, MixPart
from fireact.stages.report import ReportConfig
from fireact.stages.unify import UnifyConfig
from fireact.tools import NoiseConfig, SearchConfig
from fireact.world.pages import SHIPPED_COUNTS, World
from fireact.world.questions import COUNTS, SPLITS, UNSEEN_CHAINS, questions
from fireact.world.schema import WORLD
from fireact.world.text import DOCUMENTS, MIXTURES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
KEYS = ["key", "default", "meaning"]
CLASSES = {
    "generate.md": [GenerateConfig, EpisodeGroup, OracleConfig, ScriptedConfig, SearchConfig, NoiseConfig],
    "unify.md": [UnifyConfig],
    "mix.md": [MixConfig, MixPart],
    "finetune.md": [FinetuneConfig],
    "evaluate.md": [EvaluateConfig, AgentConfig, TestSet, LocalConfig],
    "models.md": [OpenAIConfig],
    "run-folder.md": [Recipe],
}
"""The classes of the tables of keys of each page, in their order there."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
Table = tuple[list[str], list[list[str]]]


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def tables(page: str) -> Iterator[Table]:
    """The heads and rows of a page's tables, outside of code."""
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
        yield head, rows


def table(page: str, *head: str) -> list[list[str]]:
    """The rows of the one table with this head."""
    (rows,) = (rows for found, rows in tables(page) if found == list(head))
    return rows


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def number(cell: str) -> float:
    return float(cell.replace(",", "").removesuffix("%"))


@pytest.mark.parametrize(("page", "classes"), CLASSES.items(), ids=list(CLASSES))
def test_a_table_of_keys_has_the_fields_and_defaults_of_its_class(page, classes):
    found = [rows for head, rows in tables(page) if head == KEYS]
    assert len(found) == len(classes)
    for rows, config in zip(found, classes, strict=True):
        assert {names(key)[0] for key, *_ in rows} == set(config.model_fields), config.__name__
        assert len(rows) == len(config.model_fields)
        for key, default, meaning in rows:
            field = config.model_fields[names(key)[0]]
            where = f"{page}: {config.__name__}.{key}"
            assert meaning or key == "`kind`", where
            if field.is_required():
                assert default == "required", where
            else:
                (value,) = names(default)
                given = TypeAdapter(field.annotation).validate_python(yaml.safe_load(value))
                assert given == field.get_default(call_default_factory=True), where


def test_the_settings_of_the_report_are_its_fields_and_defaults():
    (block,) = re.findall(r"^```yaml\n(report:.*?)^```", text_of("report.md"), re.MULTILINE | re.DOTALL)
    given = yaml.safe_load(block)["report"]
    assert given == {name: field.default for name, field in ReportConfig.model_fields.items()}


def test_every_stage_has_a_page_with_its_keys():
    documented = {config for classes in CLASSES.values() for config in classes} | {ReportConfig}
    for stage in stages.RUN:
        assert (DOCS / f"{stage}.md").exists()
        (config,) = (kind for kind in documented if kind.__name__ == f"{stage.capitalize()}Config")
        assert config.model_fields


def test_the_keys_of_the_training_log_are_listed():
    text = text_of("run-folder.md").partition("## log.jsonl")[2].partition("\n## ")[0]
    assert {names(line.split("|")[1])[0] for line in text.splitlines() if line.startswith("| `")} == set(
        LogLine.model_fields
    )


def test_the_keys_of_the_adapters_card_are_listed():
    text = text_of("run-folder.md").partition("## adapter/fireact.json")[2].partition("\n## ")[0]
    listed = {name for line in text.splitlines() if line.startswith("| `") for name in names(line.split("|")[1])}
    source = (Path(fireact.__file__).parent / "stages" / "finetune.py").read_text(encoding="utf-8")
    (card,) = (one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef) and one.name == "_card")
    (made,) = (node for node in ast.walk(card) if isinstance(node, ast.Dict))
    assert listed == {ast.literal_eval(key) for key in made.keys} - {"format", "version"}


def test_the_example_of_generate_does_what_the_pages_say(tmp_path):
    (block,) = re.findall(r"^```yaml\n(name: .*?)^```", text_of("generate.md"), re.MULTILINE | re.DOTALL)
    recipe = validate(yaml.safe_load(block) | {"unify": {}, "mix": {}}, Recipe, where="generate.md")
    for stage in ("generate", "unify", "mix"):
        printed = stages.run(stage, recipe, tmp_path).text
        assert stage == "unify" or f"$ fireact {stage} first.yaml\n{printed}\n" in text_of(f"{stage}.md")


@pytest.mark.parametrize("page", ["mix.md", "evaluate.md"])
def test_the_examples_of_a_section_are_valid(page):
    blocks = re.findall(r"^```yaml\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert validate({"name": "example"} | yaml.safe_load(block), Recipe, where=page).stages


def test_the_kinds_of_the_world_are_counted_right():
    rows = table("world.md", "kind", "entities", "facts")
    assert {names(kind)[0]: int(count) for kind, count, _ in rows} == SHIPPED_COUNTS
    for kind, _, facts in rows:
        assert names(facts) == [relation.name for relation in WORLD.kind(names(kind)[0]).relations]
    assert f"has {len(World.default().entities)} entities of {len(WORLD.kinds)} kinds" in text_of("world.md")


def test_the_task_families_are_counted_right():
    rows = table("world.md", "task", *SPLITS, "plays", "kinds of question")
    assert {names(task)[0] for task, *_ in rows} == set(COUNTS)
    for cell, *cells in rows:
        task = names(cell)[0]
        assert [int(count) for count in cells[:3]] == [COUNTS[task].get(split, 0) for split in SPLITS]
        assert set(names(cells[-1])) == {question.kind for question in questions(task, "test")}


def test_the_examples_of_questions_are_asked():
    asked = {
        (" ".join(question.full_text.split()), question.answer)
        for task in COUNTS
        for question in questions(task, "test")
    }
    rows = table("world.md", "kind", "question", "answer")
    assert len(rows) == 7
    assert {(question, answer) for _, question, answer in rows} <= asked


def test_the_unseen_chains_are_listed():
    rows = table("world.md", "subject", "chains")
    listed = {names(kind)[0]: tuple(tuple(chain.split(" → ")) for chain in cell.split("; ")) for kind, cell in rows}
    assert listed == UNSEEN_CHAINS


def test_what_splits_share_is_counted_right():
    known = {(fact.subject, fact.relation) for task in COUNTS for one in questions(task, "train") for fact in one.chain}
    shared = sum(
        any((fact.subject, fact.relation) in known for fact in one.chain) for one in questions("world/hop", "test")
    )
    assert f"In {shared} of the {COUNTS['world/hop']['test']} test questions" in " ".join(text_of("world.md").split())


def test_the_mixtures_of_pretraining_are_listed():
    rows = table("world.md", "kind", *MIXTURES, "content")
    assert [names(kind)[0] for kind, *_ in rows] == list(DOCUMENTS)
    for kind, *cells in rows:
        shares = [mixture.get(names(kind)[0], 0) for mixture in MIXTURES.values()]
        assert [number(cell) for cell in cells[:-1]] == pytest.approx([100 * share for share in shares])


def test_the_phases_of_pretraining_are_listed():
    # The module itself would import torch.
    source = (Path(fireact.__file__).parent / "world" / "pretrain.py").read_text(encoding="utf-8")
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    phases = [
        [ast.literal_eval(value) for value in call.args] for call in calls if getattr(call.func, "id", "") == "Phase"
    ]
    rows = table("world.md", "tokens", "window", "batch", "text", "rates")
    assert [
        [int(window), int(batch), number(tokens), text, tuple(map(float, rates.split(" to ")))]
        for tokens, window, batch, text, rates in rows
    ] == phases
    assert f"{sum(phase[2] for phase in phases):,} tokens in all" in text_of("world.md")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in LINK.findall(text_of(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (DOCS / name) if name else DOCS / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(path: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_linked_from_another_one(page):
    others = [ROOT / "README.md", *(DOCS / other for other in PAGES if other != page)]
    targets = {
        link.partition("#")[0].rpartition("/")[2]
        for path in others
        for link in LINK.findall(path.read_text(encoding="utf-8"))
    }
    assert page in targets
