"""stages/finetune.py on a tiny base: it learns, goes on after a kill, and refuses in one line."""

import json

import pytest

from fireact.errors import ConfigError, DataError, RunError
from fireact.models.weights import read_trained_questions
from fireact.runs import read, write
from fireact.stages import finetune
from fireact.stages.finetune import FinetuneConfig, LogLine
from fireact.trajectory import Action, Question, Step, Trajectory
from tiny import cut_off, save_tiny_base

pytest.importorskip("torch")
pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

TOWNS = ("Lund", "Bergen", "Turku", "Odense", "Umea", "Visby", "Narvik", "Aarhus")


def trajectory(index: int) -> Trajectory:
    town = TOWNS[index % len(TOWNS)]
    search = Action(tool="search", argument=f"mayor of {town}")
    steps = (
        Step(thought=f"I need the mayor of {town}.", action=search, observation=f"Mayor {index} leads {town}. " * 3),
        Step(thought=f"It is Mayor {index}.", action=Action(tool="finish", argument=f"Mayor {index}")),
    )
    question = Question(id=str(index), task="demo", text=f"Who is the mayor of {town}?")
    return Trajectory(
        id=str(index),
        question=question,
        method="react",
        dialect="react-text",
        model="none",
        steps=steps,
        end="finished",
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "train.jsonl"
    write(path, [trajectory(index) for index in range(24)])
    return path


def settings(base_folder, train_file, **changes) -> FinetuneConfig:
    values = {
        "base": str(base_folder),
        "train": str(train_file),
        "batch_size": 4,
        "learning_rate": 1e-2,
        "log_every": 5,
    }
    return FinetuneConfig(**values | changes)


def losses(folder) -> list[float]:
    return [line.loss for line in read(folder / "finetune" / "log.jsonl", LogLine) if line.loss is not None]


def test_fifty_updates_lower_the_loss_and_leave_an_adapter(base, train, tmp_path):
    config = settings(base, train, validation=str(train), max_updates=50)
    summary = finetune.run(config, tmp_path)
    assert losses(tmp_path)[-1] < 0.7 * losses(tmp_path)[0]
    assert summary.counts["updates"] == 50
    files = {path.name for path in (tmp_path / "finetune" / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "fireact.json"} <= files
    card = json.loads((tmp_path / "finetune" / "adapter" / "fireact.json").read_text())
    assert (card["format"], card["dialect"], card["end_of_turn"]) == ("fireact-adapter", "react-text", True)
    assert not list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.pt"))
    validation = [line.validation_loss for line in read(tmp_path / "finetune" / "log.jsonl", LogLine)]
    assert sum(loss is not None for loss in validation) == 9
    assert finetune.run(config, tmp_path) == summary


def test_a_killed_training_goes_on_and_ends_as_if_never_killed(base, train, tmp_path, monkeypatch):
    config = settings(base, train, max_updates=20, save_every=5, dropout=0.1)
    finetune.run(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(finetune.Progress, "advance", killed_at(12))
        with pytest.raises(KeyboardInterrupt):
            finetune.run(config, tmp_path / "cut")
    assert not (tmp_path / "cut" / "finetune" / "adapter").exists()
    finetune.run(config, tmp_path / "cut")
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)
    steps = [line.step for line in read(tmp_path / "cut" / "finetune" / "log.jsonl", LogLine)]
    assert steps == [5, 10, 15, 20]


def killed_at(update: int):
    def advance(progress, **_):
        progress.done += 1
        if progress.done == update:
            raise KeyboardInterrupt

    return advance


def test_the_loss_is_that_of_the_model_at_trained_tokens(base, train):
    pack = pytest.importorskip("fireact.encoding.pack")
    plan = finetune.make_plan(settings(base, train), train, None)
    batch = pack.collate(plan.batches[0])
    predicts = batch.pop("predicts")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    expected = model(**batch).loss
    pack.TrainedPositions(model, model.get_output_embeddings())
    labels = batch.pop("labels")
    outputs = model(**batch, predicts=predicts)
    assert outputs.logits.shape == (int((labels != -100).sum()), 258)
    assert pack.trained_loss(outputs, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_batch_is_padded_on_the_right_and_labelled_where_it_is_trained():
    pack = pytest.importorskip("fireact.encoding.pack")
    rows = [finetune.Encoded((5, 6, 7), (False, True, True)), finetune.Encoded((8, 9), (False, True))]
    batch = {name: tensor.tolist() for name, tensor in pack.collate(rows).items()}
    assert batch["input_ids"] == [[5, 6, 7], [8, 9, 0]]
    assert set(batch) == {"input_ids", "labels", "predicts"}
    assert batch["labels"] == [[-100, 6, 7], [-100, 9, -100]]
    assert batch["predicts"] == [[True, True, False], [True, False, False]]


def test_long_trajectories_are_left_out_whole_and_counted(base, train):
    plan = finetune.make_plan(settings(base, train, max_tokens=235), train, None)
    assert (plan.train.num_too_long, len(plan.train.rows)) == (16, 8)


def test_more_updates_than_an_epoch_has_go_on_with_the_next_epoch(base, train):
    plan = finetune.make_plan(settings(base, train, max_updates=7), train, None)
    assert [len(batch) for batch in plan.batches] == [4] * 7


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"base": "nowhere/at/all"}, ConfigError, "finetune.base: 'nowhere/at/all' cannot be loaded"),
        ({"batch_size": 16, "epochs": 2}, ConfigError, "make 4 updates, too few to learn from; raise epochs"),
        ({"max_tokens": 5}, DataError, "all 24 trajectories are longer than finetune.max_tokens; raise it"),
        ({"max_tokens": 513}, ConfigError, "finetune.max_tokens is 513, but base"),
        ({"targets": ("no_such",)}, ConfigError, "has no layer named"),
        ({"train": "missing.jsonl"}, DataError, "missing.jsonl: No such file"),
        ({"train": None}, RunError, "run 'fireact mix'"),
    ],
)
def test_bad_input_is_refused_in_one_line(base, train, tmp_path, changes, error, sentence):
    with pytest.raises(error, match=sentence) as refused:
        finetune.run(settings(base, train, **changes), tmp_path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "finetune" / "adapter").exists()


def test_a_base_whose_weights_are_cut_off_is_refused(train, tmp_path):
    cut_off(save_tiny_base(tmp_path / "base") / "model.safetensors")
    with pytest.raises(ConfigError, match=r"finetune\.base: .* cannot be loaded"):
        finetune.run(settings(tmp_path / "base", train), tmp_path)


def test_an_empty_file_leaves_nothing_to_train_on(base, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="no trajectory in it; run 'fireact mix' again"):
        finetune.run(settings(base, tmp_path / "empty.jsonl"), tmp_path)


def test_another_config_is_refused_with_the_keys_that_differ(base, train, tmp_path):
    finetune.run(settings(base, train, max_updates=2), tmp_path)
    with pytest.raises(RunError, match="these keys differ: rank"):
        finetune.run(settings(base, train, max_updates=2, rank=4), tmp_path)


def test_a_checkpoint_that_is_damaged_is_passed_over(base, train, tmp_path, monkeypatch):
    config = settings(base, train, max_updates=12, save_every=5)
    with monkeypatch.context() as patch:
        patch.setattr(finetune.Progress, "advance", killed_at(7))
        with pytest.raises(KeyboardInterrupt):
            finetune.run(config, tmp_path)
    checkpoint = tmp_path / "finetune" / "checkpoints" / "checkpoint-5"
    assert finetune._last_checkpoint(checkpoint.parent) == (str(checkpoint), 5)
    cut_off(checkpoint / "optimizer.pt")
    assert finetune._last_checkpoint(checkpoint.parent) == (None, 0)
    finetune.run(config, tmp_path)
    assert [line.step for line in read(tmp_path / "finetune" / "log.jsonl", LogLine)] == [5, 10]


def test_a_training_that_diverges_is_refused_and_leaves_no_adapter(base, train, tmp_path):
    with pytest.raises(RunError, match=r"no numbers? .*lower finetune\.learning_rate, and delete"):
        finetune.run(settings(base, train, max_updates=6, learning_rate=1e30, precision="fp32"), tmp_path)
    assert not (tmp_path / "finetune" / "adapter").exists()


def test_what_was_trained_on_stands_beside_the_adapter(base, train, tmp_path):
    finetune.run(settings(base, train, max_updates=1), tmp_path)
    trained = read_trained_questions(str(tmp_path / "finetune" / "adapter"))
    assert len(trained) == len(TOWNS)
    assert ("demo", "who is the mayor of lund?") in trained


def test_a_base_that_lacks_tensors_is_refused(train, tmp_path):
    folder = save_tiny_base(tmp_path / "base")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match=r"cannot be loaded \(9 tensors are missing, such as model\.layers\.2\."):
        finetune.run(settings(folder, train), tmp_path)
