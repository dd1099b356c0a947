"""formats/ on the four released files in both forms; expected figures are counts of the files themselves."""

from collections import Counter

import pytest

from fireact.dialects import Author, open_dialect
from fireact.dialects.react_text import parse_transcript
from fireact.formats import read_trajectories
from fireact.metrics import score_lines, turns_by_label, turns_by_message

ROWS = {"hotpotqa": 500, "hotpotqa_multimethod": 734, "multitask": 1344, "multitask_multimethod": 2063}
# The chat form lacks one row that has no thought.
CHAT_ROWS = ROWS | {"hotpotqa_multimethod": 733}
KINDS = {
    "hotpotqa": {("hotpotqa", "react"): 500},
    "hotpotqa_multimethod": {("hotpotqa", "cot"): 187, ("hotpotqa", "react"): 500, ("hotpotqa", "reflexion"): 47},
    "multitask": {("hotpotqa", "react"): 500, ("mmlu", "react"): 456, ("strategyqa", "react"): 388},
    "multitask_multimethod": {
        ("hotpotqa", "react"): 500, ("mmlu", "react"): 456, ("strategyqa", "react"): 388,
        ("hotpotqa", "cot"): 186, ("mmlu", "cot"): 247, ("strategyqa", "cot"): 215,
        ("hotpotqa", "reflexion"): 47, ("mmlu", "reflexion"): 9, ("strategyqa", "reflexion"): 15,
    },
}  # fmt: skip
DIALECT = open_dialect("react-text")


@pytest.fixture(scope="module")
def imported(released):
    """The imported files by form and name; all are read once."""
    places = {"fireact-alpaca": "alpaca_format/{}.json", "fireact-gpt": "gpt_format/{}.jsonl"}
    return {
        (form, name): read_trajectories(released / "finetune" / place.format(name), form)
        for form, place in places.items()
        for name in ROWS
    }


@pytest.fixture(scope="module")
def largest(imported):
    return imported["fireact-alpaca", "multitask_multimethod"].trajectories


def kinds(trajectories):
    return Counter((trajectory.task, trajectory.method) for trajectory in trajectories)


@pytest.mark.parametrize("name", ROWS)
def test_all_rows_import(imported, name):
    alpaca, chat = imported["fireact-alpaca", name], imported["fireact-gpt", name]
    assert (len(alpaca.trajectories), len(chat.trajectories)) == (ROWS[name], CHAT_ROWS[name])
    assert alpaca.problems == chat.problems == ()
    assert all(trajectory.end == "finished" for trajectory in alpaca.trajectories + chat.trajectories)


@pytest.mark.parametrize("name", ROWS)
def test_tasks_and_methods_of_the_alpaca_form_are_those_of_its_blocks(imported, name):
    assert kinds(imported["fireact-alpaca", name].trajectories) == KINDS[name]


def test_the_blocks_of_the_largest_file_begin_where_they_do(largest):
    row = [(trajectory.task, trajectory.method) for trajectory in largest]
    starts = [index for index in range(len(row)) if index == 0 or row[index] != row[index - 1]]
    assert starts == [0, 500, 956, 1344, 1530, 1777, 1992, 2039, 2048]


@pytest.mark.parametrize("name", ["hotpotqa", "hotpotqa_multimethod", "multitask"])
def test_three_chat_files_have_the_same_kinds_as_their_alpaca_form(imported, name):
    missing = {("hotpotqa", "cot"): 1} if name == "hotpotqa_multimethod" else {}
    assert kinds(imported["fireact-gpt", name].trajectories) == Counter(KINDS[name]) - Counter(missing)


def test_what_the_largest_chat_file_does_not_tell_is_guessed_and_noted(imported, largest):
    """328 ReAct rows of one turn look like CoT; 27 HotpotQA CoT answers are yes or no, 3 of StrategyQA are not."""
    known = {content(trajectory): (trajectory.task, trajectory.method) for trajectory in largest}
    wrong = [
        trajectory
        for trajectory in imported["fireact-gpt", "multitask_multimethod"].trajectories
        if known[content(trajectory)] != (trajectory.task, trajectory.method)
    ]
    assert len(wrong) == 296 + 32 + 27 + 3
    assert all(any("guessed" in note for note in trajectory.source.notes) for trajectory in wrong)


def content(trajectory):
    return trajectory.question.id, trajectory.steps


@pytest.mark.parametrize("form", ["fireact-alpaca", "fireact-gpt"])
@pytest.mark.parametrize("name", ROWS)
def test_every_record_reads_back_from_its_rendered_text(imported, form, name):
    for trajectory in imported[form, name].trajectories:
        pieces = DIALECT.render(trajectory.question, trajectory.steps)
        text = "".join(piece.text for piece in pieces)
        assert parse_transcript(text) == (trajectory.question.full_text, trajectory.steps)
        written = [DIALECT.parse(piece.text) for piece in pieces if piece.author is Author.MODEL]
        assert [(move.thought, move.action) for move in written] == [
            (step.thought, step.action) for step in trajectory.steps
        ]


def test_both_forms_hold_the_same_episodes(imported):
    for name in ROWS:
        alpaca = Counter(map(content, imported["fireact-alpaca", name].trajectories))
        chat = Counter(map(content, imported["fireact-gpt", name].trajectories))
        assert not chat - alpaca
        assert (alpaca - chat).total() == ROWS[name] - CHAT_ROWS[name]


def test_no_reward_is_left_in_any_step(imported):
    for file in imported.values():
        for trajectory in file.trajectories:
            assert "reward =" not in "".join(step.thought + (step.observation or "") for step in trajectory.steps)


def test_rewards_are_those_of_the_last_line(imported):
    def rewards(name):
        return Counter(trajectory.score.em for trajectory in imported["fireact-alpaca", name].trajectories)

    assert rewards("hotpotqa") == {1.0: 500}
    assert rewards("hotpotqa_multimethod") == {1.0: 507 + 187, 0.0: 40}
    assert rewards("multitask") == {1.0: 1344}
    assert rewards("multitask_multimethod") == {1.0: 2063 - 49, 0.0: 49}


def test_the_71_reflexion_rows_have_their_reflections_at_rounds_6_10_and_11(largest):
    rows = [trajectory for trajectory in largest if trajectory.method == "reflexion"]
    rounds = Counter(
        tuple(number for number, step in enumerate(trajectory.steps, start=1) if step.reflection) for trajectory in rows
    )
    assert rounds == {(6,): 49, (6, 10): 21, (6, 11): 1}
    right = Counter((trajectory.task, trajectory.score.em) for trajectory in rows)
    assert right == {
        ("hotpotqa", 1.0): 7, ("hotpotqa", 0.0): 40, ("mmlu", 1.0): 5, ("mmlu", 0.0): 4, ("strategyqa", 1.0): 10,
        ("strategyqa", 0.0): 5,
    }  # fmt: skip
    assert sorted(Counter(map(turns_by_label, rows)).items()) == [
        (6, 20), (7, 16), (8, 7), (9, 6), (10, 17), (11, 2), (12, 3),
    ]  # fmt: skip
    assert not any("haven't solved the task" in step.thought for trajectory in rows for step in trajectory.steps)


def test_the_712_choice_questions_have_four_choices_and_no_letter_lines_in_a_thought(largest):
    rows = [trajectory for trajectory in largest if trajectory.task == "mmlu"]
    assert Counter(len(trajectory.question.choices) for trajectory in rows) == {4: 712}
    assert not any(trajectory.question.choices for trajectory in largest if trajectory.task != "mmlu")
    odd = {trajectory.answer for trajectory in rows} - set("ABCD")
    assert len([trajectory for trajectory in rows if trajectory.answer in odd]) == 8
    assert {"B. eagle", "A, D", "None"} <= odd


def test_there_are_1770_questions_in_the_2063_rows(largest):
    asked = {(trajectory.task, trajectory.question.id) for trajectory in largest}
    assert Counter(task for task, _ in asked) == {"hotpotqa": 722, "strategyqa": 577, "mmlu": 471}


def test_29_irregular_rows_are_noted(largest):
    def rows_with(words):
        return [
            trajectory.source.index
            for trajectory in largest
            if any(words in note for note in trajectory.source.notes)
        ]  # fmt: skip

    assert len(rows_with("")) == 29
    assert rows_with("reward lines") == [2039, 2047, 2048, 2056, 2057]
    assert rows_with("no action") == [2053, 2059, 2060, 2061, 2062]
    assert rows_with("no thought") == [1816, 1926]
    assert rows_with("the question was repeated") == [1803]
    assert len(rows_with("the action stood in the thought's line")) == 15
    assert len(rows_with("not exactly one tool[argument]")) == 1


def test_only_search_and_finish_are_used_and_every_row_finishes_last(largest):
    tools = {step.action.tool for trajectory in largest for step in trajectory.steps if step.action}
    assert tools == {"search", "finish"}
    assert all(trajectory.steps[-1].action.tool == "finish" for trajectory in largest)
    assert sum(step.observation == "None" for trajectory in largest for step in trajectory.steps) == 50


def test_the_scores_of_the_734_rows(imported):
    trajectories = imported["fireact-alpaca", "hotpotqa_multimethod"].trajectories
    assert sum(map(turns_by_message, trajectories)) == 1950
    assert score_lines(trajectories)[:3] == ("em 94.55", "f1 94.55", "finished 734 of 734")
