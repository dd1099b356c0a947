"""stages/ask.py: one question to an agent of a run."""

import pytest

from fireact.config import validate
from fireact.errors import ConfigError, ModelError, RunError
from fireact.runs import open_stage
from fireact.stages.ask import ask, find_agent
from fireact.stages.evaluate import EvaluateConfig

SAYS = ("Thought: I look.\nAction: search[Nobody at all qqq]", "Thought: None there.\nAction: finish[Ann]")
SCRIPT = {"kind": "scripted", "replies": {"Who is it?": SAYS}}
REACT = {"kind": "react", "prompt": "none"}


@pytest.fixture
def folder(tmp_path):
    values = {
        "agents": [
            {"name": "first", "model": {"kind": "oracle"}, "method": REACT},
            {"name": "last", "model": SCRIPT, "method": REACT},
        ],
        "tasks": [{"task": "world/hop", "split": "test", "num_questions": 1}],
    }
    open_stage(tmp_path, "evaluate", validate(values, EvaluateConfig, where="recipe"))
    return tmp_path


def test_the_steps_are_shown_as_they_come_and_the_answer_is_returned(folder):
    shown = []
    assert ask(" Who is it? ", folder, shown.append).answer == "Ann"
    assert shown == [
        "Thought: I look.",
        "Action: search[Nobody at all qqq]",
        "Observation: None",
        "Thought: None there.",
        "Action: finish[Ann]",
    ]


def test_an_agent_is_chosen_by_its_name(folder):
    agent, task = find_agent(folder, "first")
    assert (agent.name, task) == ("first", "world/hop")
    with pytest.raises(ConfigError, match="unknown agent 'best'; known: first, last"):
        find_agent(folder, "best")


def test_a_model_that_does_not_reply_is_an_error(folder):
    with pytest.raises(ModelError, match="ModelError: scripted model: no reply for 'Who else"):
        ask("Who else?", folder, lambda _: None)


def test_an_empty_question_and_a_folder_without_agents_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="the question is empty"):
        ask("  ", folder, lambda _: None)
    with pytest.raises(RunError, match="run 'fireact evaluate'"):
        ask("Who?", tmp_path / "nothing", lambda _: None)
