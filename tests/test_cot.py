"""cot: one reply with reasoning and an answer."""

from __future__ import annotations

import pytest

from fireact.dialects import DIALECTS
from fireact.methods import open_method
from fireact.methods.cot import Cot, CotConfig
from fireact.methods.prompts import read_prompt

REACT_TEXT = DIALECTS["react-text"]
COT = Cot("Think!")


def read(reply: str):
    step = COT.read(reply, COT.turn([]), REACT_TEXT)
    return step, COT.answer([step])


def test_it_asks_with_its_prompt_and_stops_at_the_next_example():
    turn = COT.turn([])
    assert (turn.instruction, turn.reflection, turn.stop) == ("Think!", "", ("\nQuestion:",))
    assert not COT.uses_tools


def test_a_reply_makes_a_step_with_the_thought_and_without_action():
    step, answer = read("Thought: France, so Paris.\nAnswer: Paris")
    assert (step.thought, step.action, step.parse_error, answer) == ("France, so Paris.", None, "", "Paris")
    assert step.reply == "Thought: France, so Paris.\nAnswer: Paris"


@pytest.mark.parametrize(
    ("reply", "thought", "answer"),
    [
        ("Answer: Paris", "", "Paris"),
        (" Thought: Thought: a\n\nb\nAnswer: Paris\n\n", "a\n\nb", "Paris"),
        ("It is France.\nAnswer: Paris", "It is France.", "Paris"),
        ("Thought: It is France. Answer: no.", "It is France.", "no."),
        ("Thought: The label Answer: ends it.\nAnswer: yes", "The label Answer: ends it.", "yes"),
        ("Thought: a\nAnswer: yes\nThought: b\nAnswer: no", "a", "yes"),
    ],
)
def test_thought_and_answer_are_told_apart(reply, thought, answer):
    step, found = read(reply)
    assert (step.thought, found) == (thought, answer)


@pytest.mark.parametrize("reply", ["", "Thought: I go on and on", "Thought: x\nAnswer: ", "Paris"])
def test_a_reply_without_answer_says_so_and_answers_nothing(reply):
    step, answer = read(reply)
    assert step.parse_error == f"expected a line 'Answer: ...', got {reply!r}"
    assert (step.reply, answer) == (reply, None)


def test_only_the_beginning_of_a_long_reply_is_shown():
    step, _ = read("x" * 500)
    assert step.parse_error == f"expected a line 'Answer: ...', got {'x' * 80!r}"


@pytest.mark.parametrize(("task", "count"), [("hotpotqa", 6), ("strategyqa", 4), ("mmlu", 3), ("bamboogle", 6)])
def test_the_examples_of_packaged_prompts_have_thought_and_answer(task, count):
    examples = open_method(CotConfig(), task).turn([]).instruction.split("\n\nQuestion: ")[1:]
    steps = [read(example[example.index("\nThought:") :])[0] for example in examples]
    assert len(steps) == count
    assert all(step.thought and not step.parse_error for step in steps)


@pytest.mark.parametrize("task", ["hotpotqa", "strategyqa", "mmlu"])
def test_io_and_cot_show_the_same_questions_and_answers(task):
    def lines(method: str) -> list[str]:
        shown = read_prompt("task", method=method, task=task).splitlines()[1:]
        return [line for line in shown if not line.startswith("Thought:")]

    assert lines("cot") == lines("io")
