"""The whole loop but for training, through the command line: files, failures, resuming, and refusals.

The teacher is the oracle; of the two agents one is the oracle and one a script that always answers wrong.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fireact import runs
from fireact.cli import main
from fireact.tasks import open_task
from fireact.trajectory import Trajectory, Usage

RECIPE = """
name: loop
seed: 3
generate:
  teacher: {kind: oracle, error_rate: 0.3}
  concurrency: 8
  episodes:
    - {task: world/hop, split: train, method: {kind: react, prompt: none}, num_questions: 20}
    - {task: world/yesno, split: train, method: {kind: react, prompt: none}, num_questions: 10}
    - {task: world/hop, split: train, skip: 20, num_questions: 5, noise: {kind: none, p: 0.4},
       method: {kind: reflexion, prompt: none, rounds: [4]}}
unify: {}
mix:
  parts: [{task: world/hop, method: react, count: 9}, {task: world/yesno, method: react, ratio: 0.25}]
  validation_share: 0.2
evaluate:
  concurrency: 8
  agents:
    - {name: careless, model: SCRIPT, method: {kind: react, prompt: none}}
    - {name: careful, model: {kind: oracle, error_rate: 0.0}, method: {kind: react, prompt: none}}
  tasks: [{task: world/hop, split: test, num_questions: 12}]
  noises: [normal, none, {kind: random, p: 0.3}]
report: {}
"""


WRONG = ("Thought: I look.\nAction: search[nothing]", "Thought: I guess.\nAction: finish[nobody]")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    questions = open_task("world/hop").questions("test")[:12]
    script = {"kind": "scripted", "replies": {one.full_text: WRONG for one in questions}, "fails_at": [0]}
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE.replace("SCRIPT", json.dumps(script)))
    return path


@pytest.fixture(scope="module")
def uncut(recipe) -> Path:
    """A run that nothing has stopped."""
    folder = recipe.parent / "uncut"
    assert main(["run", str(recipe), "--out", str(folder)]) == 0
    return folder


def trajectories(path: Path) -> list[Trajectory]:
    """What a file holds, in the order of the ids and without the times that differ from run to run."""
    return sorted((timeless(one) for one in runs.read(path, Trajectory)), key=lambda one: one.id)


def timeless(trajectory: Trajectory) -> Trajectory:
    steps = tuple(step.model_copy(update={"usage": Usage()}) for step in trajectory.steps)
    return trajectory.model_copy(update={"steps": steps, "seconds": 0.0})


def jsonl(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*.jsonl"))


def assert_same(folder: Path, other: Path) -> None:
    assert jsonl(folder) == jsonl(other)
    for path in jsonl(folder):
        assert trajectories(folder / path) == trajectories(other / path), path


def start(verb: str, recipe: Path, folder: Path, lines: int) -> subprocess.Popen[str]:
    """The command as a process of its own that has written some lines, or has ended."""
    command = [sys.executable, "-m", "fireact", verb, str(recipe), "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    path = runs.output(folder, "generate")
    while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") >= lines):
        time.sleep(0.01)
    return process


def test_every_stage_leaves_what_the_next_one_reads(uncut):
    assert [str(path) for path in jsonl(uncut)] == [
        "evaluate/careful/none/world-hop.test.jsonl",
        "evaluate/careful/normal/world-hop.test.jsonl",
        "evaluate/careful/random-0.3/world-hop.test.jsonl",
        "evaluate/careless/none/world-hop.test.jsonl",
        "evaluate/careless/normal/world-hop.test.jsonl",
        "evaluate/careless/random-0.3/world-hop.test.jsonl",
        "generate/trajectories.jsonl",
        "mix/train.jsonl",
        "mix/validation.jsonl",
        "unify/trajectories.jsonl",
    ]
    assert (uncut / "recipe.yaml").exists()
    assert (uncut / "report" / "results.json").exists()


def test_the_mixture_holds_what_was_asked_for(uncut):
    train, validation = (trajectories(uncut / "mix" / name) for name in ("train.jsonl", "validation.jsonl"))
    chosen = [*train, *validation]
    assert sorted({one.task for one in chosen}) == ["world/hop", "world/yesno"]
    assert sum(one.task == "world/hop" for one in chosen) == 9
    assert sum(one.task == "world/yesno" for one in chosen) == 3
    assert all(one.is_correct and one.end == "finished" for one in chosen)
    assert not {one.question.text for one in train} & {one.question.text for one in validation}


def evaluated(folder: Path, agent: str, noise: str) -> list[Trajectory]:
    return trajectories(runs.evaluation_path(folder, agent=agent, noise=noise, task="world/hop", split="test"))


def test_every_agent_meets_the_same_questions(uncut):
    careful, careless = (evaluated(uncut, name, "normal") for name in ("careful", "careless"))
    assert [one.question for one in careful] == [one.question for one in careless]
    assert sum(one.is_correct for one in careful) > 6
    assert sum(one.is_correct for one in careless) == 0


def test_a_failed_episode_is_recorded_and_the_others_go_on(uncut):
    failed = [
        one for noise in ("normal", "none", "random-0.3") for one in evaluated(uncut, "careless", noise) if one.failure
    ]
    assert [(one.end, one.failure.type) for one in failed] == [("failed", "ModelError")]


def test_noise_is_recorded_and_breaks_searches(uncut):
    found = evaluated(uncut, "careful", "none")
    assert {one.noise for one in found} == {"none p=0.5"}
    assert any(step.observation == "None" for one in found for step in one.steps)


def test_running_again_asks_nothing_twice(uncut, recipe, capsys):
    before = {path: (uncut / path).read_bytes() for path in jsonl(uncut)}
    assert main(["run", str(recipe), "--out", str(uncut)]) == 0
    assert {path: (uncut / path).read_bytes() for path in jsonl(uncut)} == before
    assert "careful" in capsys.readouterr().out


def test_a_run_can_be_run_from_its_own_recipe(uncut, tmp_path):
    assert main(["run", str(uncut / "recipe.yaml"), "--out", str(tmp_path / "again")]) == 0
    assert_same(tmp_path / "again", uncut)


@pytest.mark.parametrize("share", [0.33, 0.97])
def test_a_run_cut_anywhere_goes_on_to_the_same_end(uncut, recipe, tmp_path, share):
    folder = tmp_path / "cut"
    assert main(["generate", str(recipe), "--out", str(folder)]) == 0
    path = runs.output(folder, "generate")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert main(["run", str(recipe), "--out", str(folder)]) == 0
    assert_same(folder, uncut)


def test_a_killed_run_goes_on_to_the_same_end(uncut, recipe, tmp_path):
    process = start("run", recipe, tmp_path / "killed", lines=5)
    process.kill()
    process.communicate()
    assert main(["run", str(recipe), "--out", str(tmp_path / "killed")]) == 0
    assert_same(tmp_path / "killed", uncut)


def test_an_interrupt_leaves_everything_finished_on_disk(recipe, tmp_path):
    process = start("generate", recipe, tmp_path / "stopped", lines=5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    finished = trajectories(runs.output(tmp_path / "stopped", "generate"))
    assert len(finished) >= 5
    assert "Traceback" not in err
    assert process.returncode in (0, 130)


def test_the_loop_needs_no_torch(recipe, tmp_path):
    code = "import sys; from fireact.cli import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    arguments = [sys.executable, "-c", code, "run", str(recipe), "--out", str(tmp_path / "run")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "False"


def test_asking_the_test_questions_of_the_teacher_is_refused(recipe, tmp_path, capsys):
    overlap = ["generate.episodes.0.split=test", "--out", str(tmp_path / "run")]
    assert main(["run", str(recipe), *overlap]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "are also asked by 'evaluate', such as world/hop" in err
    assert "mix.drop_test_questions=true" in err


def test_a_mixture_that_leaves_nothing_is_refused(recipe, tmp_path, capsys):
    assert main(["run", str(recipe), "generate.teacher.error_rate=1", "mix.parts=[{task: world/hop, method: react}]",
                 "generate.episodes.0.num_questions=2", "generate.episodes.1.num_questions=1", "--out",
                 str(tmp_path / "run")]) == 2  # fmt: skip
    assert "the mixture leaves nothing to train on" in capsys.readouterr().err.splitlines()[-1]
