"""The run folder: JSON lines, the record of each stage's config, and resuming. No other module knows its layout.

    <run>/recipe.yaml            the resolved recipe; the folder can be run again from it
    <run>/<stage>/config.json    what the stage was asked, by which version, after which earlier stages
    <run>/<stage>/...            what it made; PATHS lists the files that other stages read

A record is appended as one whole line and flushed, so that an interrupted run loses at most the item in hand. Reading
drops a half-written last line, and leaves out any other line that is corrupt; both are noted with path and number.
A stage starts again where it stopped; under another config, or after an earlier stage was made anew under another
one, it refuses. One process at a time works in a folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

import fireact
from fireact.config import Config, differing_keys, digest, free_keys, to_values
from fireact.errors import DataError, RunError
from fireact.trajectory import Record, Step, Trajectory

FORMAT = "fireact-stage"
VERSION = 1
RECIPE = "recipe.yaml"
SPENDING = "spending.json"
STEPS = ".steps.jsonl"
"""The end of the name of a journal, which stands beside the trajectories that it is about."""
PRODUCER = f"fireact {fireact.__version__}"
STAGES = ("generate", "unify", "mix", "finetune", "evaluate", "report")
ASKING = ("generate", "evaluate")
"""The stages that make trajectories by asking models."""
PATHS = {
    "generate": "trajectories.jsonl",
    "unify": "trajectories.jsonl",
    "mix": "train.jsonl",
    "finetune": "adapter",
    "evaluate": "",
    "report": "results.json",
}
"""The file or folder by which a stage is known to have run; of `evaluate` its folder."""
MOST_NAMES = 6
"""In one sentence."""
MOST_NOTES = 20
"""Corrupt lines of one file that are named; the others are counted."""

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

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
    path = folder / RECIPE
    _write_whole(path, yaml.safe_dump(to_values(recipe), sort_keys=False, allow_unicode=True).encode())
    return path


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run folder: two of them would ask, pay and write everything twice.

    The system lets go of the lock when the process ends, however it ends. Where it has no such locks, none is taken.

    Raises:
        RunError: another process works in the folder.
    """
    path = folder / "lock"
    is_new = not folder.exists()
    with _naming(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file, _leaving_nothing(folder, only=path) if is_new else nullcontext():
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(f"{folder}: another process works there; wait for it, or use another --out") from error
        yield


@contextmanager
def _leaving_nothing(folder: Path, *, only: Path) -> Iterator[None]:
    """After an error, remove a folder in which there is nothing but one file."""
    try:
        yield
    except BaseException:
        if list(folder.iterdir()) == [only]:
            only.unlink()
            folder.rmdir()
        raise


def open_stage(
    folder: Path,
    stage: str,
    config: Config,
    *,
    after: Sequence[str] = (),
    is_cheap: bool = False,
    pins_content: bool = False,
) -> Path:
    """The folder of a stage, made ready to start or to go on.

    Args:
        after: the earlier stages whose outputs this one reads.
        is_cheap: whether what it made may be made anew under another config.
        pins_content: whether what it reads must stay the same to the last byte for what it made to hold.

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
        "contents": {name: content_digest(output(folder, name)) for name in after if pins_content},
        "config": to_values(config),
    }
    path = folder / stage / "config.json"
    if has_made_something(folder, stage) and not is_cheap:
        old = _read_stage(folder, stage)
        _refuse_change(folder, stage, old, record, free_keys(config))
        record = old | {"config": record["config"]}
    write_json(path, record)
    return path.parent


def has_made_something(folder: Path, stage: str) -> bool:
    """Whether a stage that was begun has come so far that another config would lose something."""
    files = (path for path in (folder / stage).rglob("*") if path.is_file() and path.name != "config.json")
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
    num_left_out = 0
    with _naming(path):
        file = path.open("rb")
    with file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = cls.model_validate_json(line)
            except ValidationError as error:
                num_left_out += 1
                if num_left_out <= MOST_NOTES:
                    note(f"{path}:{number}: {_flaw(line, cls, error)}")
                continue
            yield record
    if num_left_out > MOST_NOTES:
        note(f"{path}: {num_left_out - MOST_NOTES} more lines are left out")


class StepLine(Record):
    """One line of the journal of episodes that are not over: a step when its reply came, or what was observed then."""

    id: str
    """Of the trajectory."""
    index: int
    """Of the step, from 0."""
    step: Step | None = None
    observation: str | None = None


@dataclass(frozen=True)
class Journal:
    """The trajectories of one file, and beside it the steps of those that are not over yet."""

    done: frozenset[str]
    """The ids that have a trajectory."""
    begun: Mapping[str, tuple[Step, ...]]
    """The steps of those that have none yet."""
    end: Append
    """Appends a trajectory."""
    note: Append
    """Appends a StepLine."""


@contextmanager
def journal(path: Path) -> Iterator[Journal]:
    """What a file of trajectories holds, and the way to add to it.

    The steps are dropped when the context ends well, since all is over then; after an error or a kill they are there
    to go on from.
    """
    steps = _steps_path(path)
    done = finished_ids(path)
    begun = _begun_steps(steps, done)
    with appending(path) as end, appending(steps) as note:
        yield Journal(done, begun, end, note)
    with _naming(steps):
        steps.unlink(missing_ok=True)


def reopen_failed(folder: Path, stage: str) -> int:
    """Turn the failed trajectories of a stage that asks back into episodes that are begun; returns how many."""
    count = 0
    for path in sorted((folder / stage).rglob("*.jsonl")):
        if path.name.endswith(STEPS):
            continue
        failed = [one for one in read(path, Trajectory) if one.end == "failed"]
        if not failed:
            continue
        with appending(_steps_path(path)) as note:
            for one in failed:
                for index, step in enumerate(one.steps):
                    note(StepLine(id=one.id, index=index, step=step))
        # The steps are there before the lines go, so that an interrupt between the two loses neither.
        write(path, (one for one in read(path, Trajectory) if one.end != "failed"))
        count += len(failed)
    return count


def _steps_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}{STEPS}")


def _begun_steps(path: Path, done: frozenset[str]) -> dict[str, tuple[Step, ...]]:
    """The steps of each trajectory that is not done, as far as they follow one another without a gap."""
    begun: dict[str, list[Step]] = {}
    for line in read(path, StepLine) if path.exists() else ():
        if line.id in done:
            continue
        steps = begun.setdefault(line.id, [])
        if line.step is not None and line.index <= len(steps):
            steps[line.index :] = [line.step]
        elif line.observation is not None and line.index == len(steps) - 1:
            steps[-1] = steps[-1].model_copy(update={"observation": line.observation})
    return {id: tuple(steps) for id, steps in begun.items()}


def read_spending(stage: Path) -> float:
    """Dollars that the folder of a stage has booked as spent; 0 where it has spent none.

    Raises:
        DataError: the file is damaged.
    """
    path = stage / SPENDING
    booked = read_json(path).get("dollars") if path.exists() else 0.0
    if not isinstance(booked, int | float) or isinstance(booked, bool) or not booked >= 0:
        raise DataError(f'{path}: expected what was spent, such as {{"dollars": 1.5}}; write it there')
    return float(booked)


def write_spending(stage: Path, dollars: float) -> None:
    """Book what a stage has spent, or will have spent at most."""
    write_json(stage / SPENDING, {"dollars": dollars})


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
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); delete {path.parent} and run its stage again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object; delete {path.parent} and run its stage again")
    return value


def _read_stage(folder: Path, stage: str) -> dict[str, Any]:
    path = folder / stage / "config.json"
    if not path.exists() and has_made_something(folder, stage):
        raise RunError(f"{path}: not there, but other files are; delete {path.parent} and run 'fireact {stage}' again")
    if not path.exists():
        raise RunError(f"{path}: not there yet; run 'fireact {stage}' with the same recipe and --out first")
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not record.keys() >= {"digest", "inputs", "contents", "config"}:
        raise DataError(f"{path}: damaged; delete {path.parent} and run 'fireact {stage}' again, or use another --out")
    if record.get("format") != FORMAT or record.get("version") != VERSION:
        raise DataError(f"{path}: expected format {FORMAT!r} version {VERSION}; use another --out")
    return record


def content_digest(path: Path) -> str:
    """SHA-256 of a file, or of all files in a folder with their names; empty where there is nothing."""
    found = hashlib.sha256()
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    for file in files:
        if not file.exists():
            return ""
        found.update(str(file.relative_to(path)).encode())
        with _naming(file), file.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


def _refuse_change(folder: Path, stage: str, old: dict[str, Any], new: dict[str, Any], free: frozenset[str]) -> None:
    advice = f"use another --out, or delete {folder / stage} to make it anew"
    keys = differing_keys(old["config"], new["config"], free=free)
    if keys:
        raise RunError(f"{folder / stage} was begun with another config; these keys differ: {some(keys)}; {advice}")
    stages = differing_keys(old["inputs"], new["inputs"])
    if stages:
        raise RunError(f"{folder / stage} was made from an earlier {', '.join(stages)} with another config; {advice}")
    stages = differing_keys(old["contents"], new["contents"])
    if stages:
        raise RunError(f"{folder / stage} was made from what {', '.join(stages)} had made before; {advice}")


def some(names: Sequence[str]) -> str:
    """Names for a sentence: all of them, or the first few and how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:MOST_NAMES])} and {more} more"


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
    except (ValueError, RecursionError):
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
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: not a file that can be replaced; give another path")
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
    except ValueError as error:  # a path with a NUL in it
        raise DataError(f"{path}: {error}; give another path") from error
