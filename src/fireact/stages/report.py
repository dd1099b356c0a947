"""report: the comparison as a table, as `results.json`, and as one page that needs nothing else.

`report.html` holds its own style and figures, no script and no link; a browser that honours its content policy runs
and fetches nothing. Texts of models and tools are escaped, and characters that would hide or reorder text are shown as
their code. The page needs jinja2 (the extra `report`); without it the rest is written, and the log says how to install
it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from fireact.config import Config, Seed, validate
from fireact.errors import DependencyError, RunError, unknown_name
from fireact.runs import (
    PRODUCER,
    Summary,
    asked_of,
    evaluation_path,
    open_stage,
    output,
    read,
    require,
    write_json,
    write_text,
)
from fireact.stages import figures
from fireact.stages.evaluate import NORMAL, EvaluateConfig, noise_name
from fireact.stages.results import Cell, Outcome, outcome, results
from fireact.stages.story import Story, describe, describe_split, headline, number, remark, tiles
from fireact.stages.table import table
from fireact.trajectory import Trajectory

BASELINE, TUNED = "prompted", "tuned"
INSTALL = "install the extra 'report', in a clone with: pip install -e '.[report]'"
MOST_SHOWN = 3000
"""Characters shown of one text of a sample."""
logger = logging.getLogger(__name__)


class ReportConfig(Config):
    """How the comparison is told."""

    title: str = ""
    """Stands above the headline; the name of the run folder where empty."""
    agent: str = ""
    """Whom the report is about; where empty `tuned` if there is one, else the last agent but the baseline."""
    baseline: str = ""
    """Whom all others are compared with; where empty `prompted` if there is one, else the first agent."""
    samples: int = Field(1, ge=0)
    """Trajectories shown of each agent: so many right and so many wrong ones."""
    seed: Seed = 0
    """Of the bootstrap."""


def run(config: ReportConfig, folder: Path) -> Summary:
    """Read what `evaluate` and `generate` made; write `results.json`, `table.txt` and `report.html`.

    Raises:
        RunError: `evaluate` has not run, or has answered nothing yet.
        ConfigError: an agent of this section was not evaluated.
    """
    require(folder, "evaluate")
    story = tell(config, folder)
    stage = open_stage(folder, "report", config, after=["evaluate"], is_cheap=True)
    text = table(story.results)
    write_json(output(folder, "report"), story.results.model_dump(mode="json"))
    write_text(stage / "table.txt", f"{text}\n")
    try:
        write_text(stage / "report.html", page(story))
        logger.info("with figures and samples: %s", stage / "report.html")
    except DependencyError as error:
        logger.warning("%s", error)
    return Summary("report", text, {"rows": len(story.results.rows)})


def tell(config: ReportConfig, folder: Path) -> Story:
    """Read a run folder and work out all that its report says.

    Raises:
        RunError: nothing is answered yet.
        ConfigError: an agent that the config names was not evaluated.
        DataError: a file cannot be read.
    """
    evaluation, cells = read_evaluation(folder)
    names = list(dict.fromkeys(cell.agent for cell in cells))
    baseline = _choose(config.baseline, names, usual=BASELINE, otherwise=names[0], key="report.baseline")
    others = [name for name in names if name != baseline] or names
    agent = _choose(config.agent, names, usual=TUNED, otherwise=others[-1], key="report.agent")
    path = output(folder, "generate")
    teacher = read(path, Trajectory) if path.exists() else ()
    return Story(
        title=config.title or folder.resolve().name,
        agent=agent,
        baseline=baseline,
        evaluation=evaluation,
        cells=cells,
        results=results(cells, teacher, baseline=baseline, normal=NORMAL, seed=config.seed),
        samples=tuple(read_samples(folder, cells, agent=agent, baseline=baseline, count=config.samples)),
    )


def _choose(given: str, names: Sequence[str], *, usual: str, otherwise: str, key: str) -> str:
    if given and given not in names:
        raise unknown_name("agent", given, tuple(names), key)
    return given or (usual if usual in names else otherwise)


def read_evaluation(folder: Path) -> tuple[EvaluateConfig, tuple[Cell, ...]]:
    """What was asked, and the outcomes in the order of the recipe; a cell that has none yet is left out.

    Raises:
        RunError: nothing is answered yet.
        DataError: a file cannot be read.
    """
    where = output(folder, "evaluate")
    config = validate(asked_of(folder, "evaluate"), EvaluateConfig, where=str(where))
    noises = [noise_name(noise) for noise in config.all_noises]
    cells = tuple(
        Cell(agent.name, noise, chosen.task, chosen.split, outcomes)
        for chosen in config.tasks
        for agent in config.agents
        for noise in noises
        if (outcomes := _read_outcomes(folder, agent.name, noise, chosen.task, chosen.split))
    )
    if not cells:
        raise RunError(f"{where}: no question is answered yet; run 'fireact evaluate' with the same recipe")
    return config, cells


def _read_outcomes(folder: Path, agent: str, noise: str, task: str, split: str) -> tuple[Outcome, ...]:
    path = evaluation_path(folder, agent=agent, noise=noise, task=task, split=split)
    if not path.exists():
        return ()
    # A file is in the order in which episodes ended, which differs from run to run.
    return tuple(sorted(map(outcome, read(path, Trajectory)), key=lambda one: one.question))


def read_samples(
    folder: Path, cells: Sequence[Cell], *, agent: str, baseline: str, count: int
) -> Iterator[tuple[str, Trajectory]]:
    """Of each agent so many right and so many wrong trajectories, with clean tools on the main split.

    Questions that `agent` got right and `baseline` wrong come first, so that the same question shows both.
    """
    main = {cell.agent: cell for cell in cells if cell.place == cells[0].place and cell.noise == NORMAL}
    right, other = (main[name].correct if name in main else {} for name in (agent, baseline))
    telling = {question for question, is_right in right.items() if is_right and not other.get(question, True)}
    for name in dict.fromkeys((agent, baseline, *main)):
        if name not in main:
            continue
        cell = main[name]
        chosen = choose_samples(cell.scored, telling, count)
        path = evaluation_path(folder, agent=name, noise=NORMAL, task=cell.task, split=cell.split)
        found = {one.question.id: one for one in read(path, Trajectory) if one.question.id in chosen}
        yield from ((name, found[question]) for question in chosen)


def choose_samples(outcomes: Sequence[Outcome], telling: Iterable[str], count: int) -> tuple[str, ...]:
    """Question ids of the right and then the wrong answers to show; failed episodes only where nothing else is left."""
    first = set(telling)
    ordered = sorted(outcomes, key=lambda one: (one.has_failed, one.question not in first))
    right = [one.question for one in ordered if one.is_correct]
    wrong = [one.question for one in ordered if not one.is_correct]
    return (*right[:count], *wrong[:count])


def page(story: Story) -> str:
    """The report as one HTML document.

    Raises:
        DependencyError: jinja2 is not installed.
    """
    render = _open_template()
    return render(
        story=story,
        producer=PRODUCER,
        headline=headline(story),
        remark=remark(story),
        tiles=list(tiles(story)),
        colours=story.colours,
        agents={agent.name: describe(agent) for agent in story.agents},
        splits=[describe_split(story, task, split) for task, split in story.places],
        difference_plot=_if_any(figures.difference_plot, story.differences),
        teacher_plot=_if_any(figures.teacher_bars, story.results.teacher),
        samples=story.samples,
    )


def _if_any(figure: Callable[[Sequence[Any]], str], values: Sequence[Any]) -> str:
    return figure(values) if values else ""


def _open_template() -> Callable[..., str]:
    """The function that fills in `report.jinja`; everything it is given is escaped, but for our own figures."""
    try:
        import jinja2
        import markupsafe
    except ImportError as error:
        raise DependencyError(f"report.html needs jinja2; {INSTALL}; the table and results.json are written") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"figure": markupsafe.Markup, "number": number, "signed": figures.signed, "clip": _clip}
    return environment.get_template("report.jinja").render


def _shown(value: Any) -> Any:
    # Subclasses of str are text that is already safe to show.
    return figures.visible(value) if type(value) is str else value


def _clip(text: str) -> str:
    rest = len(text) - MOST_SHOWN
    return text if rest <= 0 else f"{text[:MOST_SHOWN]} … ({rest:,} more characters)"
