"""The run folder: JSON lines, the record of each stage's config, and resuming. No other module knows its layout.

    <run>/recipe.yaml            the resolved recipe; the folder can be run again from it
    <run>/<stage>/config.json    what the stage was asked, by which version, after which earlier stages
    <run>/<stage>/...            what it made; PATHS lists the files that other stages read

A record is appended as one whole line and flushed, so that an interrupted run loses at most the item in hand. Reading
drops a half-written last line, and leaves out any other line that is corrupt; both are noted with path and number.
A stage starts again where it stopped; under another config, or after an earlier stage was made anew under another
one, it refuses.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

import fireact
from fireact.config import Config, differing_keys, digest, to_values
from fireact.errors import DataError, RunError
from fireact.trajectory import Trajectory

FORMAT = "fireact-stage"
VERSION = 1
PRODUCER = f"fireact {fireact.__version__}"
STAGES = ("generate", "unify", "mix", "finetune", "evaluate", "report")
PATHS = {
    "generate": "trajectories.jsonl",
    "unify": "trajectories.jsonl",
    "mix": "train.jsonl",
    "finetune": "adapter",
    "evaluate": "",
    "report": "results.json",
}
"""The file or folder by which a stage is known to have run; of `evaluate` its folder."""

R = TypeVar("R", bound=BaseModel)
Append = Callable[[BaseModel], None]
Note = Callable[[str], None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What a stage has done: `run(config, folder)` of every stage returns one."""

    stage: str
    text: str
    """For the user, one line or a table, without a final line break."""
    counts: Mapping[str, int] = field(default_factory=dict)


def output(folder: Path, stage: str) -> Path:
    """Where a stage of the run `folder` puts what later stages read."""
    return folder / stage / PATHS[stage]


def require(folder: Path, stage: str) -> Path:
    """The output of an earlier stage.

    Raises:
        RunError: the stage has not run; names the command to type.
    """
    path = output(folder, stage)
    if not path.exists():
        raise RunError(f"{path}: not there yet; run 'fireact {stage}' with the same recipe and --out first")
    return path


def asked_of(folder: Path, stage: str) -> dict[str, Any]:
    """The config that a stage was begun with, as plain values.

    Raises:
        RunError: the stage was not begun.
    """
    config: dict[str, Any] = _read_stage(folder, stage)["config"]
    return config


def evaluation_path(folder: Path, *, agent: str, noise: str, task: str, split: str) -> Path:
    """The file of one cell of the comparison: one agent under one noise on one split of a task."""
    return output(folder, "evaluate") / agent / noise / f"{task.replace('/', '-')}.{split}.jsonl"


def write_recipe(folder: Path, recipe: Config) -> Path:
    """Store the resolved recipe, so that the folder can be run again."""
    path = folder / "recipe.yaml"
    _write_whole(path, yaml.safe_dump(to_values(recipe), sort_keys=False, allow_unicode=True).encode())
    return path


def open_stage(folder: Path, stage: str, config: Config, *, after: Sequence[str] = (), is_cheap: bool = False) -> Path:
    """The folder of a stage, made ready to start or to go on.

    Args:
        after: the earlier stages whose outputs this one reads.
        is_cheap: whether what it made may be made anew under another config.

    Raises:
        RunError: the stage has made something under another config, or an input was made anew with another one.
    """
    inputs = {name: _read_stage(folder, name)["digest"] for name in after}
    record = {
        "format": FORMAT,
        "version": VERSION,
        "stage": stage,
        "producer": PRODUCER,
        "digest": hashlib.sha256(f"{digest(config)}{json.dumps(inputs, sort_keys=True)}".encode()).hexdigest(),
        "inputs": inputs,
        "config": to_values(config),
    }
    path = folder / stage / "config.json"
    if _has_made_something(path.parent) and not is_cheap:
        _refuse_change(folder, stage, _read_stage(folder, stage), record)
    else:
        write_json(path, record)
    return path.parent


def _has_made_something(stage: Path) -> bool:
    """Whether a stage that was begun has come so far that another config would lose something."""
    files = (path for path in stage.rglob("*") if path.is_file() and path.name != "config.json")
    return any(path.stat().st_size and path.suffix != ".part" for path in files)


@contextmanager
def appending(path: Path) -> Iterator[Append]:
    """A function that appends one record as a whole line and flushes it.

    What a killed process left of its last line is cut off first.
    """
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")

    def append(record: BaseModel) -> None:
        with _naming(path):
            file.write(record.model_dump_json().encode() + b"\n")
            file.flush()

    try:
        _cut_half_line(file)
        yield append
    finally:
        with _naming(path):
            file.close()


def read(path: Path, cls: type[R], *, note: Note = logger.warning) -> Iterator[R]:
    """The records of a file of JSON lines, one at a time.

    Args:
        note: told of each line that is left out, with path and line number.

    Raises:
        DataError: the file cannot be read.
    """
    with _naming(path):
        file = path.open("rb")
    with file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = cls.model_validate_json(line)
            except ValidationError as error:
                note(f"{path}:{number}: {_flaw(line, cls, error)}")
                continue
            yield record


def finished_ids(path: Path) -> frozenset[str]:
    """The ids of the trajectories that a file already holds; none where there is no file."""
    return frozenset(trajectory.id for trajectory in read(path, Trajectory)) if path.exists() else frozenset()


def write(path: Path, records: Iterable[BaseModel]) -> int:
    """Write a file of JSON lines whole or not at all; returns the number of lines."""
    count = 0
    with _replacing(path) as file:
        for record in records:
            file.write(record.model_dump_json().encode() + b"\n")
            count += 1
    return count


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one JSON object whole or not at all."""
    _write_whole(path, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def write_text(path: Path, text: str) -> None:
    """Write one text whole or not at all."""
    _write_whole(path, text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    with _naming(path):
        text = path.read_bytes()
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); delete it and run its stage again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object; delete it and run its stage again")
    return value


def _read_stage(folder: Path, stage: str) -> dict[str, Any]:
    path = folder / stage / "config.json"
    if not path.exists():
        raise RunError(f"{path}: not there yet; run 'fireact {stage}' with the same recipe and --out first")
    record = read_json(path)
    if record.get("format") != FORMAT or record.get("version") != VERSION:
        raise DataError(f"{path}: expected format {FORMAT!r} version {VERSION}; use another --out")
    return record


def _refuse_change(folder: Path, stage: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    advice = f"use another --out, or delete {folder / stage} to make it anew"
    keys = differing_keys(old["config"], new["config"])
    if keys:
        raise RunError(
            f"{folder / stage} was begun with another config; these keys differ: {', '.join(keys)}; {advice}"
        )
    stages = differing_keys(old["inputs"], new["inputs"])
    if stages:
        raise RunError(f"{folder / stage} was made from an earlier {', '.join(stages)} with another config; {advice}")


def _flaw(line: bytes, cls: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] != "json_invalid":
        key = ".".join(str(name) for name in first["loc"])
        return f"not a {cls.__name__}: {key}: {first['msg']}; the line is left out"
    if not line.endswith(b"\n"):
        return "the last line is half-written; it is dropped"
    return f"{first['msg']}; the line is left out"


def _cut_half_line(file: Any) -> None:
    """Make `file` end with a line break: complete a last line that is whole, cut off one that is not."""
    size = file.seek(0, os.SEEK_END)
    start = _start_of_last_line(file, size)
    file.seek(start)
    # No more than its size: a device such as /dev/full has none, and can be read for ever.
    rest = file.read(size - start)
    try:
        json.loads(rest or "null")
    except ValueError:
        file.truncate(start)
        return
    if rest:
        file.write(b"\n")


def _start_of_last_line(file: Any, size: int) -> int:
    """The offset after the last line break, searched from the end in blocks."""
    block, end = 1 << 16, size
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + int(found) + 1
        end = start
    return 0


def _write_whole(path: Path, content: bytes) -> None:
    with _replacing(path) as file:
        file.write(content)


@contextmanager
def _replacing(path: Path) -> Iterator[Any]:
    """A file that takes the place of `path` when all of it is written."""
    draft = path.with_name(f"{path.name}.part")
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            yield file
        draft.replace(path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into one sentence with the path."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; mend that or give another path") from error
