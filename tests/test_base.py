"""world/base: the shipped weights are what their card says, small, and able to read."""

import asyncio
import hashlib
import json
import struct

import pytest

from fireact.dialects import Piece
from fireact.models import LocalConfig, Request, open_model
from fireact.world import base_path

WEIGHTS = base_path() / "model.safetensors"


def header() -> dict:
    data = WEIGHTS.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def test_the_weights_are_bf16_and_under_12_megabytes():
    assert WEIGHTS.stat().st_size < 12_000_000
    assert {tensor["dtype"] for name, tensor in header().items() if name != "__metadata__"} == {"BF16"}


def test_the_shape_is_that_of_a_small_llama():
    tensors = [tensor["shape"] for name, tensor in header().items() if name != "__metadata__"]
    sizes = [shape[0] * (shape[1] if len(shape) == 2 else 1) for shape in tensors]
    assert 3e6 <= sum(sizes) <= 5e6


def test_the_card_names_the_digest_of_the_weights_and_the_command_that_rebuilds_them():
    card = (base_path() / "README.md").read_text()
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in card
    assert "python -m fireact.world.pretrain" in card


def test_the_card_tells_the_recipe_that_the_command_follows():
    pytest.importorskip("torch")
    from fireact.world import pretrain

    card = (base_path() / "README.md").read_text()
    recipe = pretrain.Recipe()
    assert f"| tokens | {recipe.tokens:,} ({', '.join(map(pretrain.describe, recipe.phases))}) |" in card
    assert f"| text | {'; '.join(map(pretrain.describe_mixture, pretrain.MIXTURES))} |" in card


def test_it_reads_an_answer_off_a_page_that_it_has_never_seen():
    pytest.importorskip("torch")
    text = (
        "Sendora Company is a company. It was founded in 1847. It is based in Lorvane.\n"
        "Question: In which town does Sendora Company have its seat?\nAnswer:"
    )
    model = open_model(LocalConfig(path="world"))
    reply = asyncio.run(model.reply(Request((Piece(text),), stop=("\n",), max_tokens=12)))
    assert reply.text == " Lorvane"
