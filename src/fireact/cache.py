"""The cache: what a model or a tool has answered, by the content of the question, so that it is not paid for twice.

One SQLite file that all runs and processes share: `cache.sqlite` in the folder that the environment variable
FIREACT_CACHE names, else in the user's folder for caches. A key is the SHA-256 of all that an answer depends on; what
must be asked anew each time, such as one of several samples, says so by its number or seed in the key. Entries are
never changed. Keys of APIs are neither in the keys nor in the answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fireact.errors import DataError

VARIABLE = "FIREACT_CACHE"
VERSION = 1
SECONDS_TO_WAIT = 60.0
"""For other processes that write."""


def cache_path() -> Path:
    """Where the shared cache is."""
    named = os.environ.get(VARIABLE)
    users = os.environ.get("XDG_CACHE_HOME")
    folder = Path(named) if named else (Path(users) if users else Path.home() / ".cache") / "fireact"
    return folder / "cache.sqlite"


def key_of(*parts: Any) -> bytes:
    """The key of an answer that depends on these values of plain JSON types, and on nothing else."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).digest()


class Cache:
    """Answers by their keys; a context manager. Every answer is on its way to the disk when `put` returns.

    The file is opened, or made, when it is first used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: sqlite3.Connection | None = None

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def get(self, key: bytes) -> dict[str, Any] | None:
        """The answer that was put under a key; None where there is none.

        Raises:
            DataError: the file cannot be used, or is of another version.
        """
        with self._naming():
            found = self._file.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            answer: dict[str, Any] | None = None if found is None else json.loads(found[0])
        return answer

    def put(self, key: bytes, answer: dict[str, Any]) -> None:
        """Keep an answer; of two under one key the first stays.

        Raises:
            DataError: the file cannot be written.
        """
        with self._naming():
            text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
            self._file.execute("INSERT OR IGNORE INTO answers (key, answer) VALUES (?, ?)", (key, text))

    @property
    def _file(self) -> sqlite3.Connection:
        if self._opened is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._opened = sqlite3.connect(self.path, timeout=SECONDS_TO_WAIT, isolation_level=None)
            try:
                self._prepare(self._opened)
            except BaseException:
                self.close()
                raise
        return self._opened

    def _prepare(self, file: sqlite3.Connection) -> None:
        # Readers do not wait for writers, and no call waits for the disk: what a crash of the machine could lose is
        # a reply that is paid for again, not the file.
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute("BEGIN IMMEDIATE")
        (version,) = file.execute("PRAGMA user_version").fetchone()
        (tables,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            file.execute("CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID")
            file.execute(f"PRAGMA user_version = {VERSION}")
        file.execute("COMMIT")
        if (version, tables) not in ((0, 0), (VERSION, 1)):
            raise DataError(f"{self.path}: a cache of another version or program; {self._advice}")

    @property
    def _advice(self) -> str:
        return f"delete the file, or set {VARIABLE} to another folder"

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Turn what SQLite or the operating system refuses into one sentence with the path."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise DataError(f"{self.path}: {error}; {self._advice}") from error
