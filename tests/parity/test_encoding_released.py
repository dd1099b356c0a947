"""The 2,063 released rows (multitask, multimethod): for each, what is trained is what the teacher wrote.

Source: the training files that the FireAct authors released (arXiv 2310.05915, data/finetune/alpaca_format).
"""

import re

import pytest

from fireact.dialects import open_dialect
from fireact.dialects.tokens import ids_text
from fireact.encoding import check, encode
from fireact.formats import read_trajectories
from fireact.trajectory import Trajectory
from fireact.world import base_path
from pair_tokenizer import PairTokenizer

REACT = open_dialect("react-text")


@pytest.fixture(scope="module")
def rows(released):
    found = sorted((released / "finetune").rglob("*multitask_multimethod.json"))
    assert len(found) == 1
    return read_trajectories(found[0], "fireact-alpaca").trajectories


@pytest.fixture(params=["pairs of bytes", "base"], scope="module")
def tokenizer(request):
    if request.param != "base":
        return PairTokenizer()
    if not (base_path() / "tokenizer.json").exists():
        pytest.skip("the base is not built yet; run python -m fireact.world.pretrain")
    return pytest.importorskip("transformers").AutoTokenizer.from_pretrained(base_path())


def written(trajectory: Trajectory, end: str) -> str:
    """Thoughts and actions as a string, each turn ended; spelled out here on purpose."""
    text = ""
    for step in trajectory.steps:
        text += f"Thought: {step.thought}" if step.thought else "Thought:"
        text += f"\nAction: {step.action.tool}[{step.action.argument}]" if step.action else ""
        text += end
    return text


def test_the_trained_tokens_of_every_row_decode_to_its_thoughts_and_actions(rows, tokenizer):
    assert len(rows) == 2063
    end = ids_text([tokenizer.eos_token_id], tokenizer)
    for row in rows:
        encoded = encode(row, REACT, tokenizer)
        check(row, encoded, REACT, tokenizer)
        assert ids_text(encoded.trained_ids, tokenizer) == written(row, end), row.id


def test_what_is_read_holds_the_questions_and_observations_and_no_reward(rows, tokenizer):
    for row in rows:
        encoded = encode(row, REACT, tokenizer)
        seen = ids_text([i for i, trained in zip(encoded.ids, encoded.mask, strict=True) if not trained], tokenizer)
        assert row.question.text in seen, row.id
        assert all(step.observation in seen for step in row.steps if step.observation is not None), row.id
        assert not re.search(r"reward ?=", ids_text(encoded.ids, tokenizer)), row.id
