"""Reading the JSON files of other projects: every error names the file and the line or row; good rows are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fireact.errors import DataError
from fireact.trajectory import Trajectory

DROP = "repair or drop it"
T = TypeVar("T")


@dataclass(frozen=True)
class Imported:
    """What one file held: the trajectories that could be read, and one error for each row that could not."""

    trajectories: tuple[Trajectory, ...]
    problems: tuple[DataError, ...] = ()


@dataclass(frozen=True)
class Row:
    """One entry of a file. `place` says where it stands, such as `data.jsonl:17` or `data.json: row 17`."""

    index: int
    """From 0."""
    place: str
    value: object


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        DataError: there is no such file, it is not UTF-8, or it is empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; convert the file to UTF-8") from error
    if not text.strip():
        raise DataError(f"{path}: the file is empty; expected trajectories")
    return text


def name_of(path: Path) -> str:
    """A file's name as text; bytes of it that are not UTF-8, which a record cannot hold, are replaced."""
    return os.fsencode(path.name).decode(errors="replace")


def read_json(path: Path) -> object:
    """The value of a file that is one JSON document.

    Raises:
        DataError: it cannot be read, or is not JSON; the sentence has the line.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, place: str) -> object:
    """The value of one JSON text.

    Raises:
        DataError: it is not JSON; the sentence has the place, and the line within a text of several lines.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        is_file = "\n" in text.strip()
        where, advice = (f"{place}:{error.lineno}", "repair it, or check the --format") if is_file else (place, DROP)
        raise DataError(f"{where}: not JSON ({error.msg} at column {error.colno}); {advice}") from error
    except ValueError as error:
        raise DataError(f"{place}: a number with too many digits; {DROP}") from error
    except RecursionError as error:
        raise DataError(f"{place}: nested too deeply; expected one record") from error


def read_json_lines(path: Path) -> tuple[list[Row], list[DataError]]:
    """The rows of a JSON-lines file, and an error with path and line for each line that is not JSON.

    Raises:
        DataError: the file cannot be read or is empty.
    """
    rows: list[Row] = []
    problems: list[DataError] = []
    lines = [line for line in enumerate(read_text(path).split("\n"), start=1) if line[1].strip()]
    for index, (number, line) in enumerate(lines):
        place = f"{path}:{number}"
        try:
            rows.append(Row(index, place, parse_json(line, place)))
        except DataError as error:
            problems.append(error)
    return rows, problems


def keep_good(rows: Iterable[Row], read: Callable[[Row], T]) -> tuple[list[T], list[DataError]]:
    """What `read` makes of each row, and the DataError of each row that it refuses."""
    values: list[T] = []
    problems: list[DataError] = []
    for row in rows:
        try:
            values.append(read(row))
        except DataError as error:
            problems.append(error)
    return values, problems


def field(row: Row, key: str, kind: type[T]) -> T:
    """The value of one key of a row.

    Raises:
        DataError: the row is no object, or the key is missing or of another type.
    """
    if not isinstance(row.value, dict):
        raise DataError(f"{row.place}: expected a JSON object, got {type(row.value).__name__}")
    value = row.value.get(key)
    if not isinstance(value, kind):
        found = f"got {type(value).__name__}" if key in row.value else "it is missing"
        raise DataError(f"{row.place}: expected {key!r} to be {kind.__name__}, {found}")
    if isinstance(value, str):
        check_text(value, row.place)
    return value


def check_text(text: str, place: str) -> None:
    """Refuse a text that cannot be written as UTF-8: JSON escapes allow such.

    Raises:
        DataError: it holds half a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: half a surrogate pair at character {error.start}; repair the text") from error
