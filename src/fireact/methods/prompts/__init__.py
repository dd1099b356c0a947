"""Finds the text that a method puts before a question: what to do, with solved examples.

    prompts/<method>/<task>.txt     the packaged prompt for a task; a slash in the task's name is a dash here

A new prompt is one file. Where another method or task has the prompt that fits, a line in `SAME` says so.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from fireact.errors import ConfigError

PACKAGED = "task"
NO_PROMPT = "none"
SUFFIX = ".txt"
NEXT_EXAMPLE = ("\nQuestion:",)
"""Stop strings for replies to a prompt: after its examples a model goes on to invent the next one."""

SAME = {"reflexion": "react", "bamboogle": "hotpotqa", "world/compose": "world/hop"}
"""Methods and tasks that use the prompts of another one."""


def _check(prompt: str) -> str:
    if prompt not in (PACKAGED, NO_PROMPT) and not prompt.endswith(SUFFIX):
        raise ValueError(f"expected task, none, or the path of a {SUFFIX} file, got {prompt!r}")
    return prompt


Prompt = Annotated[str, AfterValidator(_check)]
"""Where a method's instruction comes from.

`task` is the packaged prompt for the task of the question; `none` is no instruction, for a tuned student; anything
else is the path of a .txt file, from the current folder.
"""


def read_prompt(prompt: str, *, method: str, task: str) -> str:
    """The text to put before a question, without outer white space; empty for `none`.

    Raises:
        ConfigError: there is no packaged prompt for the method and the task, or the file cannot be read.
    """
    if prompt == NO_PROMPT:
        return ""
    return _packaged(method, task) if prompt == PACKAGED else _from_file(Path(prompt))


def known_prompts() -> tuple[str, ...]:
    """The packaged prompts as `<method>/<task>`, sorted; those that stand in for another name are not listed twice."""
    folders = (folder for folder in resources.files(__name__).iterdir() if folder.is_dir())
    files = (f"{folder.name}/{file.name}" for folder in folders for file in folder.iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX)))


def _packaged(method: str, task: str) -> str:
    name = f"{SAME.get(method, method)}/{SAME.get(task, task).replace('/', '-')}"
    known = known_prompts()
    if name not in known:
        raise ConfigError(
            f"method {method}: no packaged prompt {name!r}; known: {', '.join(known)};"
            f" set prompt to the path of a {SUFFIX} file, or to none"
        )
    return (resources.files(__name__) / f"{name}{SUFFIX}").read_text(encoding="utf-8").strip()


def _from_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"prompt {path}: cannot be read ({reason}); give a {SUFFIX} file, task or none") from error
