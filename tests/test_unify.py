"""unify: one ReAct form for every method, with nothing lost that is trained or counted."""

from __future__ import annotations

import pytest

from fireact import runs
from fireact.errors import RunError
from fireact.stages.unify import UnifyConfig, run, unify
from fireact.trajectory import Action, Question, Score, Step, Trajectory, Usage

QUESTION = Question(id="q", task="world/hop", text="Who?", answer="Ann")


def trajectory(method: str, *steps: Step, answer: str | None = "Ann", end: str = "finished") -> Trajectory:
    return Trajectory(
        id="t",
        question=QUESTION,
        method=method,
        dialect="react-chat",
        model="m",
        steps=steps,
        answer=answer,
        end=end,
        score=Score(em=1, f1=1),
    )


def finish(argument: str) -> Action:
    return Action(tool="finish", argument=argument)


def test_a_chain_of_thought_becomes_one_step_that_finishes():
    steps = unify(trajectory("cot", Step(reply="Thought: I know.\nAnswer: Ann", thought="I know."))).steps
    assert steps == (Step(thought="I know.", action=finish("Ann")),)


def test_a_bare_answer_becomes_a_step_without_thought():
    assert unify(trajectory("io", Step(reply="Answer: Ann"))).steps == (Step(action=finish("Ann")),)


def test_reflections_stay_in_their_own_field():
    search = Step(reply="r", thought="look", action=Action(tool="search", argument="x"), observation="o")
    last = Step(reply="r", thought="so", action=finish("Ann"), reflection="Let me reflect.")
    steps = unify(trajectory("reflexion", search, last)).steps
    assert [step.reflection for step in steps] == ["", "Let me reflect."]
    assert [step.thought for step in steps] == ["look", "so"]


def test_raw_replies_are_dropped_and_costs_are_kept():
    usage = Usage(calls=1, tokens_in=9, tokens_out=2, seconds=0.5)
    steps = unify(trajectory("react", Step(reply="raw", thought="t", action=finish("Ann"), usage=usage))).steps
    assert steps == (Step(thought="t", action=finish("Ann"), usage=usage),)


def test_question_answer_score_end_and_method_are_kept():
    before = trajectory("cot", Step(reply="r", thought="t"))
    after = unify(before)
    assert (after.question, after.answer, after.score, after.end) == (QUESTION, "Ann", Score(em=1, f1=1), "finished")
    assert (after.method, after.dialect) == ("cot", "react-text")


def test_an_episode_without_answer_gets_no_finish():
    steps = unify(trajectory("cot", Step(reply="?", parse_error="no answer"), answer=None, end="step_limit")).steps
    assert steps == (Step(parse_error="no answer"),)


def test_unifying_twice_changes_nothing():
    once = unify(trajectory("cot", Step(reply="r", thought="t")))
    assert unify(once) == once


def test_imported_files_can_stand_in_for_generate(tmp_path):
    runs.write(tmp_path / "imported.jsonl", [trajectory("cot", Step(reply="r", thought="t"))])
    summary = run(UnifyConfig(files=(str(tmp_path / "imported.jsonl"),)), tmp_path / "run")
    written = list(runs.read(runs.output(tmp_path / "run", "unify"), Trajectory))
    assert summary.text == "1 trajectories in ReAct form"
    assert written[0].steps[0].action == finish("Ann")


def test_nothing_to_read_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(RunError, match="run 'fireact generate'"):
        run(UnifyConfig(), tmp_path)
    runs.write(tmp_path / "empty.jsonl", [])
    with pytest.raises(RunError, match=r"empty\.jsonl: no trajectory in it"):
        run(UnifyConfig(files=(str(tmp_path / "empty.jsonl"),)), tmp_path)


def test_what_was_unified_before_stays_where_nothing_can_be_read(tmp_path):
    source = runs.output(tmp_path, "generate")
    runs.open_stage(tmp_path, "generate", UnifyConfig())
    runs.write(source, [trajectory("cot", Step(reply="r", thought="t"))])
    run(UnifyConfig(), tmp_path)
    before = runs.output(tmp_path, "unify").read_bytes()
    source.write_text("{corrupt}\n")
    with pytest.raises(RunError, match="no trajectory in it"):
        run(UnifyConfig(), tmp_path)
    assert runs.output(tmp_path, "unify").read_bytes() == before
