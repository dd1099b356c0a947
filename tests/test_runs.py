"""The run folder: whole lines, what is left of a killed run, and refusing a changed config."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import fireact
from fireact import runs
from fireact.config import Config, Free
from fireact.errors import DataError, RunError
from fireact.trajectory import Action, Failure, Question, Step, Trajectory


class Settings(Config):
    steps: int = 3
    names: tuple[str, ...] = ()


def trajectory(name: str, **fields) -> Trajectory:
    question = Question(id=name, task="world/hop", text="Who?")
    defaults = {"method": "react", "dialect": "react-text", "model": "m", "end": "finished"}
    return Trajectory(id=name, question=question, **(defaults | fields))


A, B, C = (trajectory(name) for name in "abc")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "trajectories.jsonl"


def read(path):
    notes: list[str] = []
    records = list(runs.read(path, Trajectory, note=notes.append))
    return records, [note.replace(str(path), "FILE") for note in notes]


def append(path, *records):
    with runs.appending(path) as line:
        for record in records:
            line(record)


def test_what_is_appended_reads_back(path):
    append(path, A, B)
    append(path, C)
    assert read(path) == ([A, B, C], [])


def test_a_record_is_on_disk_as_soon_as_it_is_appended(path):
    with runs.appending(path) as line:
        line(A)
        assert read(path) == ([A], [])


def test_a_record_with_line_breaks_is_one_line(path):
    odd = trajectory("a", answer="one\ntwo\u2028three\x85é")
    append(path, odd, B)
    assert path.read_bytes().count(b"\n") == 2
    assert read(path) == ([odd, B], [])


def test_a_half_written_last_line_is_dropped_with_a_note(path):
    append(path, A, B)
    path.write_bytes(path.read_bytes()[:-20])
    assert read(path) == ([A], ["FILE:2: the last line is half-written; it is dropped"])


def test_a_corrupt_line_in_the_middle_is_named_and_the_rest_is_kept(path):
    append(path, A, B, C)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:30] + b"\n" + b"\n" + lines[2])
    records, notes = read(path)
    assert records == [A, C]
    assert len(notes) == 1
    assert notes[0].startswith("FILE:2: Invalid JSON: ")
    assert notes[0].endswith("; the line is left out")


def test_a_line_of_another_form_is_named_with_its_key(path):
    append(path, A)
    path.write_text(path.read_text().replace('"version":1', '"version":7') + '{"format": "other"}\n')
    records, notes = read(path)
    assert records == []
    assert notes[0] == "FILE:1: not a Trajectory: version: Input should be 1; the line is left out"


def test_notes_go_to_the_log_by_default(path, caplog):
    append(path, A)
    path.write_bytes(path.read_bytes() + b"{")
    assert list(runs.read(path, Trajectory)) == [A]
    assert "half-written" in caplog.text


def test_appending_cuts_off_what_a_killed_process_left(path):
    append(path, A, B)
    path.write_bytes(path.read_bytes()[:-20])
    append(path, C)
    assert read(path) == ([A, C], [])


def test_appending_completes_a_last_line_that_only_lacks_its_end(path):
    append(path, A)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    append(path, B)
    assert read(path) == ([A, B], [])


def test_a_half_line_longer_than_one_block_is_cut_off(path):
    append(path, A)
    path.write_bytes(path.read_bytes() + b'{"id": "' + b"x" * 200_000)
    append(path, B)
    assert read(path) == ([A, B], [])


@pytest.mark.parametrize("cut", range(0, 1200, 97))
def test_a_file_cut_anywhere_goes_on_as_if_uncut(path, cut):
    append(path, A, B)
    path.write_bytes(path.read_bytes()[:cut])
    done = runs.finished_ids(path)
    append(path, *(record for record in (A, B, C) if record.id not in done))
    assert read(path) == ([A, B, C], [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_one_sentence_with_the_path(path):
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    with pytest.raises(DataError, match=rf"{path}: No space left on device; mend that or give another path"):
        append(path, A)


def test_no_file_means_nothing_is_finished(path):
    assert runs.finished_ids(path) == frozenset()


def test_reading_a_missing_file_names_it(path):
    with pytest.raises(DataError, match="No such file"):
        list(runs.read(path, Trajectory))


def test_a_path_that_is_a_file_cannot_become_a_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(DataError, match="run/x"):
        append(tmp_path / "run" / "x", A)


def test_a_file_is_replaced_whole_or_not_at_all(path):
    runs.write(path, [A])

    def broken():
        yield B
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.write(path, broken())
    assert read(path) == ([A], [])
    assert runs.write(path, [B, C]) == 2
    assert read(path) == ([B, C], [])


def test_a_stage_records_config_version_and_digest(tmp_path):
    folder = runs.open_stage(tmp_path, "generate", Settings())
    record = json.loads((folder / "config.json").read_text())
    assert folder == tmp_path / "generate"
    assert (record["format"], record["version"], record["stage"]) == ("fireact-stage", 1, "generate")
    assert record["producer"] == f"fireact {fireact.__version__}"
    assert record["config"] == {"steps": 3, "names": []}
    assert len(record["digest"]) == 64


def make(folder, stage, settings, after=()):
    """A stage that was begun with these settings and has made something."""
    runs.open_stage(folder, stage, settings, after=after)
    append(runs.output(folder, stage), A)


def test_the_same_config_goes_on(tmp_path):
    make(tmp_path, "mix", Settings())
    assert runs.open_stage(tmp_path, "mix", Settings()) == tmp_path / "mix"


def test_a_changed_config_is_refused_with_the_keys_and_the_next_step(tmp_path):
    make(tmp_path, "mix", Settings())
    with pytest.raises(RunError) as caught:
        runs.open_stage(tmp_path, "mix", Settings(steps=4, names=("x",)))
    assert str(caught.value).replace(str(tmp_path), "RUN") == (
        "RUN/mix was begun with another config; these keys differ: names, names.0, steps; "
        "use another --out, or delete RUN/mix to make it anew"
    )


@pytest.mark.parametrize("leftover", ["trajectories.jsonl", "trajectories.jsonl.part"])
def test_a_stage_that_has_made_nothing_starts_anew_under_any_config(tmp_path, leftover):
    folder = runs.open_stage(tmp_path, "unify", Settings())
    (folder / leftover).write_text("half" if leftover.endswith(".part") else "")
    runs.open_stage(tmp_path, "unify", Settings(steps=4))
    assert runs.asked_of(tmp_path, "unify") == {"steps": 4, "names": []}


def test_a_stage_that_is_cheap_is_made_anew_under_any_config(tmp_path):
    make(tmp_path, "report", Settings())
    runs.open_stage(tmp_path, "report", Settings(steps=4), is_cheap=True)
    assert runs.asked_of(tmp_path, "report") == {"steps": 4, "names": []}


def test_a_stage_is_refused_after_its_input_was_made_anew(tmp_path):
    make(tmp_path, "generate", Settings())
    make(tmp_path, "unify", Settings(), after=["generate"])
    shutil.rmtree(tmp_path / "generate")
    make(tmp_path, "generate", Settings(steps=9))
    with pytest.raises(RunError, match="was made from an earlier generate with another config"):
        runs.open_stage(tmp_path, "unify", Settings(), after=["generate"])


def test_a_stage_that_pins_what_it_reads_is_refused_after_that_has_changed(tmp_path):
    make(tmp_path, "mix", Settings())
    for stage in ("unify", "finetune"):
        runs.open_stage(tmp_path, stage, Settings(), after=["mix"], pins_content=stage == "finetune")
        append(tmp_path / stage / "log.jsonl", A)
    append(runs.output(tmp_path, "mix"), B)
    runs.open_stage(tmp_path, "unify", Settings(), after=["mix"])
    with pytest.raises(
        RunError, match=r"finetune was made from what mix had made before; use another --out, or delete"
    ):
        runs.open_stage(tmp_path, "finetune", Settings(), after=["mix"], pins_content=True)


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    pytest.importorskip("fcntl")
    with runs.holding(tmp_path / "run"):
        refused = pytest.raises(RunError, match="another process works there; wait for it, or use another --out")
        with refused, runs.holding(tmp_path / "run"):
            pass
        with runs.holding(tmp_path / "other"):
            pass
    with runs.holding(tmp_path / "run"):
        pass


def test_of_many_corrupt_lines_the_first_are_named_and_the_others_counted(path):
    path.parent.mkdir()
    path.write_bytes(b"x\n" * 50)
    records, notes = read(path)
    assert records == []
    assert (len(notes), notes[-1]) == (21, "FILE: 30 more lines are left out")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device")
def test_a_device_is_not_replaced_by_a_file(path):
    path.parent.mkdir()
    path.symlink_to("/dev/null")
    with pytest.raises(DataError, match="not a file that can be replaced; give another path"):
        runs.write(path, [A])


def test_a_missing_earlier_stage_names_the_command(tmp_path):
    with pytest.raises(RunError, match="run 'fireact generate' with the same recipe and --out first"):
        runs.open_stage(tmp_path, "unify", Settings(), after=["generate"])
    with pytest.raises(RunError, match=r"mix/train\.jsonl: not there yet; run 'fireact mix'"):
        runs.require(tmp_path, "mix")


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_config_record_that_is_none_is_refused(tmp_path, content):
    make(tmp_path, "mix", Settings())
    (tmp_path / "mix" / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"mix/config\.json: damaged; delete .*mix and run 'fireact mix' again"):
        runs.open_stage(tmp_path, "mix", Settings())
    (tmp_path / "mix" / "config.json").unlink()
    with pytest.raises(RunError, match=r"not there, but other files are; delete .*mix and run 'fireact mix' again"):
        runs.open_stage(tmp_path, "mix", Settings())


def test_each_cell_of_the_comparison_has_its_file(tmp_path):
    path = runs.evaluation_path(tmp_path, agent="tuned", noise="none", task="world/hop", split="test")
    assert path == tmp_path / "evaluate/tuned/none/world-hop.test.jsonl"


def test_the_recipe_is_kept_in_the_run(tmp_path):
    path = runs.write_recipe(tmp_path / "run", Settings(names=("é",)))
    assert path.read_text(encoding="utf-8") == "steps: 3\nnames:\n- é\n"


STEP = Step(reply="Thought: a\nAction: search[b]", thought="a", action=Action(tool="search", argument="b"))


def noted(path, *lines):
    with runs.journal(path) as kept:
        for line in lines:
            kept.note(line)
        raise KeyboardInterrupt


def test_what_was_noted_of_an_episode_is_there_after_an_interrupt(tmp_path):
    path = tmp_path / "trajectories.jsonl"
    lines = [
        runs.StepLine(id="a", index=0, step=STEP),
        runs.StepLine(id="b", index=0, step=STEP),
        runs.StepLine(id="a", index=0, observation="found"),
        runs.StepLine(id="a", index=1, step=STEP),
    ]
    with pytest.raises(KeyboardInterrupt):
        noted(path, *lines)
    with runs.journal(path) as kept:
        assert kept.begun == {"a": (STEP.model_copy(update={"observation": "found"}), STEP), "b": (STEP,)}
        assert kept.done == frozenset()


def test_nothing_is_begun_of_an_episode_that_is_over(tmp_path):
    path = tmp_path / "trajectories.jsonl"
    runs.write(path, [trajectory("a")])
    with pytest.raises(KeyboardInterrupt):
        noted(path, runs.StepLine(id="a", index=0, step=STEP))
    with runs.journal(path) as kept:
        assert (kept.done, kept.begun) == (frozenset({"a"}), {})


def test_the_steps_are_dropped_when_all_is_over(tmp_path):
    path = tmp_path / "trajectories.jsonl"
    with runs.journal(path) as kept:
        kept.note(runs.StepLine(id="a", index=0, step=STEP))
        assert (tmp_path / "trajectories.steps.jsonl").exists()
    assert not (tmp_path / "trajectories.steps.jsonl").exists()


def test_steps_after_a_line_that_is_lost_are_not_used(tmp_path):
    path = tmp_path / "trajectories.jsonl"
    with pytest.raises(KeyboardInterrupt):
        noted(path, runs.StepLine(id="a", index=0, step=STEP), runs.StepLine(id="a", index=2, step=STEP))
    with runs.journal(path) as kept:
        assert kept.begun == {"a": (STEP,)}


def test_spending_is_what_was_booked_and_nothing_where_nothing_was(tmp_path):
    assert runs.read_spending(tmp_path) == 0.0
    runs.write_spending(tmp_path, 1.25)
    assert runs.read_spending(tmp_path) == 1.25
    (tmp_path / "spending.json").write_text('{"dollars": "much"}')
    with pytest.raises(DataError, match=r"spending\.json: expected what was spent, such as"):
        runs.read_spending(tmp_path)


def test_a_stage_goes_on_under_another_value_of_a_free_key_and_remembers_it(tmp_path):
    class Asking(Config):
        questions: int
        concurrency: Free[int] = 4

    (runs.open_stage(tmp_path, "generate", Asking(questions=3)) / "trajectories.jsonl").write_text("{}")
    runs.open_stage(tmp_path, "generate", Asking(questions=3, concurrency=8))
    assert runs.asked_of(tmp_path, "generate") == {"questions": 3, "concurrency": 8}
    with pytest.raises(RunError, match="these keys differ: questions; "):
        runs.open_stage(tmp_path, "generate", Asking(questions=4, concurrency=8))


def test_failed_trajectories_become_episodes_that_go_on_from_their_last_step(tmp_path):
    path = tmp_path / "generate" / "trajectories.jsonl"
    failure = Failure(type="BusyError", message="gone")
    runs.write(path, [trajectory("a"), trajectory("b", end="failed", failure=failure, steps=(STEP, STEP))])
    assert runs.reopen_failed(tmp_path, "generate") == 1
    with runs.journal(path) as kept:
        assert (kept.done, kept.begun) == (frozenset({"a"}), {"b": (STEP, STEP)})
    assert runs.reopen_failed(tmp_path, "generate") == 0
    assert runs.reopen_failed(tmp_path, "evaluate") == 0
