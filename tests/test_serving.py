"""serving: what is served, how a server is started, waited for and stopped, and that a real one answers as we do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from fireact import runs, serving
from fireact.cli import main
from fireact.config import validate
from fireact.errors import ConfigError, DataError, DependencyError, ModelError, RunError
from fireact.models.openai import OpenAIConfig
from fireact.models.weights import WORLD
from fireact.serving.process import free_port, running
from fireact.trajectory import Trajectory
from test_processes import is_running, within
from tiny import save_tiny_base

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
FAKE = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

def serve(port, *, host="127.0.0.1", status=200, num_completions=1000):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, {"path": self.path})

        def do_POST(self):
            global left
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(status, {"choices": [{"text": "a"}]} if status == 200 else {"error": "out of paper"})
            left -= 1

        def answer(self, status, values):
            body = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    global left
    left = num_completions
    server = HTTPServer((host, int(port)), Handler)
    while left > 0:
        server.handle_request()
"""
VLLM = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["serve"])
parser.add_argument("model")
for name in ("--served-model-name", "--host", "--port", "--dtype", "--generation-config"):
    parser.add_argument(name, required=True)
given = parser.parse_args()
assert os.path.exists(os.path.join(given.model, "model.safetensors"))
print("serving", given.served_model_name, flush=True)
serve(given.port, host=given.host, num_completions=1)
time.sleep(1)
sys.exit("out of memory")
"""
"""As vLLM's command line, but that it ends after the first completion."""


@pytest.fixture
def start(tmp_path):
    """Starts a Python program as a server, as `serve` does."""

    def start(code: str, *arguments: object):
        program = tmp_path / "program.py"
        program.write_text(FAKE + code)
        command = [sys.executable, str(program), *map(str, arguments)]
        return running(command, folder=tmp_path, environment=os.environ, log=tmp_path / "server.log")

    return start


@pytest.fixture
def port() -> int:
    return free_port("127.0.0.1", 0)


@pytest.fixture
def answered(port) -> Callable[..., None]:
    """Waits until a server at the port has answered."""

    def wait(server, *, longest: float = 30.0) -> None:
        server.wait_until_it_answers(f"http://127.0.0.1:{port}", model="m", prompt="x", longest=longest)

    return wait


@pytest.fixture
def fake_vllm(tmp_path, monkeypatch):
    """A package `vllm` for this process and its children."""
    package = tmp_path / "packages" / "vllm" / "entrypoints" / "cli"
    package.mkdir(parents=True)
    (package / "main.py").write_text(FAKE + VLLM)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))


def save_adapter(folder: Path, base: Path, *, seed: int = 0) -> Path:
    """A random adapter for a base."""
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    from fireact.models.local import load_causal_model

    torch.manual_seed(seed)
    settings = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = peft.get_peft_model(load_causal_model(str(base), torch.float32), settings)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(str(folder))
    return folder


def test_a_server_that_starts_slowly_is_waited_for_and_stopped_in_the_end(start, port, answered):
    with start("print(os.getpid(), flush=True); time.sleep(1); serve(sys.argv[1])", port) as server:
        answered(server)
        process = int(server.log.read_text().split()[0])
        assert is_running(process)
    assert within(5, lambda: not is_running(process))


def test_a_server_that_dies_at_once_shows_its_last_lines(start, answered, caplog):
    ended = pytest.raises(ModelError, match=r"has ended with status 1; its last lines .*server\.log")
    with start("print('one\\n\\ntwo', flush=True); sys.exit('no such model')") as server, ended:
        answered(server)
    assert caplog.messages == ["server: one", "server: two", "server: no such model"]


def test_a_server_that_never_answers_is_given_up(start, answered):
    with start("time.sleep(60)") as server, pytest.raises(ModelError, match=r"no server has answered .* within 0\.5 s"):
        answered(server, longest=0.5)


def test_a_server_that_refuses_to_write_is_given_up(start, port, answered):
    refused = pytest.raises(ModelError, match=r"does not complete a text \(status 400: .*out of paper")
    with start("serve(sys.argv[1], status=400)", port) as server, refused:
        answered(server)


def test_a_server_that_does_not_listen_to_signals_is_stopped_with_its_children(start, port, answered):
    code = """
    import signal, subprocess
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(os.getpid(), child.pid, flush=True)
    serve(sys.argv[1])
    """
    with start(textwrap.dedent(code), port) as server:
        answered(server)
        processes = [int(word) for word in server.log.read_text().split()[:2]]
    assert within(5, lambda: not any(map(is_running, processes)))


def test_no_server_outlives_a_command_that_is_killed(tmp_path):
    code = f"""
    import os, sys
    from pathlib import Path
    from fireact.serving.process import running
    command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    with running(command, folder=Path("."), environment=os.environ, log=Path({str(tmp_path / "log")!r})) as server:
        server.wait()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)]) as parent:
        assert within(20, lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text().endswith("\n"))
        parent.kill()
    assert within(10, lambda: not is_running(int((tmp_path / "log").read_text())))


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} at 127\.0\.0\.1 cannot be used \(.*in use\); stop what"):
            free_port("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("127.0.0.1", -1), ("no.such.host.invalid", 0)])
def test_an_address_that_is_none_is_refused(host, port):
    with pytest.raises(ConfigError, match="port"):
        free_port(host, port)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("192.168.0.1", False)],
)
def test_only_loopback_is_reached_by_nobody_else(host, expected):
    assert serving.is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")],
)
def test_the_address_is_one_that_this_machine_reaches(host, address):
    assert serving._url(host, 80) == address


def test_a_server_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(DependencyError, match=r"--server transformers needs fastapi.*; install .*\[serve\]"):
        serving.choose_server("transformers")


@pytest.mark.usefixtures("fake_vllm")
def test_vllm_is_preferred_where_it_is_installed():
    assert serving.choose_server("auto") == "vllm"


def test_a_run_an_adapter_and_a_model_are_told_apart(tmp_path):
    adapter = tmp_path / "first run" / "finetune" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "world"}')
    run = serving.find_target(str(tmp_path / "first run"), None)
    assert run == serving.Target(WORLD, adapter, "first-run", tmp_path / "first run" / "serve")
    assert serving.find_target(str(adapter), None) == run
    alone = Path(shutil.copytree(adapter, tmp_path / "alone"))
    assert serving.find_target(str(alone), None) == serving.Target(WORLD, alone, "alone", Path("runs/serve-alone"))
    assert serving.find_target("world", tmp_path) == serving.Target(WORLD, None, "world", tmp_path)
    assert serving.find_target("org/name", None) == serving.Target("org/name", None, "name", Path("runs/serve-name"))


def test_a_run_without_an_adapter_names_the_command(tmp_path):
    (tmp_path / "mix").mkdir()
    with pytest.raises(RunError, match="run 'fireact finetune'"):
        serving.find_target(str(tmp_path), None)


def test_an_adapter_that_names_no_base_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="names no base; give adapter_config"):
        serving.find_target(str(tmp_path), None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("tiny") / "base")


def test_an_adapter_is_merged_once(tiny, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", tiny)
    target = serving.Target(str(tiny), adapter, "a", tmp_path / "out")
    first = serving.make_loadable(target)
    made = (tmp_path / "out" / "model" / "model.safetensors").stat()
    assert serving.make_loadable(target) == first
    assert (tmp_path / "out" / "model" / "model.safetensors").stat() == made
    assert first.path == str(tmp_path / "out" / "model")
    assert (first.start, first.end_of_turn) == ("<s>", "")


def test_a_student_of_ours_ends_its_turns(tiny, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", tiny)
    card = {"format": "fireact-adapter", "version": 1, "base": str(tiny), "end_of_turn": True}
    (adapter / "fireact.json").write_text(json.dumps(card))
    model = serving.make_loadable(serving.find_target(str(adapter), tmp_path / "out"))
    assert (model.start, model.end_of_turn) == ("<s>", "</s>")


def test_a_start_token_that_the_tokenizer_adds_is_not_written(tiny, tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers.processors import TemplateProcessing

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    shutil.copytree(tiny, tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    target = serving.find_target(str(tmp_path / "base"), None)
    assert serving.make_loadable(target).start == ""


def test_the_merged_model_computes_what_base_and_adapter_do(tiny, tmp_path):
    torch = pytest.importorskip("torch")
    import peft

    from fireact.models.local import load_causal_model

    adapter = save_adapter(tmp_path / "adapter", tiny)
    model = serving.make_loadable(serving.Target(str(tiny), adapter, "a", tmp_path / "out"))
    both = peft.PeftModel.from_pretrained(load_causal_model(str(tiny), torch.float32), str(adapter))
    ids = torch.arange(20)[None]
    with torch.no_grad():
        merged, expected = load_causal_model(model.path, torch.float32)(ids).logits, both(ids).logits
        plain = load_causal_model(str(tiny), torch.float32)(ids).logits
    torch.testing.assert_close(merged, expected, atol=1e-4, rtol=1e-4)
    assert (plain - expected).abs().max() > 0.1


def test_another_adapter_is_merged_anew_under_another_name(tiny, tmp_path):
    target = serving.Target(str(tiny), save_adapter(tmp_path / "adapter", tiny), "a", tmp_path / "out")
    first = serving.make_loadable(target)
    made = (tmp_path / "out" / "model" / "model.safetensors").read_bytes()
    save_adapter(tmp_path / "adapter", tiny, seed=1)
    assert serving.make_loadable(target).name != first.name
    assert (tmp_path / "out" / "model" / "model.safetensors").read_bytes() != made


def test_a_folder_that_something_else_has_made_is_kept(tiny, tmp_path):
    (tmp_path / "out" / "model").mkdir(parents=True)
    target = serving.Target(str(tiny), save_adapter(tmp_path / "adapter", tiny), "a", tmp_path / "out")
    with pytest.raises(DataError, match="not made by 'fireact serve'; give another --out"):
        serving.make_loadable(target)


def test_the_line_for_a_recipe_reads_back():
    pytest.importorskip("torch")
    values = {"model": "a-1", "base_url": "http://127.0.0.1:1/v1", "api": "completions", "start": "<|start|>"}
    model = validate({**values, "end_of_turn": "</s>"}, OpenAIConfig, where="test")
    line = yaml.safe_load(serving.Served(model, None).recipe_line)  # type: ignore[arg-type]
    assert validate(line["model"], OpenAIConfig, where="test") == model
    assert line["model"]["kind"] == "openai"


@pytest.mark.usefixtures("fake_vllm")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_command_prints_the_address_and_the_line_for_a_recipe(tmp_path, capfd, host):
    pytest.importorskip("torch")
    assert main(["serve", "world", "--host", host, "--port", "0", "--out", str(tmp_path / "out")]) == 1
    out, err = capfd.readouterr()
    address, line = out.splitlines()
    model = yaml.safe_load(line)["model"]
    assert model.pop("base_url") == address
    assert model.pop("model").startswith("world-")
    assert model == {"kind": "openai", "api": "completions", "start": "<|start|>"}
    assert ("without a key" in err) == (host == "0.0.0.0")
    assert err.splitlines()[-2:] == [
        "server: out of memory",
        f"fireact: the server has ended with status 1; its last lines stand above, all in {tmp_path}/out/server.log",
    ]


@pytest.mark.usefixtures("fake_vllm")
@pytest.mark.parametrize("name", ["empty", "nosuch", "recipe.yaml"])
def test_what_cannot_be_served_is_refused_in_one_line(tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "recipe.yaml").write_text("name: first")
    what = tmp_path / name
    assert main(["serve", str(what), "--port", "0", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr() == (
        "",
        f"fireact: {what}: no run with a tuned adapter, no adapter and no model; give one, such as runs/first\n",
    )
    assert not (tmp_path / "out").exists()


RECIPE = """
name: served
evaluate:
  agents:
    - {name: here, model: {kind: local, path: world}, method: {kind: react}, max_steps: 3, max_tokens: 60}
    - {name: served, MODEL, method: {kind: react}, max_steps: 3, max_tokens: 60}
  tasks: [{task: world/hop, split: test, num_questions: 12}]
"""


@pytest.fixture
def real_server(tmp_path, monkeypatch) -> Iterator[str]:
    """The line for a recipe of a real server of the shipped base; it is stopped by Ctrl-C and leaves nothing behind."""
    missing = [name for name in serving.SERVERS["transformers"].packages if find_spec(name) is None]
    if missing or find_spec("torch") is None:
        pytest.skip(f"{', '.join(missing) or 'torch'} is not installed; install the extra 'serve'")
    monkeypatch.setenv("FIREACT_CACHE", str(tmp_path / "cache"))
    # Two threads that wait for a core are slower than one.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "fireact", "serve", "world", "--server", "transformers", "--port", "0"]
    with subprocess.Popen([*command, "--out", str(tmp_path / "out")], stdout=subprocess.PIPE, text=True) as ours:
        assert ours.stdout is not None
        address, line = ours.stdout.readline(), ours.stdout.readline()
        assert address.startswith("http://127.0.0.1:"), (tmp_path / "out" / "server.log").read_text()
        log = (tmp_path / "out" / "server.log").read_text()
        yield line.strip()
        ours.send_signal(signal.SIGINT)
        assert ours.wait(20) == 0
    process = int(log.partition("Started server process [")[2].partition("]")[0])
    assert within(5, lambda: not is_running(process))


def replies(folder: Path, agent: str) -> dict[str, tuple[str | None, list[str]]]:
    """The answer and all replies of each question."""
    path = runs.evaluation_path(folder, agent=agent, noise="normal", task="world/hop", split="test")
    return {one.question.id: (one.answer, [step.reply for step in one.steps]) for one in runs.read(path, Trajectory)}


def test_a_real_server_gives_the_same_replies_as_the_model_in_this_process(real_server, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("MODEL", real_server))
    assert main(["evaluate", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]) == 0
    here, served = replies(tmp_path / "run", "here"), replies(tmp_path / "run", "served")
    assert len(here) == 12
    assert served == here
