"""Serve a tuned model, or any other, with a server that others have written: vLLM or `transformers serve`.

    adapter + base -> one merged model -> the server, a child process -> it answers -> the line for a recipe

Merging works with every server. The name of the model at the server holds a digest of its weights: replies are cached
by address and name, and two students must never be taken for one.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from fireact.config import validate
from fireact.errors import ConfigError, DataError, DependencyError
from fireact.models.openai import OpenAIConfig
from fireact.models.weights import INSTALL, WORLD, LocalConfig, find_weights, fingerprint, read_adapter_card
from fireact.runs import PRODUCER, RECIPE, STAGES, content_digest, holding, output, read_json, require, write_json
from fireact.serving.process import Server, free_port, running

MODEL, LOG = "model", "server.log"
CARD = "fireact_merged.json"
"""The file in a merged model's folder that says what it was made from."""
FORMAT, VERSION = "fireact-merged", 1
DIGITS = 8
"""Of the digest that a name holds."""
INSTALL_SERVER = "install the extra 'serve', in a clone with: pip install -e '.[serve]'"
QUIET = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1"}
"""Servers need not tell anybody that they were started."""
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that mean every address, each with one under which this machine reaches itself."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """What is to be served."""

    base: str
    """As in a recipe: `world`, a folder or a hub name."""
    adapter: Path | None
    label: str
    """What it is called by people, in letters that any file name may have."""
    folder: Path
    """For the merged model and the log."""


@dataclass(frozen=True)
class Loadable:
    """What a server loads."""

    path: str
    """A folder or a hub name."""
    name: str
    """At the server."""
    dtype: str
    start: str
    """The name of the token that has to stand at the head of a prompt; empty where the tokenizer adds it, or none."""
    end_of_turn: str
    """The name of the token with which the model ends its turns; empty where it does not."""


@dataclass(frozen=True)
class Kind:
    """A server that can be started."""

    packages: tuple[str, ...]
    command: Callable[[Loadable, str, int], list[str]]
    concurrency: int
    """Requests that it can work on at once."""


def _vllm(model: Loadable, host: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-P", "-m", "vllm.entrypoints.cli.main", "serve", model.path),
        *("--served-model-name", model.name, "--host", host, "--port", str(port), "--dtype", model.dtype),
        # Else a model's own settings, such as a penalty, would apply to greedy decoding.
        *("--generation-config", "vllm"),
    ]


def _transformers(model: Loadable, host: str, port: int) -> list[str]:
    # It knows a model by the path that it was given alone: the name is a link in the folder where it works.
    return [
        *(sys.executable, "-P", "-m", "transformers.cli.transformers", "serve", model.name),
        *("--host", host, "--port", str(port), "--dtype", model.dtype),
    ]


SERVERS = {
    "vllm": Kind(("vllm",), _vllm, OpenAIConfig.model_fields["concurrency"].default),
    "transformers": Kind(("transformers", "fastapi", "uvicorn", "openai"), _transformers, 1),
}
AUTO = "auto"
"""The first of these that is installed."""


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    model: OpenAIConfig
    """How it is asked."""
    server: Server

    @property
    def recipe_line(self) -> str:
        """The `model` of an agent or teacher that asks this server."""
        values = {"kind": self.model.kind, **self.model.model_dump(mode="json", exclude_defaults=True)}
        shown = yaml.safe_dump(values, default_flow_style=True, sort_keys=False, allow_unicode=True, width=sys.maxsize)
        return f"model: {shown.strip()}"


@contextmanager
def serving(what: str, *, host: str, port: int, server: str, out: Path | None = None) -> Iterator[Served]:
    """Start a server and wait until it answers; it is stopped in the end.

    Args:
        what: a run with a tuned adapter, the folder of an adapter, or a model as in a recipe.
        port: 0 for any that is free.
        server: one of SERVERS, or `auto`.
        out: for the merged model and the log; `serve` in the run where None, or a folder in `runs`.

    Raises:
        ConfigError: there is no such model, or the port is taken.
        RunError: the run has no adapter yet, or is being served.
        DependencyError: the server or torch is not installed.
        DataError: a file cannot be read or written.
        ModelError: the server has ended, or does not answer.
    """
    kind = SERVERS[choose_server(server)]
    port = free_port(host, port)
    address = _url(host, port)
    target = find_target(what, out)
    with ExitStack() as opened:
        opened.enter_context(holding(target.folder))
        model = make_loadable(target)
        config = _how_to_ask(model, kind, address)
        if not is_loopback(host):
            logger.warning("serve: anyone who reaches %s over the network can use this server, without a key", host)
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="fireact-serve-")))
        environment = os.environ | QUIET
        if Path(model.path).is_dir():
            (folder / model.name).symlink_to(Path(model.path).resolve())
            environment["HF_HUB_OFFLINE"] = "1"
        log = target.folder / LOG
        logger.info("serve: starting %s, which writes to %s", kind.packages[0], log)
        command = kind.command(model, host, port)
        child = opened.enter_context(running(command, folder=folder, environment=environment, log=log))
        child.wait_until_it_answers(address, model=model.name, prompt=f"{config.start}Question:")
        yield Served(config, child)


def choose_server(wanted: str) -> str:
    """The name of a server that is installed.

    Raises:
        DependencyError: it is not.
    """
    for name, kind in SERVERS.items():
        missing = [package for package in kind.packages if find_spec(package) is None]
        if wanted in (name, AUTO) and not missing:
            return name
        if wanted == name:
            advice = "install it, or use --server auto" if name == "vllm" else INSTALL_SERVER
            raise DependencyError(f"--server {name} needs {', '.join(missing)}; {advice}")
    raise DependencyError(f"serve: neither vLLM nor what 'transformers serve' needs is installed; {INSTALL_SERVER}")


def find_target(what: str, out: Path | None) -> Target:
    """What is meant: a run, an adapter, or a model.

    Raises:
        ConfigError: it is none of them, or the adapter does not say what its base is.
        RunError: the run has no adapter yet.
    """
    path = Path(what)
    run = path.parent.parent if output(path.parent.parent, "finetune") == path else path
    is_run = (run / RECIPE).exists() or any((run / stage).is_dir() for stage in STAGES)
    if output(run, "finetune").exists() or (is_run and not (path / "config.json").exists()):
        adapter: Path | None = require(run, "finetune")
        label, folder = _label(run.resolve().name), run / "serve"
    else:
        adapter = path if (path / "adapter_config.json").exists() else None
        label = _label(path.resolve().name if path.exists() else path.name)
        folder = Path("runs") / f"serve-{label}"
    if adapter is None and _is_nothing(what):
        raise ConfigError(f"{what}: no run with a tuned adapter, no adapter and no model; give one, such as runs/first")
    return Target(what if adapter is None else _base_of(adapter), adapter, label, out or folder)


def _is_nothing(what: str) -> bool:
    """Whether a name can be no model: a path at which there is none. Other names are left to the hub."""
    path = Path(what)
    is_path = path.exists() or (len(path.parts) != 1 and path.parent.is_dir())
    return what != WORLD and is_path and not (path / "config.json").exists()


def make_loadable(target: Target) -> Loadable:
    """What the server loads, merged if need be.

    Raises:
        ConfigError: there is no such model, or the adapter does not fit its base.
        DataError: a file cannot be written.
        DependencyError: torch is not installed.
    """
    validate({"path": target.base}, LocalConfig, where="serve").check()
    try:
        from fireact.serving.merge import best_dtype, names_of_tokens, save_merged
    except ImportError as error:
        raise DependencyError(f"serve needs {error.name or 'torch'}; {INSTALL}") from error
    weights, dtype = find_weights(target.base), best_dtype()
    mark = fingerprint(weights)
    if target.adapter is None:
        start, _ = names_of_tokens(weights)
        path = str(Path(weights).resolve()) if Path(weights).is_dir() else weights
        return Loadable(path, f"{target.label}-{mark[:DIGITS]}" if mark else weights, dtype, start, "")
    parts = (content_digest(target.adapter), target.base, mark, dtype)
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    folder = target.folder.resolve() / MODEL
    if not _is_merged(folder, digest):
        logger.info("serve: merging %s into %s, as %s", target.adapter, target.base, folder)
        draft = folder.with_name(f"{MODEL}.part")
        shutil.rmtree(draft, ignore_errors=True)
        save_merged(base=target.base, adapter=str(target.adapter), folder=draft)
        made_from = {"adapter": str(target.adapter), "base": target.base, "digest": digest}
        write_json(draft / CARD, {"format": FORMAT, "version": VERSION, "producer": PRODUCER, **made_from})
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    start, end = names_of_tokens(str(folder))
    has_turns = bool(read_adapter_card(str(target.adapter)).get("end_of_turn"))
    return Loadable(str(folder), f"{target.label}-{digest[:DIGITS]}", dtype, start, end if has_turns else "")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_merged(folder: Path, digest: str) -> bool:
    """Whether a folder holds the merged model with this digest; False where another one may take its place.

    Raises:
        DataError: something else is there.
    """
    if not folder.exists():
        return False
    if not (folder / CARD).exists():
        raise DataError(f"{folder}: is there, and not made by 'fireact serve'; give another --out")
    return read_json(folder / CARD).get("digest") == digest


def _base_of(adapter: Path) -> str:
    """The base that an adapter was trained on, as it names it.

    Raises:
        ConfigError: it does not.
    """
    named = read_adapter_card(str(adapter)).get("base")
    named = named or read_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ConfigError(f"adapter {adapter}: names no base; give adapter_config.json a 'base_model_name_or_path'")
    return named


def _how_to_ask(model: Loadable, kind: Kind, address: str) -> OpenAIConfig:
    values = {
        "model": model.name,
        "base_url": f"{address}/v1",
        "api": "completions",
        "start": model.start,
        "end_of_turn": model.end_of_turn,
        "concurrency": kind.concurrency,
    }
    return validate(values, OpenAIConfig, where="serve")


def _url(host: str, port: int) -> str:
    """The address under which this machine reaches the server."""
    near = WILDCARDS.get(host, host)
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"


def _label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or MODEL
