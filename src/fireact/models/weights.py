"""Where the weights of a local model are, without loading them: reading a recipe needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fireact.config import Config
from fireact.errors import ConfigError, DependencyError
from fireact.models import Means, Model
from fireact.trajectory import Words
from fireact.world import base_path

WORLD = "world"
"""The base that is shipped with the package."""
ADAPTER_CARD = "fireact.json"
"""The file in an adapter's folder that says how its student reads and ends its turns."""
TRAINED_QUESTIONS = "fireact_questions.json"
"""The file beside it with the questions that the student was trained on, so that it is never tested on them."""
CARD_FORMAT = "fireact-adapter"
CARD_VERSION = 1
AGAIN = "run 'fireact finetune' again in an empty folder"
MEBIBYTE = 2**20
INSTALL = "install the extra 'train', in a clone with: pip install -e '.[train]'"


class LocalConfig(Config):
    """A model that runs in this process: any Hugging Face causal language model."""

    kind: Literal["local"] = "local"
    path: str
    """`world`, a folder in Hugging Face form, or a name on its hub."""
    adapter: str | None = None
    """A folder with a LoRA adapter; in a recipe, `finetune` is the adapter that this run makes."""
    batch_size: int = Field(48, ge=1)
    """Requests that are decoded together."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 on a GPU and float32 elsewhere."""
    device: str = "auto"
    """`auto` is the GPU if there is one."""
    end_of_turn: bool | None = None
    """Whether the model ends each turn with its end token; None does what the adapter's card says, else no."""

    def check(self) -> None:
        """Look whether the weights can be there, which takes little, before much is done that needs them.

        Raises:
            ConfigError: there is no such model.
            DependencyError: the extra `train` is not installed.
        """
        weights = find_weights(self.path)
        if not Path(weights).is_dir():
            with _needing_packages(self.path):
                from fireact.models.local import load_config
            load_config(weights)

    def without_adapter(self) -> LocalConfig:
        """The same base."""
        return self.model_copy(update={"adapter": None})

    @staticmethod
    def open_together(configs: Sequence[LocalConfig]) -> Sequence[Model]:
        """Load one base for models that differ in their adapters alone; raises as `open` does."""
        with _needing_packages(configs[0].path):
            from fireact.models.local import open_together
        return open_together(configs)

    def open(self, means: Means) -> Model:
        """Load the weights.

        Raises:
            ConfigError: there is no such model or adapter.
            DependencyError: the extra `train` is not installed.
        """
        with _needing_packages(self.path):
            from fireact.models.local import LocalModel
        return LocalModel(self)


@contextmanager
def _needing_packages(path: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise DependencyError(f"model {path}: {error.name or 'torch'} is missing; {INSTALL}") from error


def find_weights(path: str) -> str:
    """The folder or hub name to load from.

    Raises:
        ConfigError: `path` is a folder without weights.
    """
    if path == WORLD:
        folder = base_path()
        if not (folder / "config.json").exists():
            raise ConfigError("model world: the shipped weights are missing; rebuild: python -m fireact.world.pretrain")
        return str(folder)
    if Path(path).is_dir() and not (Path(path) / "config.json").exists():
        raise ConfigError(f"model {path}: the folder has no config.json; give a folder that save_pretrained made")
    return path


def first_line(error: Exception) -> str:
    """What an error says, in one line; transformers and PEFT often take many."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def read_adapter_card(adapter: str) -> dict[str, Any]:
    """What an adapter's folder says about it; empty for an adapter from elsewhere.

    Raises:
        ConfigError: there is no adapter, or its card cannot be read.
    """
    folder = Path(adapter)
    if not (folder / "adapter_config.json").exists():
        raise ConfigError(f"adapter {adapter}: no adapter_config.json there; give a folder made by 'fireact finetune'")
    path = folder / ADAPTER_CARD
    if not path.exists():
        return {}
    card = _read_object(path)
    if (card.get("format"), card.get("version")) != (CARD_FORMAT, CARD_VERSION):
        raise ConfigError(f"{path}: expected format {CARD_FORMAT!r} version {CARD_VERSION}; {AGAIN}")
    return card


def read_trained_questions(adapter: str) -> frozenset[Words]:
    """What the student of an adapter was trained on; empty for an adapter from elsewhere.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = Path(adapter) / TRAINED_QUESTIONS
    if not path.exists():
        return frozenset()
    questions = _read_object(path).get("questions")
    if not isinstance(questions, list) or not all(isinstance(one, list) and len(one) == 2 for one in questions):
        raise ConfigError(f"{path}: expected pairs of a task and a question; {AGAIN}")
    return frozenset((str(task), str(text)) for task, text in questions)


def fingerprint(weights: str) -> str:
    """SHA-256 that tells one base from another; empty for a name on a hub.

    Over names and sizes of the files with weights, and the first and last MiB of each: reading all of a large base
    would take longer than loading it.
    """
    folder = Path(weights)
    found = hashlib.sha256()
    files = sorted(one for one in folder.glob("*") if one.suffix in (".safetensors", ".bin"))
    for file in files:
        size = file.stat().st_size
        with file.open("rb") as stream:
            found.update(f"{file.name} {size} ".encode() + stream.read(MEBIBYTE))
            stream.seek(max(0, size - MEBIBYTE))
            found.update(stream.read(MEBIBYTE))
    return found.hexdigest() if files else ""


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON; {AGAIN}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object; {AGAIN}")
    return value
