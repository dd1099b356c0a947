"""README, ARCHITECTURE and CONTRIBUTING agree with the code: links, commands, the recipe, rooms and stages."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from fireact import cli, config, runs, stages
from test_architecture import HEAVY_MODULES, ROWS, room
from test_architecture import MODULES as SOURCE

ROOT = Path(__file__).parents[2]
FRONT = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = (*FRONT, *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
LINK = re.compile(r"\[([^\[\]]+)\]\(([^()\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FEWEST_LINKS = 100


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def links(page: str) -> list[str]:
    """Where the links of a page to files lead, outside of code, as paths from the root with their anchors."""
    found = (target for _, target in LINK.findall(BLOCK.sub("", text_of(page))))
    return [target for target in found if not target.startswith("https://")]


def anchors(path: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(page: str, heading: str) -> str:
    return text_of(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str = "") -> list[str]:
    """The contents of the code blocks of a language."""
    return [code for kind, code in BLOCK.findall(text) if kind == language]


def commands(page: str, program: str) -> list[list[str]]:
    """The words of each line of code that starts a program, without comments."""
    lines = (line for block in blocks(text_of(page)) for line in block.splitlines())
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]


def rows_of_table(text: str) -> list[list[str]]:
    """The rows of the one table of a text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_to_a_file_and_a_heading_that_exist(page):
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_many_links_are_found():
    assert sum(len(links(page)) for page in PAGES) >= FEWEST_LINKS
    assert all(links(page) for page in FRONT[:3])


def test_the_readme_links_to_every_page_and_to_its_neighbours():
    targets = {link.partition("#")[0] for link in links("README.md")}
    assert {page for page in PAGES if page != "README.md"} <= targets


def test_each_word_of_the_pipeline_is_a_stage_with_its_module_and_page():
    pipeline = next(LINK.findall(part) for part in text_of("README.md").split("\n\n") if "→" in part)
    words = [word for word, _ in pipeline]
    assert words == ["questions", *runs.STAGES]
    assert [target for _, target in pipeline[1:]] == [f"docs/{stage}.md" for stage in runs.STAGES]
    assert {f"stages/{stage}.py" for stage in runs.STAGES} <= set(SOURCE)


def test_the_recipe_of_the_readme_is_valid(tmp_path):
    (recipe,) = blocks(text_of("README.md"), "yaml")
    path = tmp_path / "first.yaml"
    path.write_text(recipe, encoding="utf-8")
    assert config.load(path, stages.Recipe).stages == runs.STAGES


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page):
    for command in commands(page, "fireact"):
        if "[--out" not in command and "FILE" not in command:
            assert cli._parse(command[1:]).verb == command[1]


def test_the_overrides_of_the_readme_fit_its_recipe(tmp_path):
    (recipe,) = blocks(text_of("README.md"), "yaml")
    (tmp_path / "first.yaml").write_text(recipe, encoding="utf-8")
    overrides = [word for command in commands("README.md", "fireact") for word in command if "=" in word]
    assert overrides
    assert config.load(tmp_path / "first.yaml", stages.Recipe, overrides).name == "first"


def test_the_readme_names_every_verb(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    verbs = set(re.findall(r"^    (\w+)  ", capsys.readouterr().out, re.MULTILINE))
    assert verbs == {*runs.STAGES, "run", "demo", "ask", "import", "score", "serve"}
    in_text = re.findall(r"`fireact (\w+)", BLOCK.sub("", text_of("README.md")))
    assert {*in_text, *(command[1] for command in commands("README.md", "fireact"))} == verbs


@pytest.mark.parametrize("page", FRONT)
def test_every_target_of_make_exists(page):
    targets = set(re.findall(r"^(\w+):", text_of("Makefile"), re.MULTILINE))
    named = re.findall(r"(?:`|^)make (?:[A-Z]+=\S+ )?(\w+)", text_of(page), re.MULTILINE)
    assert set(named) <= targets
    assert named or page == "ARCHITECTURE.md"


def test_every_extra_of_the_readme_exists():
    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    named = set(re.findall(r"\.\[(\w+)\]", text_of("README.md")))
    assert {"train", "report", "all"} <= named <= set(extras)


def test_the_place_of_the_demos_table_is_marked_once():
    before, inside, after = re.split(r"<!-- demo table: (?:begin|end) -->\n", text_of("README.md"))
    assert "make demo" in before
    assert inside.strip()
    assert "## What the demo does" in after


def test_the_diagram_shows_the_rooms_and_the_order_that_imports_keep():
    (diagram,) = blocks(section("ARCHITECTURE.md", "Rooms"))
    groups = [{line.split()[0] for line in group.splitlines()} for group in diagram.strip().split("\n\n")]
    assert [{name.rstrip("/") for name in group} for group in groups] == list(ROWS)


def test_a_room_with_a_slash_is_a_folder():
    (diagram,) = blocks(section("ARCHITECTURE.md", "Rooms"))
    shown = {line.split()[0] for line in diagram.splitlines() if line}
    folders = {room(module) for module in SOURCE if "/" in module}
    assert {name.rstrip("/") for name in shown if name.endswith("/")} == folders
    assert {name.rstrip("/") for name in shown} == {room(module) for module in SOURCE} - {"__init__"}


def test_the_modules_that_may_import_torch_are_listed():
    text = section("ARCHITECTURE.md", "Rooms").rpartition("```")[2].partition("jinja2")[0]
    assert set(re.findall(r"`(\w+/\w+\.py)`", text)) == HEAVY_MODULES


def test_every_name_to_add_to_stands_in_a_file_of_its_row():
    rows = rows_of_table(section("ARCHITECTURE.md", "To change something"))
    assert len(rows) >= 10
    for row in rows:
        text = "".join(text_of(target) for _, target in LINK.findall(" ".join(row)))
        for name in re.findall(r"`(\w+)`", " ".join(row)):
            assert re.search(rf"\b{name}\b", text), f"{row[0]}: {name}"


def test_a_word_of_the_glossary_is_explained_once():
    words = [word for word, _ in rows_of_table(section("ARCHITECTURE.md", "Glossary"))]
    assert len(words) == len(set(words)) >= 20
