"""stages/processes.py: calls in processes of their own."""

import logging
import os
from pathlib import Path

import pytest

from fireact.errors import ModelError
from fireact.stages.processes import in_processes


def note(folder: Path, name: str) -> None:
    (folder / name).write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}")
    logging.getLogger("fireact.test").info("%s is done", name)


def fail(sentence: str) -> None:
    raise ModelError(sentence)


def test_each_call_is_made_in_another_process_and_its_log_comes_out_here(tmp_path, caplog):
    log = logging.getLogger("fireact")
    before = log.handlers, log.level
    log.handlers = [caplog.handler]
    log.setLevel(logging.INFO)
    try:
        in_processes(note, [(tmp_path, "a"), (tmp_path, "b")], processes=2)
    finally:
        log.handlers, _ = before
        log.setLevel(before[1])
    made = [(tmp_path / name).read_text().split() for name in ("a", "b")]
    assert all(int(process) != os.getpid() for process, _ in made)
    assert all(int(threads) >= 1 for _, threads in made)
    assert sorted(caplog.messages) == ["a is done", "b is done"]


def test_what_a_call_raises_is_raised_here():
    with pytest.raises(ModelError, match="out of paper"):
        in_processes(fail, [("out of paper",)], processes=2)
