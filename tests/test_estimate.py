"""stages/estimate.py: what a stage would ask and cost, said beforehand."""

import pytest

from fireact.config import validate
from fireact.money import Price
from fireact.stages import Recipe
from fireact.stages.estimate import Load, estimates, report

PAID = {"kind": "openai", "model": "m", "base_url": "http://a/v1", "price": {"input": 1.0, "output": 4.0}}


def section(stage: str, **values):
    recipe = validate({"name": "r", stage: values}, Recipe, where="recipe")
    return recipe.section(stage)


def generate(teacher=None, **group):
    episodes = [{"task": "world/hop", "split": "train", "method": {"kind": "react", "prompt": "none"}, **group}]
    return section("generate", teacher=teacher or PAID, episodes=episodes, max_steps=10, max_tokens=100)


def test_calls_and_tokens_are_counted_for_the_likely_case_and_at_most():
    (found,) = estimates(generate(num_questions=100))
    assert (found.label, found.episodes) == ("generate", 100)
    assert (found.likely.calls, found.most.calls) == (400, 1000)
    assert (found.likely.tokens_out, found.most.tokens_out) == (400 * 60, 1000 * 100)
    # At most: a page of 400 characters and a reply of 100 tokens are read again in each of the turns after them.
    again = (100 + 100) * 45
    first = (found.most.tokens_in / 100 - again) / 10
    assert 10 < first < 40


def test_a_method_without_tools_has_one_turn():
    (found,) = estimates(generate(num_questions=10, method={"kind": "cot", "prompt": "none"}))
    assert (found.likely.calls, found.most.calls) == (10, 10)


def test_dollars_follow_from_the_price():
    load = Load(calls=1, tokens_in=1_000_000, tokens_out=500_000)
    assert load.cost(Price(input=1.0, output=4.0)) == pytest.approx(3.0)
    (found,) = estimates(generate(num_questions=100))
    assert f"about ${found.likely.cost(found.price):.2f} (at most ${found.most.cost(found.price):.2f})" in found.line()


def test_what_costs_nothing_and_what_has_no_price_says_so():
    (free,) = estimates(generate({"kind": "oracle"}, num_questions=1))
    assert free.line().endswith("nothing to pay")
    (unknown,) = estimates(generate(PAID | {"price": None}, num_questions=1))
    assert unknown.line().endswith("price not known; give the model a 'price'")


def test_every_agent_of_a_comparison_has_its_own_line_over_all_noises():
    agents = [{"name": name, "model": PAID, "method": {"kind": "react", "prompt": "none"}} for name in ("a", "b")]
    tasks = [{"task": "world/hop", "split": "test", "num_questions": 10}]
    found = list(estimates(section("evaluate", agents=agents, tasks=tasks, noises=["normal", "none"])))
    assert [(one.label, one.episodes) for one in found] == [("evaluate a", 20), ("evaluate b", 20)]


def test_other_stages_ask_nobody():
    assert report(estimates(section("unify"))) == "no model is asked anything"


def test_list_prices_are_dated():
    text = report(estimates(generate({"kind": "openai", "model": "gpt-4o-mini"}, num_questions=1)))
    assert text.splitlines()[-1].startswith("list prices of 2025-08-31; ")
    assert len(report(estimates(generate(num_questions=1))).splitlines()) == 1
