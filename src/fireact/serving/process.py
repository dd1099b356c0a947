"""The server as a child process: it is started, waited for until it answers, and never left behind."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from fireact.errors import ConfigError, DataError, ModelError
from fireact.serving import guard

LONGEST_START = 1800.0
"""Seconds; a large model may have to be downloaded first."""
SECONDS_BETWEEN_LINES = 10.0
LONGEST_REPLY = 300.0
"""Seconds for one token: the first request may compile."""
LONGEST_END = guard.GRACE + 5.0
PAUSE = 0.2
NUM_LAST_LINES = 12
LAST_BYTES = 1 << 14
MOST_SHOWN = 200
ANY_PORT = 65536
OK = 200
logger = logging.getLogger(__name__)


class Server:
    """A server that runs; `running` starts one."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self.log = log
        self._child = child

    def wait_until_it_answers(self, address: str, *, model: str, prompt: str, longest: float = LONGEST_START) -> None:
        """Wait for the server, and ask it for one token.

        Args:
            address: without a path, such as `http://127.0.0.1:8000`.
            longest: seconds to wait.

        Raises:
            ModelError: it has ended, does not answer in time, or refuses.
        """
        started = shown = time.monotonic()
        while _get_status(f"{address}/health") != OK:
            self.require_alive()
            now = time.monotonic()
            if now - started > longest:
                self._show_last_lines()
                raise ModelError(f"no server has answered at {address} within {longest:g} s; look into {self.log}")
            if now - shown > SECONDS_BETWEEN_LINES:
                shown = now
                logger.info("serve: %.0f s, not ready yet: %s", now - started, "".join(last_lines(self.log, 1)))
            time.sleep(PAUSE)
        self.require_alive()
        problem = _ask(f"{address}/v1/completions", model, prompt)
        if problem:
            self.require_alive()
            self._show_last_lines()
            raise ModelError(f"the server at {address} does not complete a text ({problem}); look into {self.log}")

    def require_alive(self) -> None:
        """
        Raises:
            ModelError: the server has ended.
        """
        status = self._child.poll()
        if status is not None:
            self._show_last_lines()
            raise ModelError(
                f"the server has ended with status {status}; its last lines stand above, all in {self.log}"
            )

    def wait(self) -> None:
        """Wait until it is stopped by Ctrl-C.

        Raises:
            ModelError: the server has ended by itself.
        """
        try:
            self._child.wait()
        except KeyboardInterrupt:
            return
        self.require_alive()

    def stop(self) -> None:
        """End it; the guard does that, and goes on when this process is interrupted here."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(LONGEST_END)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _show_last_lines(self) -> None:
        for line in last_lines(self.log, NUM_LAST_LINES):
            logger.error("server: %s", line)


@contextmanager
def running(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Start a server and stop it in the end; it is stopped also when this process is killed.

    Args:
        folder: where it works.
        log: the file for all that it says, written anew.

    Raises:
        DataError: the log cannot be written.
    """
    try:
        stream = log.open("wb")
    except OSError as error:
        raise DataError(f"{log}: {error.strerror or error}; give another --out") from error
    with stream:
        # A session of its own, or Ctrl-C on the terminal would reach it beside us.
        child = subprocess.Popen(
            [sys.executable, "-I", guard.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    server = Server(child, log)
    try:
        yield server
    finally:
        server.stop()


def free_port(host: str, port: int) -> int:
    """The port, which nobody uses; any that is free where it is 0.

    Raises:
        ConfigError: it is taken, or is none, or the host is not this machine.
    """
    if not 0 <= port < ANY_PORT:
        raise ConfigError(f"--port {port}: expected a number from 1 to {ANY_PORT - 1}, or 0 for any that is free")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # What was closed a moment ago does not count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"port {port} at {host} cannot be used ({reason}); stop what uses it, or give another --port or --host"
        ) from error


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log that say something."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - LAST_BYTES))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    return [line[-MOST_SHOWN:] for line in lines if line][-count:]


def _get_status(url: str) -> int:
    """The status of an answer; 0 where there is none."""
    try:
        return _send(Request(url), timeout=2.0)[0]
    except (OSError, HTTPException):
        return 0


def _ask(url: str, model: str, prompt: str) -> str:
    """Ask for one token; returns what was wrong with the answer, empty where nothing was."""
    body = json.dumps({"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0}).encode()
    try:
        status, text = _send(Request(url, body, {"Content-Type": "application/json"}), timeout=LONGEST_REPLY)
    except (OSError, HTTPException) as error:
        return str(error)
    try:
        if status == OK and isinstance(json.loads(text)["choices"][0]["text"], str):
            return ""
    except (ValueError, LookupError, TypeError):
        pass
    return f"status {status}: {text.decode(errors='replace')[:MOST_SHOWN]}"


def _send(request: Request, *, timeout: float) -> tuple[int, bytes]:
    """Status and body of the answer, asked for without any proxy."""
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=timeout) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
