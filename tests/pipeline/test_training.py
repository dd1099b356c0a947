"""All six stages on a CPU with the shipped base: a real teacher, real LoRA, real decoding, in well under a minute."""

import json

import pytest

from fireact.cli import main

pytest.importorskip("torch")
pytest.importorskip("peft")

RECIPE = """
name: small
seed: 1
generate:
  teacher: {kind: oracle, error_rate: 0.2}
  episodes:
    - {task: world/hop, split: train, method: {kind: react}, num_questions: 30}
    - {task: world/hop, split: train, method: {kind: cot}, skip: 30, num_questions: 10}
unify: {}
mix: {parts: [{task: world/hop, method: react}, {task: world/hop, method: cot}], validation_share: 0.1}
finetune: {base: world, max_updates: 40, batch_size: 4, learning_rate: 2.0e-3}
evaluate:
  agents:
    - {name: prompted, model: {kind: local, path: world}, method: {kind: react}, max_steps: 4, max_tokens: 40}
    - name: tuned
      model: {kind: local, path: world, adapter: finetune}
      method: {kind: react, prompt: none}
      max_steps: 4
      max_tokens: 64
  tasks: [{task: world/hop, split: test, num_questions: 8}]
  noises: [normal, none]
report: {}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("small")
    (path / "recipe.yaml").write_text(RECIPE)
    assert main(["run", str(path / "recipe.yaml"), "--out", str(path / "run")]) == 0
    return path / "run"


def test_results_hold_every_agent_under_every_noise(folder):
    results = json.loads((folder / "report" / "results.json").read_text())
    rows = {(row["agent"], row["noise"]): row for row in results["rows"]}
    assert set(rows) == {(agent, noise) for agent in ("prompted", "tuned") for noise in ("normal", "none")}
    assert all(row["n"] == 8 and 0 <= row["em_low"] <= row["em"] <= row["em_high"] <= 100 for row in rows.values())
    assert all(row["tokens_in"] > 0 and row["seconds"] > 0 for row in rows.values())


def test_the_loss_falls(folder):
    lines = [json.loads(line) for line in (folder / "finetune" / "log.jsonl").read_text().splitlines()]
    validation = [line["validation_loss"] for line in lines if line["validation_loss"] is not None]
    assert validation
    assert validation[-1] <= validation[0]


def test_a_short_training_teaches_the_form(folder):
    path = folder / "evaluate" / "tuned" / "normal" / "world-hop.test.jsonl"
    steps = [step for line in path.read_text().splitlines() for step in json.loads(line)["steps"]]
    readable = sum(step["action"] is not None and step["action"]["tool"] in {"search", "finish"} for step in steps)
    assert readable / len(steps) > 0.5


def test_a_second_start_does_nothing_again(folder, capsys):
    before = {path: path.read_bytes() for path in folder.rglob("*.jsonl")}
    assert main(["run", str(folder.parent / "recipe.yaml"), "--out", str(folder)]) == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.jsonl")} == before
    assert "tuned" in capsys.readouterr().out
