"""The command line. Functions here read arguments, call, and print; there is no logic to test.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 a failed run or our bug, 2 the user's input.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import fireact
from fireact import config, runs, stages
from fireact.errors import DataError, FireactError, ModelError, ToolError
from fireact.formats import READERS, read_trajectories
from fireact.metrics import score_lines
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
logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parse(arguments)
    _show_log()
    try:
        given.command(given)
    except FireactError as error:
        print(f"fireact: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if isinstance(error, ModelError | ToolError) else 2
    except KeyboardInterrupt:
        print("fireact: stopped; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return 1
    return 0


def run_stage(given: argparse.Namespace) -> None:
    recipe = config.load(given.recipe, stages.Recipe, given.overrides)
    print(_run(given.verb, recipe, _folder(given, recipe)).text)


def run_all(given: argparse.Namespace) -> None:
    recipe = config.load(given.recipe, stages.Recipe, given.overrides)
    folder = _folder(given, recipe)
    text = ""
    for stage in recipe.stages:
        logger.info("%s ...", stage)
        text = _run(stage, recipe, folder).text
        if stage != recipe.stages[-1]:
            logger.info("%s: %s", stage, text)
    print(text)
    logger.info("in %s", folder)


def import_file(given: argparse.Namespace) -> None:
    found = read_trajectories(given.file, given.format)
    for problem in found.problems:
        logger.warning("%s; left out", problem)
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


def _run(stage: str, recipe: stages.Recipe, folder: Path) -> runs.Summary:
    summary = stages.run(stage, recipe, folder)
    runs.write_recipe(folder, recipe.resolved())
    return summary


def _folder(given: argparse.Namespace, recipe: stages.Recipe) -> Path:
    folder: Path = given.out or Path("runs") / recipe.name
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


def _show_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
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
    _add_files(verbs)
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


def _add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, example: str
) -> argparse.ArgumentParser:
    return verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=f"example: {example}")


def _add_recipe(parser: argparse.ArgumentParser, command: object) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file with a section for each stage")
    _add_run_options(parser, command)


def _add_run_options(parser: argparse.ArgumentParser, command: object) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder; runs/<name of the recipe> by default")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="what to change in the recipe")
    parser.set_defaults(command=command)
