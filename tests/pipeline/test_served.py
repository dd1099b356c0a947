"""Whole stages against a server that misbehaves, against kills at any moment, and with a key that must not leak."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_loop import trajectories

from fireact.cli import main
from fireact.models import openai as openai_module

SERVER = Path(__file__).parents[1] / "fake_server.py"
CANARY = "sk-canary-3f9a"


@contextmanager
def server(*options: str) -> Iterator[str]:
    """A fake server in a process of its own; its address."""
    command = [sys.executable, str(SERVER), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIREACT_CACHE", str(tmp_path / "cache"))


def recipe(folder: Path, url: str, *, num_questions: int, concurrency: int = 64, **teacher) -> Path:
    values = {
        "name": "served",
        "generate": {
            "teacher": {"kind": "openai", "model": "m", "base_url": url, "cache": False, **teacher},
            "tools": [{"kind": "search", "snippet_chars": 40}],
            "concurrency": concurrency,
            "episodes": [
                {
                    "task": "world/hop",
                    "split": "train",
                    "method": {"kind": "react", "prompt": "none"},
                    "num_questions": num_questions,
                }
            ],
        },
    }
    path = folder / "recipe.json"
    path.write_text(json.dumps(values))
    return path


def generated(folder: Path) -> list:
    return trajectories(folder / "generate" / "trajectories.jsonl")


def test_a_server_full_of_faults_makes_no_difference_to_the_trajectories(tmp_path, monkeypatch):
    monkeypatch.setattr(openai_module, "FIRST_PAUSE", 0.01)
    with server() as url:
        path = recipe(tmp_path, url, num_questions=500)
        assert main(["generate", str(path), "--out", str(tmp_path / "calm")]) == 0
    with server("--faults") as url:
        path = recipe(tmp_path, url, num_questions=500, timeout=0.1, max_retries=12)
        assert main(["generate", str(path), "--out", str(tmp_path / "rough")]) == 0
    calm = generated(tmp_path / "calm")
    assert len(calm) == 500
    assert {(one.end, one.num_turns) for one in calm} == {("finished", 6)}
    assert generated(tmp_path / "rough") == calm


@pytest.mark.parametrize("kills", [15, pytest.param(50, marks=pytest.mark.live)])
def test_kills_at_any_moment_lose_nothing_and_pay_for_nothing_twice(tmp_path, kills):
    log, rng = tmp_path / "calls.log", random.Random(0)
    with server("--latency", "0.02", "--log", str(log)) as url:
        path = recipe(tmp_path, url, num_questions=220, concurrency=8)
        out = tmp_path / "killed"
        start = [sys.executable, "-m", "fireact", "generate", str(path), "--out", str(out)]
        num_kills = 0
        while num_kills < kills:
            before = _size(log)
            with subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while process.poll() is None and _size(log) == before:
                    time.sleep(0.002)
                time.sleep(rng.uniform(0, 0.06))
                if process.poll() is not None:
                    break
                process.send_signal(signal.SIGKILL)
                num_kills += 1
        assert num_kills == kills
        assert subprocess.run(start, capture_output=True, check=False).returncode == 0
        time.sleep(0.1)
    with server() as url:
        path = recipe(tmp_path, url, num_questions=220)
        assert main(["generate", str(path), "--out", str(tmp_path / "calm")]) == 0
    found = generated(out)
    assert len({one.id for one in found}) == len(found) == 220
    assert found == generated(tmp_path / "calm")
    # The log leaves out replies that were on their way when a kill closed their connection.
    calls = Counter(log.read_text().split())
    assert 6 * 220 - 16 * kills <= len(calls) <= 6 * 220
    assert max(calls.values()) == 1


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("expected", [CANARY, "sk-another"])
def test_a_key_is_found_nowhere_after_a_run(tmp_path, monkeypatch, capfd, expected):
    monkeypatch.setenv("MY_KEY", CANARY)
    with server("--key", expected, "--echoes") as url:
        path = recipe(tmp_path, url, num_questions=5, key="MY_KEY", cache=True)
        values = json.loads(path.read_text())
        agent = {"name": "tuned", "model": values["generate"]["teacher"], "method": {"kind": "react", "prompt": "none"}}
        chosen = [{"task": "world/hop", "split": "test", "num_questions": 3}]
        path.write_text(json.dumps(values | {"evaluate": {"agents": [agent], "tasks": chosen}, "report": {}}))
        status = main(["run", str(path), "--out", str(tmp_path / "run")])
    assert status == (0 if expected == CANARY else 1)
    shown = capfd.readouterr()
    assert CANARY not in shown.out + shown.err
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert [file for file in files if CANARY.encode() in file.read_bytes()] == []
    if expected == CANARY:
        assert {"report.html", "cache.sqlite", "spending.json"} - {file.name for file in files} == {"spending.json"}
        assert "Thought: *** Step 0." in generated(tmp_path / "run")[0].steps[0].reply
    else:
        assert "status 401: Incorrect API key provided: ***" in shown.err


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
from fireact.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("cached", [False, True])
def test_a_full_disk_ends_the_run_in_one_line_and_it_goes_on_when_there_is_room(tmp_path, cached):
    with server() as url:
        path = recipe(tmp_path, url, num_questions=60, cache=cached)
        arguments = ["generate", str(path), "--out", str(tmp_path / "run")]
        found = subprocess.run([sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=False)
        assert found.returncode == 2
        last = found.stderr.splitlines()[-1]
        assert last.startswith(f"fireact: {tmp_path}")
        assert "Traceback" not in found.stderr
        assert main(arguments) == 0
    assert len({one.id for one in generated(tmp_path / "run")}) == 60
    assert {one.end for one in generated(tmp_path / "run")} == {"finished"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--key", "sk-right"), "status 401: Incorrect API key provided: None; check the key, base_url and the name"),
        (("--status", "404"), "status 404: no such model; check the key, base_url and the name of the model"),
        (("--raw", "<html>a router</html>"), "the reply is damaged: '<html>a router</html>'; nothing has come from"),
    ],
)
def test_a_run_that_no_call_can_help_ends_in_one_line_with_nothing_recorded_as_failed(
    tmp_path, capfd, options, sentence
):
    with server(*options) as url:
        path = recipe(tmp_path, url, num_questions=60)
        assert main(["generate", str(path), "--out", str(tmp_path / "run")]) == 1
    assert sentence in capfd.readouterr().err.splitlines()[-1]
    assert generated(tmp_path / "run") == []
    with server() as url:
        path = recipe(tmp_path, url, num_questions=60)
        assert main(["generate", str(path), "--out", str(tmp_path / "other")]) == 0


def test_a_budget_that_is_used_up_stops_the_run_and_a_higher_one_lets_it_go_on(tmp_path, capfd):
    with server() as url:
        path = recipe(tmp_path, url, num_questions=60, price={"input": 1.0, "output": 4.0})
        start = ["generate", str(path), "--out", str(tmp_path / "run")]
        assert main([*start, "generate.budget_usd=0.02"]) == 1
        last = capfd.readouterr().err.splitlines()[-1]
        assert "fireact: the budget of $0.02 is used up: $0.0" in last
        spent = json.loads((tmp_path / "run" / "generate" / "spending.json").read_text())["dollars"]
        assert 0.01 < spent <= 0.02
        assert main([*start, "generate.budget_usd=1"]) == 0
    found = generated(tmp_path / "run")
    assert len({one.id for one in found}) == len(found) == 60
