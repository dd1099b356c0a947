"""results: scores, paired differences, drops, kinds of question and the teacher, on outcomes that can be counted."""

from __future__ import annotations

import pytest

from fireact.stages import results
from fireact.stages.results import Cell, Outcome, differences, drops, groups, row, teaching
from fireact.trajectory import Action, Fact, Question, Score, Step, Trajectory, Usage

HOP = "world/hop"


def outcome(number: int, right: bool, **fields) -> Outcome:
    defaults = {"is_scored": True, "f1": float(right), "turns": 3, "tokens_in": 100, "tokens_out": 20, "seconds": 2.0}
    rest = {"has_failed": False, "groups": ()}
    return Outcome(question=f"q{number}", is_correct=right, **(defaults | rest | fields))


def cell(agent: str, rights: str, *, noise: str = "normal", **fields) -> Cell:
    """One outcome for each letter, `r` or `w`; further fields are those of all outcomes."""
    outcomes = tuple(outcome(number, letter == "r", **fields) for number, letter in enumerate(rights))
    return Cell(agent, noise, HOP, "test", outcomes)


def trajectory(right: bool, **fields) -> Trajectory:
    facts = (Fact(subject="Ann", relation="town", value="Rome", is_famous=False),)
    usage = Usage(calls=1, tokens_in=50, tokens_out=10, seconds=0.5)
    action = Action(tool="finish", argument="Rome")
    defaults = {
        "id": "x",
        "question": Question(id="q1", task=HOP, text="Where is Ann?", answer="Rome", kind="bridge", chain=facts),
        "method": "react",
        "dialect": "react-text",
        "model": "m",
        "steps": (Step(action=action, usage=usage), Step(action=action, usage=usage)),
        "end": "finished",
        "score": Score(em=float(right), f1=1.0),
        "seconds": 9.0,
    }
    return Trajectory(**(defaults | fields))


def difference(a: Cell, b: Cell):
    (found,) = differences([b, a], baseline=b.agent, seed=0)
    return found


def test_a_row_has_scores_in_per_cent_and_means_per_question():
    found = row(cell("a", "rrrw"))
    assert (found.n, found.em, found.f1) == (4, 75.0, 75.0)
    assert (found.em_low, found.em_high) == (pytest.approx(30.06, abs=0.01), pytest.approx(95.44, abs=0.01))
    assert (found.turns, found.tokens_in, found.tokens_out, found.seconds) == (3.0, 100.0, 20.0, 2.0)


def test_questions_without_gold_answer_have_costs_but_no_scores():
    found = row(cell("a", "ww", is_scored=False))
    assert (found.n, found.em, found.em_low, found.em_high, found.f1) == (0, None, None, None, None)
    assert found.turns == 3.0


def test_what_is_not_a_number_becomes_none():
    assert row(cell("a", "rw", f1=float("nan"))).f1 is None


def test_failed_episodes_count_as_wrong_and_are_counted():
    found = row(cell("a", "www", has_failed=True))
    assert (found.failed, found.em) == (3, 0.0)


def test_a_trajectory_gives_its_turns_tokens_and_seconds():
    found = results.outcome(trajectory(True))
    assert (found.question, found.is_correct, found.f1, found.turns) == ("q1", True, 1.0, 2)
    assert (found.tokens_in, found.tokens_out, found.seconds) == (100, 20, 1.0)
    assert found.groups == ("obscure facts", "bridge")


def test_a_difference_is_in_points_and_relative_to_the_baseline():
    found = difference(cell("tuned", "rrrrrrrw"), cell("prompted", "rrrrwwww"))
    assert (found.a, found.b, found.n) == ("tuned", "prompted", 8)
    assert (found.difference, found.relative_gain) == (37.5, 75.0)
    assert (found.low, found.high) == (12.5, 75.0)


def test_a_difference_is_over_common_questions_only():
    late = Cell("tuned", "normal", HOP, "test", (outcome(2, True), outcome(3, True), outcome(9, False)))
    found = difference(late, cell("prompted", "wwrw"))
    assert (found.n, found.difference) == (2, 50.0)


def test_without_common_questions_there_is_no_difference():
    late = Cell("tuned", "normal", HOP, "test", (outcome(9, True),))
    assert list(differences([cell("prompted", "rw"), late], baseline="prompted", seed=0)) == []


def test_nothing_is_relative_to_a_baseline_of_zero():
    found = difference(cell("tuned", "rr"), cell("prompted", "ww"))
    assert (found.difference, found.relative_gain) == (100.0, None)


def test_agents_are_compared_under_the_same_noise():
    cells = [cell(agent, "rw", noise=noise) for agent in ("prompted", "tuned") for noise in ("normal", "none")]
    found = list(differences(cells, baseline="prompted", seed=0))
    assert [(one.a, one.noise) for one in found] == [("tuned", "normal"), ("tuned", "none")]


def test_the_drop_is_relative_to_clean_tools():
    (found,) = drops([cell("a", "rrrr"), cell("a", "rrrw", noise="none")], normal="normal")
    assert (found.noise, found.em_normal, found.em, found.drop) == ("none", 100.0, 75.0, 25.0)


def test_noise_that_helps_is_a_drop_below_zero():
    (found,) = drops([cell("a", "rw"), cell("a", "rr", noise="none")], normal="normal")
    assert found.drop == -100.0


def test_there_is_no_relative_drop_from_zero():
    (found,) = drops([cell("a", "ww"), cell("a", "ww", noise="none")], normal="normal")
    assert found.drop is None


def test_of_two_agents_that_are_no_baseline_the_first_stands_behind():
    cells = [cell("first", "r"), cell("second", "r"), cell("baseline", "r")]
    found = [(one.a, one.b) for one in differences(cells, baseline="baseline", seed=0)]
    assert found == [("first", "baseline"), ("second", "baseline"), ("second", "first")]


def test_kinds_of_question_have_their_own_scores():
    facts = [("famous facts", "bridge"), ("obscure facts", "bridge"), ("obscure facts", "comparison")]
    outcomes = tuple(outcome(number, number == 0, groups=those) for number, those in enumerate(facts))
    found = list(groups(Cell("a", "normal", HOP, "test", outcomes)))
    assert [(one.group, one.n, one.em) for one in found] == [
        ("famous facts", 1, 100.0),
        ("obscure facts", 2, 0.0),
        ("bridge", 2, 50.0),
        ("comparison", 1, 0.0),
    ]


def test_a_kind_that_all_questions_are_of_is_left_out():
    assert list(groups(cell("a", "rw", groups=("bridge",)))) == []


def test_the_teacher_is_judged_by_task_and_method():
    asked = [trajectory(True), trajectory(False), trajectory(True, method="cot"), trajectory(True)]
    found = list(teaching([*asked, trajectory(False, score=None)]))
    assert [(one.method, one.right, one.n) for one in found] == [("cot", 1, 1), ("react", 2, 3)]
    assert found[1].share == pytest.approx(66.67, abs=0.01)


def test_kinds_are_told_apart_with_clean_tools_only():
    cells = [cell("a", "rw", noise=noise, groups=()) for noise in ("normal", "none")]
    found = results.results(cells, [], baseline="a", normal="normal", seed=0)
    assert (len(found.rows), found.differences, len(found.drops), found.groups, found.teacher) == (2, (), 1, (), ())


def test_the_strict_score_stands_beside_a_loose_one():
    outcomes = (outcome(0, True, strict=0.0), outcome(1, True, strict=1.0), outcome(2, True), outcome(3, False))
    assert row(Cell("a", "normal", "mmlu", "test", outcomes)).strict == 50.0
    assert row(cell("a", "rw")).strict is None
    assert results.outcome(trajectory(True, score=Score(em=1.0, f1=1.0, strict=0.0))).strict == 0.0


def test_dollars_are_a_mean_over_all_questions_where_the_price_of_all_replies_is_known():
    def dollars(*values, turns=(3, 3)):
        outcomes = (outcome(place, True, dollars=value, turns=turns[place]) for place, value in enumerate(values))
        return row(Cell("a", "normal", HOP, "test", tuple(outcomes))).dollars

    assert dollars(0.002, 0.004) == 0.003
    assert dollars(None, None) is None
    assert dollars(0.002, None) is None
    assert dollars(0.002, None, turns=(3, 0)) == 0.001
