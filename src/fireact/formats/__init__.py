"""Readers of other projects' files. A new format is one file and one line in `READERS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fireact.errors import unknown_name
from fireact.formats.files import Imported
from fireact.formats.fireact_run import read_fireact_run
from fireact.formats.fireact_training import read_fireact_alpaca, read_fireact_gpt

READERS: dict[str, Callable[[str | Path], Imported]] = {
    "fireact-alpaca": read_fireact_alpaca,
    "fireact-gpt": read_fireact_gpt,
    "fireact-run": read_fireact_run,
}

__all__ = [
    "READERS",
    "Imported",
    "read_fireact_alpaca",
    "read_fireact_gpt",
    "read_fireact_run",
    "read_trajectories",
]


def read_trajectories(path: str | Path, format: str) -> Imported:
    """The trajectories of a file, and one error for each row that could not be read.

    Raises:
        ConfigError: the format is unknown.
        DataError: the file as a whole cannot be read.
    """
    if format not in READERS:
        raise unknown_name("format", format, tuple(READERS))
    return READERS[format](path)
