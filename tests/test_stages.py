"""stages/__init__.py: a recipe, and what its sections are handed down."""

import pytest

from fireact import runs
from fireact.config import to_values, validate
from fireact.errors import ConfigError, DependencyError, RunError
from fireact.runs import STAGES
from fireact.stages import RUN, Recipe, complete, require_all
from fireact.stages.asking import QuestionSet
from fireact.stages.mix import MixConfig
from fireact.stages.unify import UnifyConfig

REACT = {"kind": "react"}
EVALUATE = {
    "agents": [
        {"name": "a", "model": {"kind": "oracle"}, "method": REACT},
        {"name": "b", "model": {"kind": "oracle", "seed": 3}, "method": REACT, "seed": 4},
    ],
    "tasks": [{"task": "world/hop", "split": "test", "num_questions": 5, "noises": ["none"]}],
    "noises": ["normal", {"kind": "random", "seed": 0}],
}


def recipe(**sections) -> Recipe:
    return validate({"name": "small", "seed": 7, **sections}, Recipe, where="recipe")


def test_every_stage_can_be_run_and_has_a_section():
    assert tuple(RUN) == STAGES
    assert set(STAGES) < set(Recipe.model_fields)


def test_stages_are_in_the_order_they_run_in():
    assert recipe(report={}, unify={}, mix={}).stages == ("unify", "mix", "report")


def test_the_seed_of_a_recipe_goes_to_all_that_give_none():
    section = recipe(evaluate=EVALUATE).section("evaluate")
    assert [(agent.seed, agent.model.seed) for agent in section.agents] == [(7, 7), (4, 3)]
    assert [noise and noise.seed for noise in section.noises] == [None, 0]
    assert section.tasks[0].noises[0].seed == 7


def test_a_seed_of_nought_is_given_too():
    assert recipe(mix={"seed": 0}).section("mix").seed == 0
    assert recipe(mix={}).section("mix").seed == 7


def test_mix_is_told_what_evaluate_will_ask():
    asked = QuestionSet(task="world/hop", split="test", num_questions=5)
    assert recipe(mix={}, evaluate=EVALUATE).section("mix").test == (asked,)


def test_a_resolved_recipe_reads_back_as_itself():
    resolved = recipe(mix={}, evaluate=EVALUATE).resolved()
    values = to_values(resolved)
    assert values["evaluate"]["agents"][0]["model"]["seed"] == 7
    assert to_values(validate(values, Recipe, where="recipe").resolved()) == values


def test_a_section_that_is_missing_is_named_with_those_there():
    with pytest.raises(ConfigError, match="recipe 'small' has no section 'mix', only unify; add one"):
        recipe(unify={}).section("mix")


def test_mix_is_told_its_own_test_questions_beside_those_of_evaluate():
    own = {"task": "world/hop", "split": "train", "num_questions": 2}
    asked = recipe(mix={"test": [own]}, evaluate=EVALUATE).section("mix").test
    assert [(one.split, one.num_questions) for one in asked] == [("train", 2), ("test", 5)]


def begin(folder, stage, section):
    """A stage that was begun with a section and has made something."""
    (runs.open_stage(folder, stage, section) / "made.jsonl").write_text("{}")


def test_a_section_that_is_left_out_is_the_one_that_its_stage_was_made_with(tmp_path):
    begin(tmp_path, "unify", UnifyConfig(files=("x.jsonl",)))
    whole = complete(recipe(mix={}), tmp_path, running="mix")
    assert (whole.unify, whole.stages) == (UnifyConfig(files=("x.jsonl",)), ("unify", "mix"))


def test_a_recipe_that_says_otherwise_than_what_was_made_is_refused(tmp_path):
    begin(tmp_path, "unify", UnifyConfig(files=("x.jsonl",)))
    with pytest.raises(
        RunError, match=r"was made with another recipe; these keys differ: unify\.files\.0; use another"
    ):
        complete(recipe(unify={"files": ["y.jsonl"]}, mix={}), tmp_path, running="mix")


def test_all_stages_that_were_made_otherwise_are_named_at_once_the_earliest_first(tmp_path):
    begin(tmp_path, "unify", UnifyConfig(files=("x.jsonl",)))
    begin(tmp_path, "mix", MixConfig(validation_share=0.5))
    with pytest.raises(RunError, match=r"keys differ: unify\.files\.0, mix\.\S+, .*: \S*unify, \S*mix$"):
        complete(recipe(unify={"files": ["y.jsonl"]}, mix={}), tmp_path, running="unify")


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"unify": {}}, "'unify' reads what 'generate' makes, and there is no section 'generate'"),
        ({"unify": {"files": ["x"]}, "mix": {}, "report": {}}, "'report' reads what 'evaluate' makes"),
        ({"finetune": {}}, "'finetune' reads what 'mix' makes"),
    ],
)
def test_a_run_that_would_stop_on_its_way_is_refused_at_its_start(tmp_path, sections, sentence):
    with pytest.raises(ConfigError, match=sentence):
        require_all(recipe(**sections), tmp_path)


def test_what_an_earlier_run_has_made_need_not_be_in_the_recipe(tmp_path):
    runs.write_text(runs.output(tmp_path, "unify"), "{}")
    require_all(recipe(mix={}), tmp_path)


def test_packages_that_are_missing_are_asked_for_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr("fireact.stages.find_spec", lambda _: None)
    with pytest.raises(DependencyError, match=r"the package torch is missing; .*pip install -e '\.\[train\]'"):
        require_all(recipe(finetune={"train": "x.jsonl"}), tmp_path)
    require_all(recipe(evaluate=EVALUATE), tmp_path)
