"""world/pretrain.py: phases and text in their order, and a killed run that goes on as if nothing had happened."""

from dataclasses import replace

import pytest

from fireact.errors import ConfigError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pretrain = pytest.importorskip("fireact.world.pretrain")

TINY = pretrain.Recipe(
    hidden=16,
    intermediate=16,
    layers=1,
    heads=2,
    vocabulary=300,
    phases=(
        pretrain.Phase(32, 2, 256, "early", (0.0, 1.0)),
        pretrain.Phase(64, 2, 256, "last", (0.5, 0.0)),
    ),
)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Shards and a tokenizer that are made at once."""
    monkeypatch.setattr(pretrain, "SHARD_TOKENS", 2000)
    monkeypatch.setattr(pretrain, "TOKENIZER_DOCUMENTS", 20)


@pytest.fixture
def tokenizer_file(tmp_path):
    pretrain.make_tokenizer(TINY).save_pretrained(tmp_path)
    return tmp_path / "tokenizer.json"


def test_a_phase_begins_where_the_one_before_it_ends():
    first, last = TINY.phases
    assert TINY.tokens == 512
    assert pretrain.phase_at(TINY, 0) == (first, 0.0)
    assert pretrain.phase_at(TINY, 192) == (first, 0.75)
    assert pretrain.phase_at(TINY, 256) == (last, 0.0)
    assert pretrain.phase_at(TINY, 512) == (last, 1.0)


def test_rates_go_in_a_line_from_one_share_to_the_other():
    assert [pretrain.rate_factor(TINY.phases[1], share) for share in (0.0, 0.5, 1.0)] == [0.5, 0.25, 0.0]


def test_a_shard_follows_from_its_seed_and_number(tokenizer_file):
    shares = pretrain.MIXTURES["early"]
    made = [pretrain.make_shard(str(tokenizer_file), "0", index, shares).tolist() for index in (3, 3, 4)]
    assert made[0] == made[1]
    assert made[0] != made[2]
    assert len(made[0]) == 2000


def test_a_stream_that_begins_in_the_middle_reads_what_it_would_have_read(tokenizer_file):
    shares = pretrain.MIXTURES["last"]
    whole, later = (pretrain.Stream(tokenizer_file, "0", shares, position) for position in (0, 40))
    try:
        assert whole.take(100)[40:].tolist() == later.take(60).tolist()
    finally:
        whole.close()
        later.close()


def dies_at(step, update):
    """The same updates, up to that one."""
    steps = iter(range(step))

    def dying(*given):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return update(*given)

    return dying


def test_a_killed_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    whole = pretrain.train(TINY, tmp_path / "whole", save_every=100)
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "update", dies_at(5, pretrain.update))
        with pytest.raises(KeyboardInterrupt):
            pretrain.train(TINY, tmp_path / "killed", save_every=2)
    again = pretrain.train(TINY, tmp_path / "killed", save_every=100)
    assert again.seen == whole.seen == 512
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], weight)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    pretrain.train(TINY, tmp_path, save_every=1)
    with pytest.raises(ConfigError, match="made by another recipe; use another --out or delete it"):
        pretrain.train(replace(TINY, seed=1), tmp_path, save_every=1)
