"""stages/processes.py: calls in processes of their own."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
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


def wait(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.05)
    return condition()


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_no_process_outlives_the_one_that_began_it(tmp_path, name):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from test_processes import in_processes, wait\n"
        f"in_processes(wait, [(Path({str(tmp_path / 'a')!r}),)], processes=2)\n"
    )
    (tmp_path / "parent.py").write_text(f"if __name__ == '__main__':\n{textwrap.indent(code, '    ')}")
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stderr=subprocess.DEVNULL) as parent:
        assert within(20, lambda: (tmp_path / "a").exists() and (tmp_path / "a").read_text() != "")
        parent.send_signal(getattr(signal, name))
        parent.wait(20)
    child = int((tmp_path / "a").read_text())
    assert within(10, lambda: not is_running(child))
