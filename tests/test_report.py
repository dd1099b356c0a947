"""The report of a run: the table, results.json, and a page that is safe whatever models and tools have written."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser

import pytest

from fireact import runs
from fireact.config import validate
from fireact.errors import ConfigError, RunError
from fireact.stages.evaluate import EvaluateConfig
from fireact.stages.report import ReportConfig, choose_samples, read_evaluation, run, tell
from fireact.stages.results import outcome
from fireact.trajectory import Action, Fact, Failure, Question, Score, Step, Trajectory, Usage

HOSTILE = """</style><script>alert("it's")</script><img src=x onerror='go()'>\u202egnp.exe\u200b\x07{{ 7 * 7 }}"""
EVALUATION = {
    "agents": [
        {"name": "closed-book", "model": {"kind": "local", "path": "world"}, "method": {"kind": "io"}},
        {"name": "prompted", "model": {"kind": "local", "path": "world"}, "method": {"kind": "react"}},
        {"name": "tuned", "model": {"kind": "local", "path": "world"}, "method": {"kind": "react", "prompt": "none"}},
    ],
    "tasks": [{"task": "world/hop", "split": "test", "num_questions": 10}],
    "noises": ["normal", "none"],
    "concurrency": 4,
}
RIGHT = {
    ("closed-book", "normal"): 1,
    ("prompted", "normal"): 4,
    ("prompted", "none"): 2,
    ("tuned", "normal"): 8,
    ("tuned", "none"): 7,
}
"""Agent and noise -> how many of ten questions are answered right, the first ones."""


def trajectory(number=0, *, is_right=True, text="Who led it?", method="react", **changes):
    fact = Fact(subject="It", relation="leader", value="Ann", is_famous=number % 2 == 0)
    step = Step(
        reply="raw",
        thought="I look it up.",
        action=Action(tool="search", argument="It"),
        observation="Ann led it.",
        usage=Usage(calls=1, tokens_in=100 + number, tokens_out=20, seconds=0.25),
    )
    last = Step(thought="It is Ann.", action=Action(tool="finish", argument="Ann"))
    values = {
        "id": f"{method}/{number}",
        "question": Question(id=str(number), task="world/hop", split="test", text=text, answer="Ann", chain=(fact,)),
        "method": method,
        "dialect": "react-text",
        "model": "m",
        "steps": (step, last),
        "answer": "Ann" if is_right else "Bob",
        "end": "finished",
        "score": Score(em=float(is_right), f1=float(is_right)),
        "seconds": 3.0,
    }
    return Trajectory(**(values | changes))


def write_run(folder, cells, evaluation=EVALUATION):
    """A run folder whose cells, (agent, noise) -> trajectories, are evaluated."""
    runs.open_stage(folder, "evaluate", validate(evaluation, EvaluateConfig, where="test"))
    for (agent, noise), trajectories in cells.items():
        path = runs.evaluation_path(folder, agent=agent, noise=noise, task="world/hop", split="test")
        runs.write(path, trajectories)
    return folder


@pytest.fixture
def folder(tmp_path):
    cells = {key: [trajectory(i, is_right=i < right) for i in range(10)] for key, right in RIGHT.items()}
    write_run(tmp_path, cells)
    taught = [trajectory(i, is_right=i < 3, method="cot") for i in range(4)] + [trajectory(9)]
    runs.write(runs.output(tmp_path, "generate"), taught)
    return tmp_path


def results_of(folder):
    text = runs.output(folder, "report").read_text(encoding="utf-8")

    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


def page_of(folder):
    return (folder / "report" / "report.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_a_row_has_the_figures_of_one_agent_under_one_noise(folder):
    run(ReportConfig(), folder)
    rows = {(row["agent"], row["noise"]): row for row in results_of(folder)["rows"]}
    row = rows["tuned", "normal"]
    assert set(rows) == set(RIGHT)
    assert {name: row[name] for name in ("task", "split", "n", "em", "f1", "turns", "tokens_in", "tokens_out")} == {
        "task": "world/hop",
        "split": "test",
        "n": 10,
        "em": 80.0,
        "f1": 80.0,
        "turns": 2.0,
        "tokens_in": 104.5,
        "tokens_out": 20.0,
    }
    assert (row["em_low"], row["em_high"]) == (pytest.approx(49.02, abs=0.01), pytest.approx(94.33, abs=0.01))


def test_results_name_their_format(folder):
    run(ReportConfig(), folder)
    assert (results_of(folder)["format"], results_of(folder)["version"]) == ("fireact-results", 1)


def test_agents_are_compared_question_by_question(folder):
    run(ReportConfig(), folder)
    found = {(one["a"], one["b"], one["noise"]): one for one in results_of(folder)["differences"]}
    one = found["tuned", "prompted", "normal"]
    assert (one["n"], one["difference"], one["relative_gain"]) == (10, 40.0, 100.0)
    assert 0 < one["low"] < 40 < one["high"] <= 100
    assert found["tuned", "prompted", "none"]["difference"] == 50.0


def test_every_two_agents_are_compared_and_the_baseline_stands_behind(folder):
    run(ReportConfig(), folder)
    found = [(one["a"], one["b"], one["noise"]) for one in results_of(folder)["differences"]]
    assert sorted(found) == [
        ("closed-book", "prompted", "normal"),
        ("tuned", "closed-book", "normal"),
        ("tuned", "prompted", "none"),
        ("tuned", "prompted", "normal"),
    ]


def test_seconds_are_the_working_time_of_the_model(folder):
    run(ReportConfig(), folder)
    assert {row["seconds"] for row in results_of(folder)["rows"]} == {0.25}


def test_a_drop_is_relative_to_clean_tools(folder):
    run(ReportConfig(), folder)
    drops = {one["agent"]: one["drop"] for one in results_of(folder)["drops"]}
    assert drops == {"prompted": 50.0, "tuned": 12.5}


def test_the_teacher_is_counted_by_task_and_method(folder):
    run(ReportConfig(), folder)
    found = [(one["task"], one["method"], one["n"], one["share"]) for one in results_of(folder)["teacher"]]
    assert found == [("world/hop", "cot", 4, 75.0), ("world/hop", "react", 1, 100.0)]


def test_the_summary_is_the_table(folder):
    lines = run(ReportConfig(), folder).text.splitlines()
    head = "agent noise task n EM [low, high] F1 turns tokens in tokens out s/question"
    assert " ".join(lines[0].split()) == head
    assert lines[5].split()[:7] == ["tuned", "none", "world/hop", "test", "10", "70.0", "[39.7,"]
    assert len({len(line) for line in lines[:6]}) == 1
    assert "tuned, world/hop test: EM 80.0 -> 70.0 under none, a drop of 12.5%" in lines
    assert any(line.startswith("tuned - prompted, world/hop test, normal: EM +40.0 points [") for line in lines)


def test_reporting_twice_writes_the_same(folder):
    run(ReportConfig(), folder)
    first = page_of(folder), results_of(folder)
    run(ReportConfig(), folder)
    assert (page_of(folder), results_of(folder)) == first


def test_the_page_needs_nothing_from_outside(folder):
    run(ReportConfig(), folder)
    tags = Tags(page_of(folder)).found
    assert {"script", "link", "iframe", "a", "img", "object", "form"} & {tag for tag, _ in tags} == set()
    assert [name for _, attrs in tags for name in attrs if name.startswith("on") or name in ("src", "href")] == []
    policy = next(attrs["content"] for _, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_the_page_says_how_it_came_out(folder):
    run(ReportConfig(), folder)
    assert "<h1>tuned answers 80.0% of world/hop questions right; prompted answers 40.0%</h1>" in page_of(folder)


def test_hostile_texts_are_shown_as_texts(tmp_path):
    step = Step(
        reply=HOSTILE,
        thought=HOSTILE,
        action=Action(tool=HOSTILE, argument=HOSTILE),
        observation=HOSTILE,
        reflection=HOSTILE,
    )
    unparsed = Step(reply=HOSTILE, parse_error=HOSTILE, observation=HOSTILE)
    question = Question(id="0", task="world/hop", split="test", text=HOSTILE, answer=HOSTILE, kind=HOSTILE)
    one = trajectory(question=question, steps=(step, unparsed), answer=HOSTILE)
    write_run(tmp_path, {("tuned", "normal"): [one, trajectory(1), trajectory(2, is_right=False)]})
    run(ReportConfig(title=HOSTILE), tmp_path)
    page = page_of(tmp_path)
    assert {"script", "img"} & {tag for tag, _ in Tags(page).found} == set()
    assert page.count("</style>") == 1
    assert "&lt;/style&gt;&lt;script&gt;alert(&#34;it&#39;s&#34;)&lt;/script&gt;" in page
    assert "⟨U+202E⟩gnp.exe⟨U+200B⟩⟨U+0007⟩{{ 7 * 7 }}" in page
    assert {"\u202e", "\u200b", "\x07"} & set(page) == set()


def test_questions_without_gold_answers_have_costs_but_no_scores(tmp_path):
    write_run(tmp_path, {("tuned", "normal"): [trajectory(score=None)]})
    run(ReportConfig(), tmp_path)
    row = results_of(tmp_path)["rows"][0]
    assert (row["n"], row["em"], row["em_low"], row["f1"], row["turns"]) == (0, None, None, None, 2.0)


def test_a_gain_over_nothing_has_no_relative_size(tmp_path):
    cells = {("prompted", "normal"): [trajectory(is_right=False)], ("tuned", "normal"): [trajectory()]}
    run(ReportConfig(), write_run(tmp_path, cells))
    assert results_of(tmp_path)["differences"][0]["relative_gain"] is None


def test_a_failed_episode_counts_as_wrong(tmp_path):
    failed = trajectory(
        1, is_right=False, steps=(), answer=None, end="failed", failure=Failure(type="ModelError", message="no reply")
    )
    run(ReportConfig(), write_run(tmp_path, {("tuned", "normal"): [trajectory(), failed]}))
    assert results_of(tmp_path)["rows"][0]["em"] == 50.0


def test_without_jinja2_all_but_the_page_is_written(folder, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert run(ReportConfig(), folder).text.startswith("agent")
    assert "pip install -e '.[report]'" in caplog.text
    assert len(results_of(folder)["rows"]) == 5
    assert not (folder / "report" / "report.html").exists()


def test_a_run_that_is_not_evaluated_is_refused(tmp_path):
    with pytest.raises(RunError, match="run 'fireact evaluate'"):
        run(ReportConfig(), tmp_path)


def test_an_agent_that_was_not_evaluated_is_refused(folder):
    with pytest.raises(ConfigError, match=r"unknown agent 'nobody'; known: closed-book, prompted, tuned"):
        run(ReportConfig(baseline="nobody"), folder)


def test_samples_are_right_and_wrong_ones_and_telling_ones_first():
    outcomes = [outcome(trajectory(i, is_right=i < 3)) for i in range(6)]
    assert choose_samples(outcomes, {"2", "5"}, 1) == ("2", "5")
    assert choose_samples(outcomes, set(), 2) == ("0", "1", "3", "4")


def evaluation_of(*agents, **settings):
    """The evaluation of some ReAct agents, with names alone."""
    model, method = EVALUATION["agents"][1]["model"], {"kind": "react"}
    return EVALUATION | {"agents": [{"name": name, "model": model, "method": method} for name in agents]} | settings


def answers(rights):
    """A trajectory for each letter, `r` or `w`."""
    return [trajectory(number, is_right=letter == "r") for number, letter in enumerate(rights)]


def test_the_order_in_which_episodes_ended_does_not_matter(tmp_path):
    first = write_run(tmp_path / "a", {("tuned", "normal"): answers("rrwrwr")})
    second = write_run(tmp_path / "b", {("tuned", "normal"): answers("rrwrwr")[::-1]})
    assert tell(ReportConfig(title="t"), first) == tell(ReportConfig(title="t"), second)


def test_a_report_can_be_made_again_when_more_is_answered(tmp_path):
    write_run(tmp_path, {("tuned", "normal"): answers("r")})
    run(ReportConfig(), tmp_path)
    write_run(tmp_path, {("tuned", "normal"): answers("rw")})
    run(ReportConfig(), tmp_path)
    assert results_of(tmp_path)["rows"][0]["em"] == 50.0


def test_an_evaluation_without_answers_is_refused(tmp_path):
    with pytest.raises(RunError, match="no question is answered yet"):
        run(ReportConfig(), write_run(tmp_path, {}))


def test_agents_come_in_the_order_of_the_recipe(tmp_path):
    cells = {("a", "normal"): answers("w"), ("z", "normal"): answers("r")}
    write_run(tmp_path, cells, evaluation_of("z", "a"))
    assert [cell.agent for cell in read_evaluation(tmp_path)[1]] == ["z", "a"]


def test_an_agent_without_tools_is_found_though_only_noise_was_asked_for(tmp_path):
    write_run(tmp_path, {("closed-book", "normal"): answers("r")}, EVALUATION | {"noises": ["none"]})
    assert [cell.noise for cell in read_evaluation(tmp_path)[1]] == ["normal"]


@pytest.mark.parametrize(
    ("names", "settings", "agent", "baseline"),
    [
        (("closed-book", "prompted", "tuned"), {}, "tuned", "prompted"),
        (("first", "second", "third"), {}, "third", "first"),
        (("small", "prompted"), {}, "small", "prompted"),
        (("prompted", "tuned"), {"agent": "prompted", "baseline": "tuned"}, "prompted", "tuned"),
        (("only",), {}, "only", "only"),
    ],
)
def test_the_report_is_about_one_agent_against_another(tmp_path, names, settings, agent, baseline):
    write_run(tmp_path, {(name, "normal"): answers("rw") for name in names}, evaluation_of(*names))
    story = tell(ReportConfig(**settings), tmp_path)
    assert (story.agent, story.baseline) == (agent, baseline)


def test_the_headline_does_not_claim_what_is_not_clear(tmp_path):
    write_run(tmp_path, {("prompted", "normal"): answers("rrwwrw"), ("tuned", "normal"): answers("wrrwrr")})
    run(ReportConfig(), tmp_path)
    assert "tuned is not clearly different" in page_of(tmp_path)


def test_the_page_has_tables_figures_and_samples(folder):
    run(ReportConfig(), folder)
    page = page_of(folder)
    for words in (
        "What broken tools cost",
        "By kind of question",
        "Turns",
        "Against prompted",
        "The teacher",
        "search[It]",
    ):
        assert words in page
    # Noise, kinds of question, turns of three agents, differences, teacher.
    assert page.count("<svg ") == 7


def test_the_page_of_a_single_agent_compares_nothing(tmp_path):
    run(ReportConfig(), write_run(tmp_path, {("only", "normal"): answers("rw")}, evaluation_of("only")))
    assert "<h1>only answers 50.0% of world/hop questions right</h1>" in page_of(tmp_path)
    assert "Against" not in page_of(tmp_path)


def test_a_page_without_gold_answers_still_shows_costs(tmp_path):
    run(ReportConfig(), write_run(tmp_path, {("tuned", "normal"): [trajectory(score=None)]}))
    assert "no gold answers" in page_of(tmp_path)


def test_failures_reflections_and_unread_replies_are_shown(tmp_path):
    steps = (Step(reply="gibberish", parse_error="no action"), Step(thought="t", reflection="Think again."))
    failure = Failure(type="ModelError", message="timeout")
    failed = trajectory(is_right=False, steps=steps, end="failed", answer=None, failure=failure)
    run(ReportConfig(), write_run(tmp_path, {("tuned", "normal"): [failed]}))
    for words in ("gibberish", "Think again.", "none (timeout)", "(1 failed)"):
        assert words in page_of(tmp_path)


def test_very_long_texts_are_cut_and_say_so(tmp_path):
    run(ReportConfig(), write_run(tmp_path, {("tuned", "normal"): [trajectory(steps=(Step(thought="x" * 5000),))]}))
    assert "… (2,000 more characters)" in page_of(tmp_path)
