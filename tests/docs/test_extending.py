"""The examples of docs/extending.md do what the page says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from fireact.dialects import DIALECTS
from fireact.errors import ToolError
from fireact.rollout import Agent, Episode, run_episode
from fireact.tools import Call
from fireact.trajectory import Step

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page():
    """All that the examples of the page define."""
    names: dict = {"__name__": "extending"}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def capitals(page, tmp_path):
    (tmp_path / "capitals").mkdir()
    (tmp_path / "capitals" / "test.csv").write_text("question,answer\nCapital of Peru?,Lima\n", encoding="utf-8")
    return page["Capitals"](tmp_path)


def test_the_page_has_an_example_for_each_room():
    assert len(BLOCKS) == 4


def test_the_task_reads_questions_and_scores_answers(capitals):
    (question,) = capitals.questions("test")
    assert (question.text, capitals.score(question, "lima").em) == ("Capital of Peru?", 1)


def test_the_method_counts_down(page):
    method = page["CountdownConfig"](num_turns=3).open("Do:")
    assert [method.turn([Step()] * count).reflection[:8] for count in range(3)] == ["I have 3", "I have 2", "I have 1"]


def test_the_tool_adds_and_refuses(page):
    add = page["Add"]()
    assert asyncio.run(add("2 + 3", Call("q", 0))) == "5"
    with pytest.raises(ToolError, match="expected two numbers"):
        asyncio.run(add("two", Call("q", 1)))


def test_all_four_play_an_episode_together(page, capitals):
    agent = Agent(
        page["LastWord"](), page["CountdownConfig"]().open(""), DIALECTS["react-text"], {"add": page["Add"]()}
    )
    trajectory = asyncio.run(run_episode(Episode("e", agent, capitals.questions("test")[0], capitals.score)))
    assert (trajectory.end, trajectory.method, trajectory.answer) == ("finished", "countdown", "left.")
