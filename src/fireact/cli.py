"""The command line. Functions here read arguments, call, and print; there is no logic to test.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 a failed run or our bug, 2 the user's input,
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path

import fireact
from fireact import config, runs, serving, stages
from fireact.errors import BudgetError, ConfigError, DataError, FireactError, ModelError, ToolError
from fireact.formats import READERS, read_trajectories
from fireact.metrics import score_lines
from fireact.stages import ask as asking_one
from fireact.stages import estimate
from fireact.trajectory import Trajectory

DEMO = Path(fireact.__file__).parent / "recipes" / "demo.yaml"
STAGE_HELP = {
    "generate": "ask a teacher to answer questions, and keep every episode",
    "unify": "bring all trajectories into one ReAct form",
    "mix": "choose the trajectories to train on",
    "finetune": "train a LoRA adapter on the mixture",
    "evaluate": "put the same questions to every agent, with clean and with noisy tools",
    "report": "write results.json and report.html",
}
INTERRUPTED = 130
"""The status of a program that SIGINT has ended, by the custom of shells."""
logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parse(arguments)
    _show_log()
    try:
        given.command(given)
        sys.stdout.flush()
    except FireactError as error:
        print(f"fireact: {visible(str(error))}", file=sys.stderr)
        return 1 if isinstance(error, ModelError | ToolError | BudgetError) else 2
    except BrokenPipeError:
        # Whoever read the output has gone; what the interpreter still flushes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"fireact: {visible(str(error.filename or 'output'))}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fireact: stopped; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    return 0


def run_stage(given: argparse.Namespace) -> None:
    recipe = config.load(given.recipe, stages.Recipe, given.overrides)
    if given.dry_run:
        _dry_run(recipe, [given.verb])
        return
    folder = _folder(given, recipe)
    # A report shows what is there, also while others write.
    with nullcontext() if given.verb == "report" else runs.holding(folder):
        _reopen_failed(given, [given.verb], folder)
        print(_harmless(stages.run(given.verb, recipe, folder).text))


def run_all(given: argparse.Namespace) -> None:
    recipe = config.load(given.recipe, stages.Recipe, given.overrides)
    folder = _folder(given, recipe)
    if given.dry_run:
        _dry_run(recipe, recipe.stages)
        return
    if not recipe.stages:
        raise ConfigError(f"{given.recipe}: the recipe has no stage; give it a section such as 'generate'")
    text = ""
    with runs.holding(folder):
        stages.require_all(recipe, folder)
        _reopen_failed(given, recipe.stages, folder)
        for stage in recipe.stages:
            logger.info("%s ...", stage)
            text = stages.run(stage, recipe, folder).text
            if stage != recipe.stages[-1]:
                logger.info("%s: %s", stage, text.replace("\n", "; "))
    print(_harmless(text))
    logger.info("all files are in %s", folder)


def ask(given: argparse.Namespace) -> None:
    trajectory = asking_one.ask(
        given.question, given.agent, lambda line: print(_harmless(line), flush=True), name=given.name
    )
    print(f"Answer: {'none' if trajectory.answer is None else _harmless(trajectory.answer)}")


def _reopen_failed(given: argparse.Namespace, names: Sequence[str], folder: Path) -> None:
    for stage in runs.ASKING if given.retry_failed else ():
        if stage in names:
            logger.info("%s: %d failed episodes are played again", stage, runs.reopen_failed(folder, stage))


def _dry_run(recipe: stages.Recipe, names: Sequence[str]) -> None:
    print(estimate.report(chain.from_iterable(estimate.estimates(recipe.section(name)) for name in names)))


def import_file(given: argparse.Namespace) -> None:
    if given.out.exists() and given.out.samefile(given.file):
        raise ConfigError(f"{given.out}: is the file to read; give another --out")
    found = read_trajectories(given.file, given.format)
    for problem in found.problems[: runs.MOST_NOTES]:
        logger.warning("%s; left out", problem)
    if len(found.problems) > runs.MOST_NOTES:
        logger.warning("%s: %d more are left out", given.file, len(found.problems) - runs.MOST_NOTES)
    if not found.trajectories:
        raise DataError(f"{given.file}: no trajectory could be read as {given.format}; check the --format")
    runs.write(given.out, found.trajectories)
    for (task, method), count in sorted(Counter((one.task, one.method) for one in found.trajectories).items()):
        print(f"{task} {method} {count}")


def score_file(given: argparse.Namespace) -> None:
    trajectories = list(runs.read(given.file, Trajectory))
    if not trajectories:
        raise DataError(f"{given.file}: no trajectory in it; give a file that 'fireact import' or a run has written")
    print("\n".join(score_lines(trajectories, given.asked)))


def serve(given: argparse.Namespace) -> None:
    with serving.serving(given.what, host=given.host, port=given.port, server=given.server, out=given.out) as served:
        print(_harmless(f"{served.model.base_url}\n{served.recipe_line}"), flush=True)
        logger.info("serve: ready; Ctrl-C stops it")
        served.server.wait()
    logger.info("serve: stopped")


def _folder(given: argparse.Namespace, recipe: stages.Recipe) -> Path:
    """The run folder.

    Raises:
        ConfigError: keeping the recipe there would write over the one that was given.
    """
    folder: Path = given.out or Path("runs") / recipe.name
    kept = folder / runs.RECIPE
    is_a_run = any(map(partial(runs.has_made_something, folder), runs.STAGES))
    if kept.exists() and kept.samefile(given.recipe) and not is_a_run:
        raise ConfigError(f"{kept}: would be written over; use another --out, such as {folder / 'run'}")
    return folder


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; argparse by itself takes no override after an option."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(given, "overrides") or any(argument.startswith("-") for argument in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        given.overrides += rest
    return given


class _OneLine(logging.Formatter):
    """Records as one visible line each: parts of them come from files, models and tools."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(record.getMessage())


def visible(text: str) -> str:
    """A text in one line, in which no character can steer a terminal."""
    return _harmless(" ".join(text.split()))


def _harmless(text: str) -> str:
    return "".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in text)


def _show_log() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    log = logging.getLogger("fireact")
    log.handlers = [handler]
    log.setLevel(logging.INFO)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fireact",
        description="Turn an expensive prompted language agent into a small fine-tuned one, and prove that it worked.",
        epilog="example: fireact demo --out runs/demo",
    )
    parser.add_argument("--version", action="version", version=runs.PRODUCER)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for stage, text in STAGE_HELP.items():
        _add_recipe(_add(verbs, stage, text, f"fireact {stage} recipe.yaml --out runs/first"), run_stage)
    _add_recipe(_add(verbs, "run", "run all stages of a recipe", "fireact run recipe.yaml seed=1"), run_all)
    demo = _add(verbs, "demo", "run the packaged recipe: the whole loop, offline", "fireact demo --out runs/demo")
    _add_run_options(demo, run_all)
    demo.set_defaults(recipe=DEMO)
    example = 'fireact ask "Where was the founder of Stuldora School born?" --agent runs/demo'
    asker = _add(verbs, "ask", "put one question to an agent of a run, and see its steps as they come", example)
    asker.add_argument("question", metavar="QUESTION")
    asker.add_argument("--agent", type=Path, required=True, metavar="RUN", help="the folder of the run")
    asker.add_argument("--name", help="of the agent; 'tuned' by default, else the last one that was evaluated")
    asker.set_defaults(command=ask)
    _add_files(verbs)
    _add_serve(verbs)
    return parser


def _add_files(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    example = "fireact import data/finetune/alpaca_format/hotpotqa.json --format fireact-alpaca --out hotpotqa.jsonl"
    reader = _add(verbs, "import", "read another project's file as trajectories", example)
    reader.add_argument("file", type=Path, metavar="FILE")
    reader.add_argument("--format", required=True, choices=sorted(READERS))
    reader.add_argument("--out", type=Path, required=True, metavar="OUT.jsonl")
    reader.set_defaults(command=import_file)
    scorer = _add(verbs, "score", "print the scores of a file of trajectories", "fireact score out.jsonl --asked 500")
    scorer.add_argument("file", type=Path, metavar="FILE.jsonl")
    scorer.add_argument("--asked", type=int, metavar="N", help="questions asked, where some have no trajectory")
    scorer.set_defaults(command=score_file)


def _add_serve(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    server = _add(
        verbs, "serve", "serve the tuned model of a run, or any other", "fireact serve runs/first --port 8000"
    )
    server.add_argument("what", metavar="RUN", help="a run, the folder of an adapter, or a model as in a recipe")
    server.add_argument("--host", default="127.0.0.1", help="the address to listen at; by default this machine alone")
    server.add_argument("--port", type=int, default=8000, help="0 takes any that is free")
    server.add_argument("--server", choices=[serving.AUTO, *serving.SERVERS], default=serving.AUTO)
    server.add_argument(
        "--out", type=Path, metavar="DIR", help="for the merged model and the log; RUN/serve by default"
    )
    server.set_defaults(command=serve)


def _add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, example: str
) -> argparse.ArgumentParser:
    return verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=f"example: {example}")


def _add_recipe(parser: argparse.ArgumentParser, command: object) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file with a section for each stage")
    _add_run_options(parser, command)


def _add_run_options(parser: argparse.ArgumentParser, command: object) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder; runs/<name of the recipe> by default")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be asked, and what it may cost")
    parser.add_argument("--retry-failed", action="store_true", help="play the episodes again that have failed")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="what to change in the recipe")
    parser.set_defaults(command=command)
