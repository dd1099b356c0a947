"""stages/evaluate.py: which cells a recipe makes, and what a tuned agent may not be asked."""

import pytest

from fireact import runs
from fireact.config import validate
from fireact.errors import ConfigError, RunError
from fireact.stages.asking import open_questions
from fireact.stages.evaluate import EvaluateConfig, cells_of, groups, noise_name, run

AGENTS = [
    {"name": "io", "model": {"kind": "oracle"}, "method": {"kind": "io"}},
    {"name": "react", "model": {"kind": "oracle"}, "method": {"kind": "react"}},
]


def config(**values) -> EvaluateConfig:
    tasks = [{"task": "world/hop", "split": "test", "num_questions": 5}]
    return validate({"agents": AGENTS, "tasks": tasks, **values}, EvaluateConfig, where="recipe")


def names(chosen: EvaluateConfig) -> list[tuple[str, str, str]]:
    cells = [cell for agent in chosen.agents for cell in cells_of(agent, chosen)]
    return [(cell.agent.name, noise_name(cell.noise), cell.chosen.task) for cell in cells]


def test_an_agent_without_tools_meets_no_noise():
    assert names(config(noises=["normal", "none"])) == [
        ("io", "normal", "world/hop"),
        ("react", "normal", "world/hop"),
        ("react", "none", "world/hop"),
    ]


def test_questions_may_have_noises_of_their_own():
    hop = {"task": "world/hop", "split": "test"}
    compose = {"task": "world/compose", "split": "test", "noises": ["normal"]}
    chosen = config(agents=AGENTS[1:], tasks=[hop, compose], noises=["none", {"kind": "random", "p": 0.2}])
    assert names(chosen) == [
        ("react", "none", "world/hop"),
        ("react", "random-0.2", "world/hop"),
        ("react", "normal", "world/compose"),
    ]
    assert [noise_name(noise) for noise in chosen.all_noises] == ["normal", "none", "random-0.2"]


def test_the_questions_alone_are_what_mix_must_keep_out():
    chosen = config(tasks=[{"task": "world/hop", "split": "test", "num_questions": 5, "noises": ["none"]}])
    assert chosen.tasks[0].question_set.model_dump() == {
        "task": "world/hop",
        "split": "test",
        "num_questions": 5,
        "skip": 0,
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"agents": [AGENTS[0], AGENTS[0]]}, "the agent 'io' stands 2 times"),
        ({"noises": ["none", "none"]}, "the noise 'none' stands 2 times"),
        ({"tasks": [{"task": "world/hop", "split": "test", "noises": ["none", "none"]}]}, "tasks.0.noises: the noise"),
        ({"noises": []}, "noises: tuple should have at least 1 item"),
        ({"noises": ["rain"]}, "unknown noise 'rain'"),
        ({"tasks": [{"task": "world/hip", "split": "test"}]}, "unknown task 'world/hip'"),
    ],
)
def test_mistakes_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        config(**values)


TUNED = {
    "name": "tuned",
    "model": {"kind": "local", "path": "world", "adapter": "finetune"},
    "method": {"kind": "react", "prompt": "none"},
}


def test_an_agent_that_is_not_tuned_yet_names_the_command(tmp_path):
    with pytest.raises(RunError, match="run 'fireact finetune' with the same recipe"):
        run(config(agents=[TUNED]), tmp_path)


def test_a_tuned_agent_is_not_asked_what_it_was_trained_on(tmp_path):
    chosen = config(agents=[TUNED])
    asked = open_questions(chosen.tasks[0])[3]
    runs.write_json(runs.output(tmp_path, "finetune") / "fireact_questions.json", {"questions": [asked.words]})
    with pytest.raises(RunError, match="1 questions to train on are also asked by 'evaluate'"):
        run(chosen, tmp_path)
    elsewhere = TUNED | {"model": TUNED["model"] | {"adapter": str(runs.output(tmp_path, "finetune"))}}
    with pytest.raises(RunError, match="1 questions to train on are also asked by 'evaluate'"):
        run(config(agents=[elsewhere]), tmp_path / "other")
    assert not (tmp_path / "evaluate").exists()


def test_agents_that_differ_in_their_adapters_alone_are_asked_together_if_that_is_wanted():
    def agent(name, **model):
        return {"name": name, "model": {"kind": "local", "path": "world", **model}, "method": {"kind": "react"}}

    oracle = {"name": "oracle", "model": {"kind": "oracle"}, "method": {"kind": "react"}}
    agents = [agent("a"), oracle, agent("b", adapter="x"), agent("c", batch_size=7)]
    together = [[one.name for one in group] for group in groups(config(agents=agents, share_base=True))]
    assert together == [["a", "b"], ["oracle"], ["c"]]
    assert len(groups(config(agents=agents))) == 4
