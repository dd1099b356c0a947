"""react: turns of thought and action until finish."""

from __future__ import annotations

import pytest

from fireact.dialects import DIALECTS
from fireact.dialects.react_text import parse_transcript
from fireact.methods import Turn, open_method
from fireact.methods.react import React, ReactConfig
from fireact.trajectory import Action, Step

REACT_TEXT = DIALECTS["react-text"]
REACT = React("Act!")


def read(reply: str) -> Step:
    return REACT.read(reply, REACT.turn([]), REACT_TEXT)


def examples(task: str) -> list[tuple[str, tuple[Step, ...]]]:
    shown = open_method(ReactConfig(), task).turn([]).instruction.split("\n\nQuestion: ")[1:]
    return [parse_transcript(f"Question: {text}") for text in shown]


def test_it_asks_with_its_prompt_and_stops_at_the_next_example():
    assert REACT.turn([]) == REACT.turn([Step()]) == Turn("Act!", reflection="", stop=("\nQuestion:",))
    assert REACT.uses_tools


def test_a_reply_makes_a_step_with_thought_and_action():
    step = read("Thought: I look.\nAction: search[x]")
    assert (step.thought, step.action, step.parse_error) == ("I look.", Action(tool="search", argument="x"), "")
    assert step.reply == "Thought: I look.\nAction: search[x]"
    assert REACT.answer([step]) is None


def test_finish_ends_with_its_argument():
    assert REACT.answer([read("Thought: done\nAction: finish[Paris]")]) == "Paris"
    assert REACT.answer([read("Action: finish[]")]) == ""


def test_only_the_last_step_can_end_the_episode():
    assert REACT.answer([read("Action: finish[Paris]"), read("Action: search[x]")]) is None


def test_a_thought_alone_goes_on():
    step = read("Thought: hm")
    assert (step.thought, step.action, step.parse_error, REACT.answer([step])) == ("hm", None, "", None)


def test_a_reply_that_cannot_be_read_says_so_and_goes_on():
    step = read(" \n")
    assert step.parse_error.startswith("expected a line 'Thought: ...' and a line 'Action: tool[argument]'")
    assert (step.reply, step.action, REACT.answer([step])) == (" \n", None, None)


@pytest.mark.parametrize(("task", "count"), [("hotpotqa", 4), ("strategyqa", 4), ("mmlu", 3), ("bamboogle", 4)])
def test_packaged_examples_are_whole_episodes_in_the_form_that_is_read(task, count):
    episodes = examples(task)
    assert len(episodes) == count
    for _, steps in episodes:
        assert all(step.thought and step.action and not step.reflection for step in steps)
        assert [step.action.tool for step in steps] == ["search"] * (len(steps) - 1) + ["finish"]
        assert [step.observation is None for step in steps] == [False] * (len(steps) - 1) + [True]


@pytest.mark.parametrize("task", ["hotpotqa", "strategyqa", "mmlu"])
def test_packaged_examples_show_a_failed_search_and_another_wording(task):
    failed = [steps for _, steps in examples(task) if any(step.observation == "None" for step in steps)]
    assert len(failed) == 1
    place = next(index for index, step in enumerate(failed[0]) if step.observation == "None")
    again = failed[0][place + 1]
    assert again.action.tool == "search"
    assert again.action.argument != failed[0][place].action.argument


def test_packaged_examples_answer_in_the_form_of_the_task():
    assert [steps[-1].action.argument for _, steps in examples("strategyqa")] == ["yes", "yes", "no", "no"]
    assert [steps[-1].action.argument for _, steps in examples("mmlu")] == ["B", "D", "A"]
    assert all("\nA. " in question and "\nD. " in question for question, _ in examples("mmlu"))
