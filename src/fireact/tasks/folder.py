"""Reads the folder that holds the public data sets, laid out like `data/` of the official FireAct repository.

    hotpotqa/{train,dev}.json
    strategyqa/strategyqa_{train_filtered,dev,test}.json
    mmlu/{dev,val,test,auxiliary_train}/*.csv
    bamboogle/test.csv

It is the folder given, else the one that the environment variable FIREACT_DATA names, else `data` in the current one.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fireact.errors import DataError

VARIABLE = "FIREACT_DATA"
DEFAULT = "data"
HINT = (
    f"put the file there, or set {VARIABLE} to the folder that holds it; data/ of the official FireAct repository has"
    " most of the public ones"
)


def data_folder(folder: Path | None = None) -> Path:
    """The folder of the data sets; whether it is there shows when a file is read."""
    return folder or Path(os.environ.get(VARIABLE) or DEFAULT)


def require_split(task: str, split: str, splits: Sequence[str]) -> None:
    """Refuse a split that a task does not have.

    Raises:
        DataError: names the known ones.
    """
    if split not in splits:
        raise DataError(f"{task}: unknown split {split!r}; known: {', '.join(splits)}")


def read_objects(path: Path, *, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a JSON file that is one list.

    Raises:
        DataError: the file cannot be read, is not such a list, or an object has no text under one of `keys`.
    """
    try:
        rows = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); fetch the file again") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of questions; {HINT}")
    for index, row in enumerate(rows):
        missing = [key for key in keys if not isinstance(row, dict) or not isinstance(row.get(key), str)]
        if missing:
            raise DataError(f"{path}: question {index} (from 0) has no text as {missing[0]!r}; fetch the file again")
        if not all(_can_be_written(row[key]) for key in keys):
            raise DataError(f"{path}: question {index} (from 0) holds half a surrogate pair; repair the text")
    return rows


def _can_be_written(text: str) -> bool:
    """Whether UTF-8 can hold the text, which it cannot where JSON has brought in half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_rows(path: Path, *, num_columns: int) -> list[list[str]]:
    """The rows of a CSV file, a heading among them; cells without outer white space, empty lines left out.

    Raises:
        DataError: the file cannot be read, is empty, or a row has another number of columns.
    """
    reader = csv.reader(io.StringIO(_text(path)))
    try:
        rows = [[cell.strip() for cell in row] for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}; {HINT}") from error
    if not rows:
        raise DataError(f"{path}: the file is empty; {HINT}")
    for number, row in enumerate(rows, start=1):
        if len(row) != num_columns:
            raise DataError(f"{path}: row {number}: expected {num_columns} columns, got {len(row)}; {HINT}")
    return rows


def _text(path: Path) -> str:
    """The text of a file, every line break read as `\\n`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; {HINT}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"{path}: cannot be read ({reason}); {HINT}") from error
