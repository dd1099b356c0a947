"""metrics.py: scores of answers, and the figures of a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact.errors import ConfigError, DataError
from fireact.metrics import (
    Spread,
    exact_match,
    f1,
    score_choice,
    score_lines,
    score_words,
    score_yes_no,
    spread,
    turns_by_label,
    turns_by_message,
)
from fireact.trajectory import Action, Question, Score, Step, Trajectory


def trajectory(*steps, score=None, end="finished"):
    question = Question(id="q", task="hotpotqa", text="?")
    return Trajectory(
        id="t", question=question, method="react", dialect="react-text", model="m", steps=steps, end=end, score=score
    )


@given(st.text(), st.text())
def test_scores_lie_between_0_and_1_and_exact_match_implies_them(prediction, gold):
    assert 0 <= f1(prediction, gold) <= 1
    assert f1(prediction, gold) == pytest.approx(f1(gold, prediction))
    assert exact_match(gold, gold) == 1


def test_the_best_of_several_gold_wordings_counts():
    assert score_words("NYC", ("New York City", "N.Y.C.")) == Score(em=1.0, f1=1.0)
    assert score_words("York", ("New York City", "Big Apple")) == Score(em=0.0, f1=0.5)


def test_no_answer_scores_0():
    assert score_words(None, ("x",)) == Score(em=0.0, f1=0.0)
    assert score_yes_no(None, "no") == score_choice(None, "A") == Score(em=0.0, f1=0.0, strict=0.0)


@pytest.mark.parametrize(
    ("answer", "gold", "em", "strict"),
    [
        ("yes", "yes", 1, 1),
        ("Yes.", "yes", 1, 1),
        ("no", "yes", 0, 0),
        ("nobody knows", "no", 1, 0),
        ("yes, but rarely", "yes", 1, 0),
        (" yes", "yes", 0, 1),
        ("", "no", 0, 0),
    ],
)
def test_yes_and_no_are_right_by_how_the_answer_begins_and_strictly_as_a_whole(answer, gold, em, strict):
    assert score_yes_no(answer, gold) == Score(em=em, f1=em, strict=strict)


@pytest.mark.parametrize(
    ("answer", "gold", "em", "strict"),
    [
        ("A", "A", 1, 1),
        ("a.", "A", 1, 1),
        ("(B)", "B", 0, 1),
        ("B. eagle", "B", 1, 0),
        ("An eagle", "A", 1, 0),
        ("A, D", "A", 1, 0),
        ("None", "C", 0, 0),
        ("anything", "", 0, 0),
    ],
)
def test_a_choice_is_right_by_how_the_answer_begins_and_strictly_as_a_whole(answer, gold, em, strict):
    assert score_choice(answer, gold) == Score(em=em, f1=em, strict=strict)


def test_spread_is_that_of_the_values_themselves():
    assert spread([2, 4]) == Spread(mean=3.0, sd=1.0)
    assert spread([]) == Spread(mean=0.0, sd=0.0)


def test_turns_count_replies_or_labels_at_the_start_of_a_line():
    steps = [Step(reply="Thought: a\nThought: b Thought: c"), Step(reply="Action: search[x]"), Step(reply="")]
    assert turns_by_message(trajectory(*steps)) == 3
    assert turns_by_label(trajectory(*steps)) == 2


def test_an_imported_step_without_raw_reply_has_one_label_if_it_has_a_thought():
    action = Action(tool="finish", argument="x")
    assert turns_by_label(trajectory(Step(thought="a"), Step(reflection="b", action=action), Step(action=action))) == 2


def test_a_question_without_trajectory_counts_as_wrong_and_turns_are_those_of_finished_episodes():
    one, three = (Step(reply="Thought: a"),), (Step(reply="Thought: a\nThought: b"),) * 3
    rows = [
        trajectory(*one, score=Score(em=1.0, f1=1.0)),
        trajectory(*three, score=Score(em=0.0, f1=0.5)),
        trajectory(*three, *three, end="step_limit"),
    ]
    assert score_lines(rows, asked=10) == (
        "em 10.00",
        "f1 15.00",
        "finished 2 of 10",
        "turns_by_message 2.00 1.00",
        "turns_by_label 3.50 2.50",
    )
    assert score_lines(rows)[:3] == ("em 33.33", "f1 50.00", "finished 2 of 3")


def test_the_strict_score_is_added_where_a_task_has_one():
    rows = [trajectory(score=Score(em=1.0, f1=1.0, strict=0.0)), trajectory(score=Score(em=1.0, f1=1.0))]
    assert score_lines(rows)[-1] == "strict 50.00"


def test_nothing_to_score_and_too_few_asked_are_refused():
    with pytest.raises(DataError, match="no trajectories to score"):
        score_lines([])
    with pytest.raises(ConfigError, match="--asked 1 is less than the 2 trajectories"):
        score_lines([trajectory(), trajectory()], asked=1)
