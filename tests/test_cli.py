"""The command line: what goes where, the exit status, and one line for what the user got wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import fireact
from fireact import runs
from fireact.cli import main
from fireact.trajectory import Trajectory

VERBS = ("generate", "unify", "mix", "finetune", "evaluate", "report", "run", "demo", "import", "score", "serve")
RECIPE = """
name: small
generate:
  teacher: {kind: oracle}
  episodes: [{task: world/hop, split: train, method: {kind: react, prompt: none}, num_questions: 2}]
"""
ROW = {"instruction": "Who?", "input": "", "output": "Thought: I know.\nAction: finish[Ann]\n"}


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def refusal(capsys, *arguments) -> str:
    """The one line on stderr of a command that the user got wrong."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("fireact: ")
    return err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example_in_its_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert f"example: fireact {verb}" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"fireact {fireact.__version__}\n"


def test_it_runs_as_a_module():
    found = subprocess.run([sys.executable, "-m", "fireact", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout == f"fireact {fireact.__version__}\n"


def test_an_unknown_verb_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["fly"])
    assert ended.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generate.steps=3", "unknown key 'generate.steps'; known here: budget_usd, concurrency, dialect, episodes"),
        ("generate.teacher.kind=owl", "generate.teacher.kind: unknown kind 'owl'; known: "),
        ("generate.episodes.0.task=world/hip", "generate.episodes.0.task: unknown task 'world/hip'; known: "),
        ("generate.episodes.0.split=trian", "generate.episodes.0: world/hop: unknown split 'trian'; known: "),
        ("generate.episodes.0.method.kind=recat", "unknown kind 'recat'; known: io, cot, react, reflexion"),
        ("generate.tools=[{kind: hammer}]", "generate.tools.0"),
        ("generate.dialect=latin", "generate.dialect: unknown dialect 'latin'; known: react-text"),
        ("generat={}", "unknown key 'generat'; known here: evaluate, finetune, generate"),
        ("generate.episodes.0.num_questions=0", "input should be greater than or equal to 1, got 0"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named_with_file_and_key(recipe, capsys, override, message):
    err = refusal(capsys, "run", recipe, override)
    assert str(recipe) in err
    assert message in err


def test_overrides_may_stand_before_and_after_options(recipe, tmp_path, capsys):
    overrides = ["generate.teacher.error_rate=0", "--out", tmp_path / "run", "generate.max_steps=0"]
    assert "generate.max_steps: input should be greater" in refusal(capsys, "generate", recipe, *overrides)


@pytest.mark.parametrize("arguments", [["run", "recipe.yaml", "--fast"], ["score", "out.jsonl", "a=1"]])
def test_an_unknown_option_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_a_missing_recipe_is_refused(tmp_path, capsys):
    assert "no.yaml: cannot be read" in refusal(capsys, "run", tmp_path / "no.yaml")


def test_a_stage_without_section_is_refused(recipe, tmp_path, capsys):
    err = refusal(capsys, "mix", recipe, "--out", tmp_path / "run")
    assert "recipe 'small' has no section 'mix', only generate; add one" in err


def test_a_stage_before_its_input_names_the_command(recipe, tmp_path, capsys):
    assert "run 'fireact generate'" in refusal(capsys, "unify", recipe, "--out", tmp_path / "run", "unify={}")


def test_more_questions_than_there_are_is_refused(recipe, tmp_path, capsys):
    override = "generate.episodes.0.num_questions=100000000"
    assert "lower one of them" in refusal(capsys, "generate", recipe, "--out", tmp_path / "run", override)


def test_a_changed_config_is_refused_with_its_keys(recipe, tmp_path, capsys):
    assert main(["generate", str(recipe), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    err = refusal(capsys, "generate", recipe, "--out", tmp_path / "run", "generate.max_steps=3")
    assert "these keys differ: max_steps; use another --out" in err


def test_results_go_to_stdout_and_progress_to_stderr(recipe, tmp_path, capsys):
    assert main(["generate", str(recipe), "--out", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("2 trajectories, ")
    assert "generate: 2/2" in err


def test_an_interrupt_ends_with_a_sentence(monkeypatch, recipe, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fireact.stages.run", interrupt)
    assert main(["generate", str(recipe)]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_a_file_is_imported_and_scored(tmp_path, capsys):
    source, out = tmp_path / "hotpotqa.json", tmp_path / "out.jsonl"
    source.write_text(json.dumps([ROW]))
    assert main(["import", str(source), "--format", "fireact-alpaca", "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(" 1\n")
    assert [one.answer for one in runs.read(out, Trajectory)] == ["Ann"]
    assert main(["score", str(out), "--asked", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["em", "f1", "finished", "turns_by_message", "turns_by_label"]


def test_a_file_without_anything_readable_is_refused(tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text("")
    assert "no trajectory in it" in refusal(capsys, "score", tmp_path / "empty.jsonl")


def test_a_corrupt_line_is_named_and_the_rest_is_scored(tmp_path, capsys):
    source, out = tmp_path / "hotpotqa.json", tmp_path / "out.jsonl"
    source.write_text(json.dumps([ROW]))
    main(["import", str(source), "--format", "fireact-alpaca", "--out", str(out)])
    out.write_text("{corrupt\n" + out.read_text())
    capsys.readouterr()
    assert main(["score", str(out)]) == 0
    assert f"{out}:1: Invalid JSON" in capsys.readouterr().err


def test_text_from_files_cannot_steer_the_terminal(tmp_path, capsys):
    (tmp_path / "bad.jsonl").write_text('{"\\u001b[2J\\nfireact: all fine": 1}\n')
    err = capsys.readouterr().err
    assert main(["score", str(tmp_path / "bad.jsonl")]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert [line for line in err.splitlines() if line.startswith("fireact: ")] == err.splitlines()[-1:]


def test_a_file_is_not_imported_onto_itself(tmp_path, capsys):
    source = tmp_path / "hotpotqa.json"
    source.write_text(json.dumps([ROW]))
    err = refusal(capsys, "import", source, "--format", "fireact-alpaca", "--out", source)
    assert "is the file to read; give another --out" in err
    assert json.loads(source.read_text()) == [ROW]


def test_a_recipe_is_not_written_over_by_its_own_run(recipe, tmp_path, capsys):
    assert "would be written over; use another --out" in refusal(capsys, "generate", recipe, "--out", tmp_path)
    assert recipe.read_text() == RECIPE


def test_a_recipe_without_stages_is_refused(tmp_path, capsys):
    (tmp_path / "empty.yaml").write_text("name: empty")
    assert "the recipe has no stage; give it a section" in refusal(capsys, "run", tmp_path / "empty.yaml")


def test_a_name_that_is_too_long_for_the_system_is_refused(recipe, tmp_path, capsys):
    assert "File name too long" in refusal(capsys, "generate", recipe, "--out", tmp_path / ("x" * 300))


def test_a_reader_that_has_gone_is_no_failure_of_ours():
    command = f"{sys.executable} -m fireact --help | true"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in found.stderr


def test_a_flood_of_lines_that_are_left_out_is_cut_and_counted(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text("not json\n" * 100)
    assert main(["import", str(tmp_path / "x.jsonl"), "--format", "fireact-gpt", "--out", str(tmp_path / "y")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[20].endswith("x.jsonl: 80 more are left out")
    assert lines[21].endswith("no trajectory could be read as fireact-gpt; check the --format")


def test_a_key_inside_a_list_that_is_not_there_is_the_command_lines_fault(tmp_path, capsys):
    path = tmp_path / "r.yaml"
    path.write_text("name: r\nmix: {}\n")
    assert main(["mix", str(path), "mix.parts.0.task=x"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"fireact: command line, over {path}: mix.parts: expected a list, got ")
