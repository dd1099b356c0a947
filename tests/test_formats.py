"""formats/: small files in the forms of the official release, with everything irregular that occurs in them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact.errors import ConfigError, DataError
from fireact.formats import READERS, read_fireact_alpaca, read_fireact_gpt, read_fireact_run, read_trajectories
from fireact.formats.episodes import read_episode
from fireact.metrics import score_lines
from fireact.trajectory import Action, Fact, Failure, Question, Score, Source, Step, Trajectory, Usage

LATE = "Now that I haven't solved the task within 5 steps, let me do a reflection and think about how to improve."
TEMPLATE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{}\n\n### Response:\n"
)


def finish(argument):
    return Action(tool="finish", argument=argument)


def search(argument):
    return Action(tool="search", argument=argument)


def turn(thought, action, observation):
    return f"Thought: {thought}\nAction: {action}\nObservation: {observation}\n"


def ending(answer="x", reward="True"):
    return turn("I know.", f"finish[{answer}]", f"Episode finished, reward = {reward}")


def row(question, output):
    return {"instruction": question, "input": "", "output": output}


def chat(*contents):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[index % 2], "content": content} for index, content in enumerate(contents)]}


@pytest.fixture
def alpaca(tmp_path):
    def read(*rows):
        path = tmp_path / "rows.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
        return read_fireact_alpaca(path)

    return read


@pytest.fixture
def gpt(tmp_path):
    def read(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return read_fireact_gpt(path)

    return read


@pytest.fixture
def run(tmp_path):
    def read(episodes, name="hotpotqa_dev_0_500_ft_gpt-3.5__7w_0.0_2023-09-21-16-19-51.json"):
        path = tmp_path / name
        path.write_text(json.dumps(episodes), encoding="utf-8")
        return read_fireact_run(path)

    return read


def test_a_row_becomes_steps_an_answer_and_a_score(alpaca):
    (trajectory,) = alpaca(row("  Who? ", turn("I look.", "search[who]", "Ann is.") + ending("Ann"))).trajectories
    assert trajectory.question.text == "Who?"
    assert trajectory.steps == (
        Step(thought="I look.", action=search("who"), observation="Ann is."),
        Step(thought="I know.", action=finish("Ann")),
    )
    assert (trajectory.task, trajectory.method, trajectory.model) == ("hotpotqa", "react", "gpt-4")
    assert (trajectory.answer, trajectory.end, trajectory.score) == ("Ann", "finished", Score(em=1.0, f1=1.0))
    assert (trajectory.id, trajectory.source.file, trajectory.source.index) == ("rows/0", "rows.json", 0)


def test_choices_go_back_to_the_question(alpaca, gpt):
    choices = "A. red \nB. 1.25 m/s^2\nC.\nD. None of these\n"
    (first,) = alpaca(row("Question: Which?", choices + ending("B", "1"))).trajectories
    (second,) = gpt(chat(f"Question: Which?\n{choices}", *ending("B", "1").rsplit("\n", 2)[:2])).trajectories
    assert first.question.choices == ("red", "1.25 m/s^2", "", "None of these")
    assert first.question.full_text == "Which?\nA. red\nB. 1.25 m/s^2\nC. \nD. None of these"
    assert first.question == second.question
    assert first.task == "mmlu"


def test_alpaca_rows_have_task_and_method_by_block_order_and_content(alpaca):
    long = turn("t", "search[s]", "o")
    rows = [
        row("r1", long + ending()),
        row("r2", long + ending(reward="1")),
        row("Question: r3", ending(reward="1")),
        row("c1", ending(reward="1").strip()),
        row("Question: c2", ending(reward="1").strip()),
        row("c3", ending(reward="1").strip()),
        row("x1", turn(f"{LATE} Thought: t", "search[s]", "o") + ending(reward="False")),
        row("x2", turn(f"{LATE} Thought: t", "search[s]", "o") + ending(reward="0.")),
    ]
    assert [(trajectory.task, trajectory.method) for trajectory in alpaca(*rows).trajectories] == [
        ("hotpotqa", "react"),
        ("strategyqa", "react"),
        ("mmlu", "react"),
        ("hotpotqa", "cot"),
        ("mmlu", "cot"),
        ("strategyqa", "cot"),
        ("hotpotqa", "reflexion"),
        ("strategyqa", "reflexion"),
    ]


def test_chat_rows_that_look_alike_are_told_by_the_answer_and_noted(gpt):
    def one_turn(question, answer):
        return chat(question, f"Thought: t\nAction: finish[{answer}]", "Observation: Episode finished, reward = 1")

    last = ("Thought: t\nAction: finish[no]", "Observation: Episode finished, reward = 1")
    long = chat("q", "Thought: t\nAction: search[s]", "Observation: o", *last)
    rows = gpt(long, one_turn("a", "Yes."), one_turn("b", "Paris"), one_turn("Question: c", "A")).trajectories
    assert [(trajectory.task, trajectory.method, len(trajectory.source.notes)) for trajectory in rows] == [
        ("strategyqa", "react", 0),
        ("strategyqa", "cot", 2),
        ("hotpotqa", "cot", 1),
        ("mmlu", "cot", 1),
    ]
    without_cot = gpt(long, one_turn("a", "Yes."), one_turn("Question: c", "A")).trajectories
    assert [(trajectory.task, trajectory.method, trajectory.source.notes) for trajectory in without_cot] == [
        ("strategyqa", "react", ()),
        ("strategyqa", "react", ()),
        ("mmlu", "react", ()),
    ]


def test_the_reflection_sentence_stands_apart_from_the_thought_and_an_inline_copy_of_the_action_goes():
    late = "Now that I haven't solved the task within 9 steps, I need to wrap up."
    episode = read_episode(
        "Who?\n"
        + turn(f"{LATE} Thought: Another way.", "search[x]", "None")
        + turn(f"{late} Action: finish[Unable to find]", "finish[Unable to find]", "Episode finished, reward = False")
    )
    assert episode.steps == (
        Step(reflection=LATE, thought="Another way.", action=search("x"), observation="None"),
        Step(reflection=late, action=finish("Unable to find")),
    )
    assert episode.notes == ("turn 2: the action stood in the thought's line too",)


def test_the_last_reward_line_is_the_environments_and_none_is_an_observation():
    episode = read_episode("Who?\n" + ending(reward="1.") + "Observation: Episode finished, reward = 0\n")
    assert episode.reward_value == 0.0
    assert [step.observation for step in episode.steps] == [None]
    assert episode.notes == ("2 reward lines (1., 0); the last is the environment's",)


@pytest.mark.parametrize(
    ("reward", "value"),
    [("True", 1.0), ("1", 1.0), ("1.", 1.0), ("False", 0.0), ("0", 0.0), ("0.", 0.0), ("maybe", None)],
)
def test_every_form_of_reward_is_read(reward, value):
    assert read_episode("Who?\n" + ending(reward=reward)).reward_value == value


def test_irregular_turns_are_kept_and_noted():
    episode = read_episode(
        "Is it?\nYes or no: Is it?\n"
        "Thought: one\n\nmore\nObservation: o\n"
        "Action: search[a], search[b]\nObservation: None\n"
        "Thought: a\nThought: b\nAction: dance\nObservation: o\n"
        "Action: finish[no]\n"
    )
    assert episode.asked.text == "Is it?"
    assert episode.steps == (
        Step(thought="one\n\nmore", observation="o"),
        Step(action=search("a"), observation="None"),
        Step(thought="a\nb", observation="o"),
        Step(action=finish("no")),
    )
    assert episode.notes == (
        "the question was repeated before the first thought",
        "turn 1: no action",
        "turn 2: not exactly one tool[argument], read as search[a]: search[a], search[b]",
        "turn 2: no thought",
        "turn 3: not an action: dance",
        "turn 3: more than one thought label, joined",
        "turn 4: no thought",
    )


def test_the_same_question_has_the_same_id_in_every_row_and_other_choices_make_another(alpaca):
    rows = [row("Who?", ending()), row("who? ", ending().strip()), row("Question: Who?", "A. x\nB. y\n" + ending())]
    first, second, third = (trajectory.question.id for trajectory in alpaca(*rows).trajectories)
    assert first == second != third


def test_a_chat_that_starts_with_the_assistant_has_its_question_in_the_first_message(gpt):
    messages = [
        {"role": "assistant", "content": "Would you?\nAction: finish[no]"},
        {"role": "user", "content": "Observation: Episode finished, reward = 1"},
    ]
    (trajectory,) = gpt({"messages": messages}).trajectories
    assert (trajectory.question.text, trajectory.answer) == ("Would you?", "no")


def test_a_bad_row_is_named_and_the_rest_kept(alpaca):
    good = row("Who?", ending())
    imported = alpaca(good, {"instruction": "Who?"}, [], row("", ending()), row("Who?", "no labels"), good)
    assert [trajectory.source.index for trajectory in imported.trajectories] == [0, 5]
    problems = [str(problem).partition("rows.json: ")[2] for problem in imported.problems]
    assert problems == [
        "row 1: expected 'output' to be str, it is missing",
        "row 2: expected a JSON object, got list",
        "row 3: the question is empty; drop the row",
        "row 4: no line begins with Thought: or Action:; is it another format?",
    ]


def test_a_bad_line_is_named_with_path_and_number_and_the_rest_kept(tmp_path):
    good = json.dumps(chat("Who?", "Thought: t\nAction: finish[x]", "Observation: Episode finished, reward = True"))
    lines = [good, "", good[:50], '{"messages": [{"content": "\\ud800"}]}', '{"messages": 3}', "[" * 100_000, good]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    imported = read_fireact_gpt(path)
    assert len(imported.trajectories) == 2
    numbers = sorted(str(problem).removeprefix(f"{path}:")[:2] for problem in imported.problems)
    assert numbers == ["3:", "4:", "5:", "6:"]
    assert all("\n" not in str(problem) for problem in imported.problems)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; expected trajectories"),
        (b"[1,\n2", ":2: not JSON .* at column 2"),
        (b"3", "expected .*, got int; is it another format"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
    ],
)
@pytest.mark.parametrize("format", ["fireact-alpaca", "fireact-run"])
def test_a_file_that_cannot_be_read_as_a_whole_is_refused(tmp_path, content, message, format):
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_trajectories(path, format)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path):
    for format in READERS:
        with pytest.raises(DataError, match=r"none\.json: cannot be read"):
            read_trajectories(tmp_path / "none.json", format)
    with pytest.raises(ConfigError, match="unknown format 'csv'; known: fireact-alpaca, fireact-gpt, fireact-run"):
        read_trajectories(tmp_path / "none.json", "csv")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["traj", "pred", "gt", "em", "f1", "messages", "role", "content", "instruction", "output"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=4))
def test_any_rows_are_imported_or_named(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "rows.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, values)) + "\n ", encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(dict(enumerate(values))), encoding="utf-8")
    imported = [read_fireact_alpaca(folder / "rows.json"), read_fireact_run(folder / "run.json")]
    imported += [read_fireact_gpt(folder / "rows.jsonl")] if values else []
    for one in imported:
        assert len(one.trajectories) + len(one.problems) == len(values)


def scores(em, f1, gt, pred):
    return {"reward": em, "em": em, "f1": f1, "gt": gt, "pred": pred, "prompt": ""}


def test_a_run_of_a_chat_model_keeps_each_message_as_a_raw_reply(run):
    messages = chat(
        "Who?",
        "Thought: I look.\nAction: search[who]",
        "Observation: None",
        "Thought: No.\nAction: finish[Not found]\nThought: Done.\nAction: finish[Not found]",
        "Observation: Episode finished, reward = False",
    )["messages"]
    imported = run({"1720": scores(False, 0, "ann", "not found thought done") | {"traj": messages}})
    (trajectory,) = imported.trajectories
    assert [step.reply for step in trajectory.steps] == [messages[1]["content"], messages[3]["content"]]
    assert [step.action for step in trajectory.steps] == [search("who"), finish("Not found")]
    assert [step.observation for step in trajectory.steps] == ["None", None]
    assert (trajectory.task, trajectory.question.split, trajectory.question.id) == ("hotpotqa", "dev", "1720")
    assert (trajectory.model, trajectory.question.answer) == ("ft_gpt-3.5__7w", "ann")
    assert trajectory.source.notes == ("scored as 'not found thought done', which is not what the last action says",)


def test_a_run_of_a_completion_model_is_cut_at_its_observations(run):
    text = TEMPLATE.format("Who?") + turn("I look.", "search[who]", "Ann.") + ending("Ann")
    (trajectory,) = run({"3": scores(True, 1.0, "ann", "ann") | {"traj": text, "traj_by_line": []}}).trajectories
    assert trajectory.question.text == "Who?"
    assert [step.reply for step in trajectory.steps] == [
        "Thought: I look.\nAction: search[who]",
        "Thought: I know.\nAction: finish[Ann]",
    ]
    assert trajectory.score == Score(em=1.0, f1=1.0)
    assert trajectory.source.notes == ()


def test_what_happens_in_real_runs_is_kept(run):
    messages = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Thought: a\n" * 30 + "Action: reflect[hard]"},
        {"role": "user", "content": "Observation: ('reflect', 'hard') generated an exception: no such tool"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": f"Thought: {LATE}\nAction:  finish[x"},
        {"role": "user", "content": "Observation: Episode finished, reward = False"},
    ]
    (trajectory,) = run({"3": scores(False, 0, "y", "") | {"traj": messages}}).trajectories
    first, second, third = trajectory.steps
    assert first.action == Action(tool="reflect", argument="hard")
    assert first.observation == "('reflect', 'hard') generated an exception: no such tool"
    assert second.parse_error.startswith("expected a line 'Thought: ...'")
    # The student wrote the sentence itself: it is a thought, not an injected reflection.
    assert (third.thought, third.reflection, third.action) == (LATE, "", finish("x"))
    assert score_lines([trajectory], asked=1)[3:] == ("turns_by_message 3.00 0.00", "turns_by_label 31.00 0.00")


@pytest.mark.parametrize(
    ("entry", "task", "gold", "score"),
    [
        ({"em": 1, "gt": False, "pred": "no, never"}, "strategyqa", "no", Score(em=1, f1=1, strict=0)),
        ({"em": 1, "gt": "b", "pred": "b. eagle"}, "mmlu", "B", Score(em=1, f1=1, strict=0)),
        ({"em": False, "f1": 0.5, "gt": "pair of dice", "pred": "dice"}, "hotpotqa", "pair of dice",
         Score(em=0, f1=0.5)),
        ({}, "mmlu", "", None),
    ],
)  # fmt: skip
def test_a_run_without_a_telling_name_has_its_task_from_its_scores(run, entry, task, gold, score):
    episode = entry | {"traj": "Question: Who?\n" + ending(str(entry.get("pred", "x")))}
    (trajectory,) = run({"0": episode}, name="mine.json").trajectories
    assert (trajectory.task, trajectory.question.answer, trajectory.score) == (task, gold, score)
    assert (trajectory.end, trajectory.source.notes) == ("finished", ())


def test_a_stored_score_that_differs_is_noted(run):
    episode = scores(True, 0.25, "ann", "bob") | {"traj": "Who?\n" + ending("Bob")}
    (trajectory,) = run({"0": episode}).trajectories
    assert trajectory.source.notes == (
        "em is stored as True, computed anew it is 0.0",
        "f1 is stored as 0.25, computed anew it is 0.0",
    )


def test_em_of_a_run_divides_by_all_questions_asked(run):
    right = scores(True, 1.0, "ann", "ann") | {"traj": "Who?\n" + ending("Ann")}
    wrong = scores(False, 0.5, "pair of dice", "dice") | {"traj": "What?\n" + ending("Dice")}
    trajectories = run({"0": right, "1": wrong}).trajectories
    assert score_lines(trajectories, asked=4)[:3] == ("em 25.00", "f1 37.50", "finished 2 of 4")


def test_the_page_of_formats_names_every_reader_and_every_key_of_the_records():
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    records = (Trajectory, Question, Fact, Step, Action, Usage, Score, Failure, Source)
    keys = [key for record in records for key in record.model_fields]
    assert len(keys) > 40
    assert [name for name in (*keys, *READERS) if f"`{name}`" not in page] == []
