"""reflexion: ReAct with a reflection in late rounds."""

from __future__ import annotations

import re

import pytest

from fireact.dialects import DIALECTS
from fireact.dialects.react_text import parse_transcript
from fireact.methods import open_method
from fireact.methods.react import React
from fireact.methods.reflexion import Reflexion, ReflexionConfig
from fireact.trajectory import Action, Question, Step

REACT_TEXT = DIALECTS["react-text"]
SEARCH = Step(thought="I look.", action=Action(tool="search", argument="x"), observation="None")
REFLECT = (
    "My attempts have not led to an answer within 5 steps, so let me reflect on what went wrong and change course."
)
WRAP_UP = (
    "My attempts have not led to an answer within 9 steps, so I must settle on the most likely one and finish in the"
    " next step."
)


def reflections(method: Reflexion, num_rounds: int) -> dict[int, str]:
    """The rounds, counted from 1, that have a reflection."""
    turns = {number: method.turn([SEARCH] * (number - 1)) for number in range(1, num_rounds + 1)}
    return {number: turn.reflection for number, turn in turns.items() if turn.reflection}


def test_it_reflects_in_round_6_and_wraps_up_in_round_10():
    method = open_method(ReflexionConfig(prompt="none"), "hotpotqa")
    assert reflections(method, 12) == {6: REFLECT, 10: WRAP_UP}


def test_the_rounds_can_be_chosen_and_the_last_of_several_wraps_up():
    found = reflections(open_method(ReflexionConfig(prompt="none", rounds=(2, 4, 8)), "hotpotqa"), 12)
    assert list(found) == [2, 4, 8]
    assert found[2].startswith("My attempts have not led to an answer within 1 step, so let me reflect")
    assert found[4].startswith("My attempts have not led to an answer within 3 steps, so let me reflect")
    assert "within 7 steps, so I must settle" in found[8]


def test_a_single_round_reflects():
    assert "let me reflect" in reflections(Reflexion(React(""), (6,)), 12)[6]


@pytest.mark.parametrize("sentence", [REFLECT, WRAP_UP])
def test_the_sentences_have_the_form_that_marks_a_reflection(sentence):
    assert re.fullmatch(r"[^.]* within \d+ steps, [^.]*\.", sentence)


def test_in_all_else_it_is_react():
    method, react = Reflexion(React("Act!"), (6, 10)), React("Act!")
    assert method.turn([]) == react.turn([])
    step = method.read("Thought: t\nAction: finish[a]", method.turn([]), REACT_TEXT)
    assert step == react.read("Thought: t\nAction: finish[a]", react.turn([]), REACT_TEXT)
    assert method.answer([step]) == "a"
    assert method.uses_tools


def test_the_reflection_is_kept_apart_from_the_thought():
    method = Reflexion(React(""), (6, 10))
    turn = method.turn([SEARCH] * 5)
    step = method.read("Thought: Other words.\nAction: search[y]", turn, REACT_TEXT)
    assert (step.reflection, step.thought) == (REFLECT, "Other words.")
    assert method.read("", turn, REACT_TEXT).reflection == REFLECT


def test_a_reflection_is_read_by_the_model_and_reads_back_as_such():
    question = Question(id="1", task="hotpotqa", text="Who?")
    step = SEARCH.model_copy(update={"reflection": REFLECT})
    text = "".join(piece.text for piece in REACT_TEXT.render(question, [SEARCH, step]))
    assert f"\nThought: {REFLECT}\nThought: I look.\n" in text
    assert parse_transcript(text) == ("Who?", (SEARCH, step))


@pytest.mark.parametrize("rounds", [(), (1, 6), (6, 6), (10, 6)])
def test_rounds_that_cannot_be_are_refused(rounds):
    with pytest.raises(ValueError, match="expected ascending turns from 2 on, such as \\[6, 10\\], got"):
        ReflexionConfig(rounds=rounds)
