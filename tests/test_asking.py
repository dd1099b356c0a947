"""stages/asking.py: which questions are meant, when two are the same, and what a stage that asked has to say."""

from dataclasses import replace
from pathlib import Path

import pytest

from fireact.cache import Cache
from fireact.config import validate
from fireact.errors import ConfigError, ModelError, RunError
from fireact.methods import ReactConfig
from fireact.models.scripted import ScriptedModel
from fireact.runs import Journal
from fireact.stages.asking import (
    AgentSettings,
    QuestionSet,
    open_agent,
    open_episodes,
    open_questions,
    refuse_overlap,
    summarise,
)
from fireact.tools import NoiseConfig
from fireact.trajectory import Failure, Question, Score, Step, Trajectory

ANN = Question(id="q1", task="world/hop", split="train", text="Who is Ann?", answer="x")
NOTHING_KEPT = Journal(done=frozenset(), begun={}, end=lambda _: None, note=lambda _: None)
CACHE = Cache(Path("not opened"))
WHERE = Path("run/generate/trajectories.jsonl")


def trajectory(**fields) -> Trajectory:
    values = {"id": "t", "question": ANN, "method": "react", "dialect": "react-text", "model": "m", "end": "finished"}
    return Trajectory(**(values | fields))


def failed(sentence: str) -> Trajectory:
    return trajectory(end="failed", failure=Failure(type="ModelError", message=sentence))


def chosen(**values) -> QuestionSet:
    return validate({"task": "world/hop", "split": "test", **values}, QuestionSet, where="recipe")


def test_two_sets_need_not_share_any_question():
    first, second = open_questions(chosen(num_questions=3)), open_questions(chosen(skip=3, num_questions=2))
    assert [question.id for question in (*first, *second)] == ["test-0", "test-1", "test-2", "test-3", "test-4"]


def test_all_that_are_left_are_meant_where_no_number_is_given():
    everything = open_questions(chosen())
    assert open_questions(chosen(skip=10)) == everything[10:]


@pytest.mark.parametrize("values", [{"num_questions": 10**6}, {"skip": 10**6}, {"skip": 10**6, "num_questions": 1}])
def test_more_questions_than_there_are_is_refused_with_the_numbers(values):
    with pytest.raises(ConfigError, match=r"world/hop test has \d+ questions; skip \d+ and num_questions \d+ ask for"):
        open_questions(chosen(**values))


def test_an_episode_is_named_by_prefix_task_split_and_question():
    settings, noise = AgentSettings(max_steps=3), NoiseConfig(kind="none")
    model, method = ScriptedModel(lambda _: ""), ReactConfig(prompt="none")
    agent = open_agent(settings, task="world/hop", model=model, method=method, noise=noise, cache=CACHE)
    assert (agent.max_steps, agent.noise) == (3, "none p=0.5")
    found = open_episodes(chosen(num_questions=2), agent, prefix="tuned", kept=NOTHING_KEPT)
    assert [one.id for one in found] == ["tuned/world/hop/test/test-0", "tuned/world/hop/test/test-1"]


def test_an_episode_that_is_over_is_not_asked_again_and_one_that_is_begun_goes_on():
    agent = open_agent(
        AgentSettings(),
        task="world/hop",
        model=ScriptedModel(lambda _: ""),
        method=ReactConfig(),
        noise=None,
        cache=CACHE,
    )
    step = Step(reply="Thought: hm", thought="hm", observation="None")
    kept = replace(
        NOTHING_KEPT, done=frozenset({"0/world/hop/test/test-0"}), begun={"0/world/hop/test/test-1": (step,)}
    )
    found = list(open_episodes(chosen(num_questions=3), agent, prefix="0", kept=kept))
    assert [(one.question.id, one.begun) for one in found] == [("test-1", (step,)), ("test-2", ())]


def test_a_question_is_the_same_in_another_split_case_and_spacing():
    same = ANN.model_copy(update={"id": "q9", "split": "test", "text": "who  is\nann?"})
    assert same.words == ANN.words == ("world/hop", "who is ann?")
    assert ANN.model_copy(update={"task": "hotpotqa"}).words != ANN.words
    assert ANN.model_copy(update={"choices": ("a", "b")}).words != ANN.words


def test_training_on_a_question_of_the_test_is_refused():
    refuse_overlap([ANN.words], frozenset({("world/hop", "who is bob?")}))
    with pytest.raises(RunError, match=r"1 questions to train on are also asked .* world/hop 'who is ann\?'"):
        refuse_overlap([ANN.words, ANN.words], frozenset({ANN.words}))


def test_a_summary_counts_and_names_the_failure_met_most_often():
    trajectories = [trajectory(score=Score(em=1, f1=1)), trajectory(), failed("late"), failed("full"), failed("late")]
    summary = summarise("generate", trajectories, where=WHERE)
    assert summary.text == "5 trajectories, 1 correct, 3 failed (most often ModelError: late)"
    assert summary.counts == {"trajectories": 5, "correct": 1, "failed": 3}


def test_episodes_that_all_failed_end_the_run_with_the_reason_and_the_next_step():
    with pytest.raises(
        ModelError, match=r"all 2 episodes failed \(most often ModelError: full\); mend that, delete it"
    ):
        summarise("generate", [failed("full"), failed("full")], where=WHERE)
