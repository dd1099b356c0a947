"""io: one reply, its answer, and where prompts come from."""

from __future__ import annotations

import pytest

from fireact.dialects import DIALECTS
from fireact.errors import ConfigError
from fireact.methods import open_method
from fireact.methods.cot import CotConfig
from fireact.methods.io import Io, IoConfig
from fireact.methods.prompts import known_prompts, read_prompt

REACT_TEXT = DIALECTS["react-text"]
IO = Io("Answer!")


def answer(reply: str) -> str | None:
    return IO.answer([IO.read(reply, IO.turn([]), REACT_TEXT)])


def test_it_asks_with_its_prompt_and_stops_at_the_next_example():
    turn = IO.turn([])
    assert (turn.instruction, turn.reflection, turn.stop) == ("Answer!", "", ("\nQuestion:",))
    assert not IO.uses_tools


def test_a_reply_makes_a_step_without_thought_and_action():
    step = IO.read("Answer: Paris", IO.turn([]), REACT_TEXT)
    assert (step.reply, step.thought, step.action, step.parse_error) == ("Answer: Paris", "", None, "")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Answer: Paris", "Paris"),
        ("  Answer:  Paris \n", "Paris"),
        ("Answer:\nParis", "Paris"),
        ("Answer: Paris\nAnswer: Rome", "Paris"),
        ("I think so.\nAnswer: Paris\nmore", "Paris"),
        ("Paris", "Paris"),
        ("Sure. Answer: Paris", "Paris"),
    ],
)
def test_the_answer_stands_after_its_label_or_is_the_whole_line(reply, expected):
    assert answer(reply) == expected


@pytest.mark.parametrize("reply", ["", " \n", "Answer:", "two\nlines", "Thought: hm", "Action: search[x]"])
def test_a_reply_without_answer_says_so_and_answers_nothing(reply):
    step = IO.read(reply, IO.turn([]), REACT_TEXT)
    assert step.parse_error.startswith("expected a line 'Answer: ...', got ")
    assert IO.answer([step]) is None


def test_no_prompt_is_an_empty_instruction():
    assert open_method(IoConfig(prompt="none"), "no/such task").turn([]).instruction == ""


def test_a_prompt_may_be_a_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\nAnswer in French.\n\n", encoding="utf-8")
    assert open_method(IoConfig(prompt=str(path)), "mmlu").turn([]).instruction == "Answer in French."


def test_a_prompt_file_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "gone.txt"
    with pytest.raises(ConfigError) as caught:
        open_method(IoConfig(prompt=str(path)), "mmlu")
    assert str(caught.value) == (
        f"prompt {path}: cannot be read (No such file or directory); give a .txt file, task or none"
    )


def test_a_prompt_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read \\(not UTF-8\\)"):
        open_method(IoConfig(prompt=str(path)), "mmlu")


def test_a_prompt_that_is_neither_word_nor_file_is_refused():
    with pytest.raises(ValueError, match=r"expected task, none, or the path of a \.txt file, got 'taks'"):
        IoConfig(prompt="taks")


def test_a_missing_packaged_prompt_names_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        open_method(CotConfig(), "world/chess")
    message = str(caught.value)
    assert message.startswith("method cot: no packaged prompt 'cot/world-chess'; known: cot/hotpotqa, cot/mmlu, ")
    assert message.endswith("; set prompt to the path of a .txt file, or to none")


def test_the_paper_tasks_have_prompts():
    wanted = {f"{method}/{task}" for method in ("io", "cot", "react") for task in ("hotpotqa", "strategyqa", "mmlu")}
    assert wanted <= set(known_prompts())


def test_bamboogle_has_the_prompts_of_hotpotqa_and_reflexion_those_of_react():
    assert read_prompt("task", method="io", task="bamboogle") == read_prompt("task", method="io", task="hotpotqa")
    assert read_prompt("task", method="reflexion", task="mmlu") == read_prompt("task", method="react", task="mmlu")


def test_the_examples_of_packaged_prompts_answer_as_the_method_reads():
    found = [
        (task, answer(lines.rpartition("\n")[2]))
        for task in ("hotpotqa", "strategyqa", "mmlu")
        for lines in read_prompt("task", method="io", task=task).split("\n\nQuestion: ")[1:]
    ]
    assert found == [
        ("hotpotqa", "Salzach"),
        ("hotpotqa", "Aconcagua"),
        ("hotpotqa", "no"),
        ("hotpotqa", "Mary Wollstonecraft"),
        ("hotpotqa", "1820"),
        ("hotpotqa", "Ridley Scott"),
        ("strategyqa", "no"),
        ("strategyqa", "yes"),
        ("strategyqa", "yes"),
        ("strategyqa", "no"),
        ("mmlu", "C"),
        ("mmlu", "B"),
        ("mmlu", "D"),
    ]
