"""models/weights.py: where weights are, told without torch."""

import json
import os
import subprocess
import sys

import pytest

from fireact.errors import ConfigError, DependencyError
from fireact.models import open_model
from fireact.models.weights import (
    LocalConfig,
    find_weights,
    fingerprint,
    first_line,
    read_adapter_card,
    read_trained_questions,
)
from fireact.world import base_path


def adapter(folder, card=None):
    (folder / "adapter_config.json").write_text("{}")
    if card is not None:
        (folder / "fireact.json").write_text(card)
    return str(folder)


def test_without_torch_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "fireact.models.local", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"model world: torch is missing; .*pip install -e '\.\[train\]'"):
        open_model(LocalConfig(path="world"))


def test_the_shipped_base_a_folder_and_a_hub_name_are_found(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert find_weights("world") == str(base_path())
    assert find_weights(str(tmp_path)) == str(tmp_path)
    assert find_weights("someone/some-model") == "someone/some-model"


def test_missing_shipped_weights_name_the_command_that_makes_them(tmp_path, monkeypatch):
    monkeypatch.setattr("fireact.models.weights.base_path", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"rebuild: python -m fireact\.world\.pretrain"):
        find_weights("world")


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no config\.json; give a folder that save_pretrained made"):
        find_weights(str(tmp_path))


def test_an_adapter_from_elsewhere_has_no_card(tmp_path):
    assert read_adapter_card(adapter(tmp_path)) == {}


def test_what_a_card_says_is_read(tmp_path):
    card = {"format": "fireact-adapter", "version": 1, "end_of_turn": True}
    assert read_adapter_card(adapter(tmp_path, json.dumps(card))) == card


@pytest.mark.parametrize(
    ("card", "flaw"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ('{"format": "fireact-adapter", "version": 2}', "expected format 'fireact-adapter' version 1"),
    ],
)
def test_a_card_that_is_none_is_refused(tmp_path, card, flaw):
    with pytest.raises(ConfigError, match=rf"fireact\.json: {flaw}; run 'fireact finetune' again"):
        read_adapter_card(adapter(tmp_path, card))


def test_a_folder_that_is_no_adapter_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no adapter_config\.json there; give a folder made by 'fireact finetune'"):
        read_adapter_card(str(tmp_path))


def test_an_error_of_many_lines_is_told_in_one():
    assert first_line(ValueError("\ntoo large\nby far")) == "too large"
    assert first_line(ValueError()) == "ValueError"


def test_a_base_is_told_from_another_by_its_weights(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x" * 3_000_000)
    before = fingerprint(str(tmp_path))
    weights.write_bytes(b"x" * 2_999_999 + b"y")
    assert before != fingerprint(str(tmp_path)) != ""
    assert fingerprint("someone/some-model") == ""


def test_what_an_adapter_was_trained_on_is_read_beside_it(tmp_path):
    assert read_trained_questions(str(tmp_path)) == frozenset()
    (tmp_path / "fireact_questions.json").write_text('{"questions": [["world/hop", "who?"]]}')
    assert read_trained_questions(str(tmp_path)) == {("world/hop", "who?")}
    (tmp_path / "fireact_questions.json").write_text('{"questions": [1]}')
    with pytest.raises(ConfigError, match="expected pairs of a task and a question; run 'fireact finetune' again"):
        read_trained_questions(str(tmp_path))


def test_a_name_that_no_hub_knows_is_refused_before_anything_is_asked():
    code = "from fireact.models.weights import LocalConfig; LocalConfig(path='no/such-model').check()"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "ConfigError: model no/such-model: not found (" in found.stderr
