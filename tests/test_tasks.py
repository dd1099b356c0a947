"""The four paper tasks: questions of the real files, scores, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fireact.errors import ConfigError, DataError
from fireact.methods.prompts import known_prompts, read_prompt
from fireact.tasks import TASKS, open_task
from fireact.trajectory import Question, Score

HINT = (
    "; put the file there, or set FIREACT_DATA to the folder that holds it; data/ of the official FireAct repository "
    "has most of the public ones"
)
RIGHT = (Score(em=1, f1=1), Score(em=1, f1=1, strict=1))


@pytest.fixture
def save(tmp_path):
    """Write one file of a data folder; returns the folder."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


def wrongly_scored(name: str, folder: Path, split: str) -> list[tuple[str, str]]:
    """Questions whose own gold answer does not score 1 in everything."""
    task = open_task(name, folder=folder)
    questions = task.questions(split)
    return [(one.id, one.answer) for one in questions if task.score(one, one.answer) not in RIGHT]


def sentence(name: str, folder: Path, split: str) -> str:
    with pytest.raises(DataError) as caught:
        open_task(name, folder=folder).questions(split)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("hotpotqa", "dev", 7405),
        ("strategyqa", "train", 2821),
        ("strategyqa", "dev", 229),
        ("strategyqa", "test", 490),
        ("mmlu", "dev", 285),
        ("mmlu", "val", 1531),
        ("mmlu", "test", 14042),
        ("bamboogle", "test", 125),
    ],
)
def test_all_released_questions_are_read_and_have_ids_of_their_own(released, name, split, count):
    questions = open_task(name, folder=released).questions(split)
    assert len(questions) == len({question.id for question in questions}) == count
    assert {(question.task, question.split) for question in questions} == {(name, split)}
    assert all(question.text and question.text == question.text.strip() for question in questions)


def test_hotpotqa_begins_and_ends_as_its_file(released):
    first, *_, last = open_task("hotpotqa", folder=released).questions("dev")
    assert first == Question(
        id="0",
        task="hotpotqa",
        split="dev",
        text="Were Scott Derrickson and Ed Wood of the same nationality?",
        answer="yes",
        kind="comparison",
    )
    assert (last.id, last.answer, last.kind) == ("7404", "Norwood, Massachusetts", "bridge")
    assert last.text.startswith("Blackfin is a family of processors")


def test_strategyqa_begins_and_ends_as_its_file_and_has_no_prefix(released):
    first, *_, last = open_task("strategyqa", folder=released).questions("dev")
    assert (first.id, first.answer) == ("e0044a7b4d146d611e73", "no")
    assert first.full_text.startswith("Will the Albany in Georgia reach")
    assert (last.text, last.answer) == ("Was Pi an acceptable number of children in 1980s China?", "no")


def test_strategyqa_test_has_no_answers(released):
    assert {question.answer for question in open_task("strategyqa", folder=released).questions("test")} == {""}


def test_mmlu_begins_and_ends_as_its_files_and_shows_its_choices(released):
    questions = open_task("mmlu", folder=released).questions("test")
    first, last = questions[0], questions[-1]
    assert (first.id, first.kind, first.answer) == ("abstract_algebra-0", "abstract_algebra", "B")
    assert first.full_text == (
        "Find the degree for the given field extension Q(sqrt(2), sqrt(3), sqrt(18)) over Q.\nA. 0\nB. 4\nC. 2\nD. 6"
    )
    assert (last.id, last.choices[0], last.answer) == ("world_religions-170", "Divine power", "A")
    assert len({question.kind for question in questions}) == 57
    assert not [choice for question in questions for choice in question.choices if not choice or "\n" in choice]


def test_bamboogle_begins_and_ends_as_its_file(released):
    first, *_, last = open_task("bamboogle", folder=released).questions("test")
    assert first.text == "Who was president of the United States in the year that Citibank was founded?"
    assert (first.id, first.answer) == ("0", "james madison")
    assert (last.id, last.answer) == ("124", "One World, One Dream")


def test_every_gold_answer_of_strategyqa_mmlu_and_bamboogle_scores_1(released):
    assert wrongly_scored("strategyqa", released, "dev") == []
    assert wrongly_scored("strategyqa", released, "train") == []
    assert wrongly_scored("mmlu", released, "test") == []
    assert wrongly_scored("bamboogle", released, "test") == []


def test_every_gold_answer_of_hotpotqa_scores_1_but_two_without_a_word_to_share(released):
    task = open_task("hotpotqa", folder=released)
    assert wrongly_scored("hotpotqa", released, "dev") == [("3667", "The The"), ("5470", "!!!")]
    assert all(task.score(question, question.answer).em == 1 for question in task.questions("dev"))


def test_no_example_of_a_packaged_prompt_is_a_question_of_the_data_sets(released):
    asked = {
        question.text
        for name, split in (("hotpotqa", "dev"), ("strategyqa", "train"), ("strategyqa", "dev"), ("mmlu", "test"))
        for question in open_task(name, folder=released).questions(split)
    }
    prompts = (read_prompt("task", method=name.split("/")[0], task=name.split("/")[1]) for name in known_prompts())
    shown = {line.removeprefix("Question: ") for text in prompts for line in text.splitlines() if "Question: " in line}
    assert len(shown) >= 24
    assert not shown & asked


def test_no_answer_scores_zero():
    question = Question(id="0", task="", text="?", answer="A")
    scores = {name: open_task(name).score(question, None) for name in ("hotpotqa", "strategyqa", "mmlu", "bamboogle")}
    assert {(score.em, score.f1) for score in scores.values()} == {(0, 0)}


def test_loose_official_scores_have_a_strict_one_beside_them():
    verdict = Question(id="0", task="strategyqa", text="?", answer="no")
    letter = Question(id="0", task="mmlu", text="?", answer="B")
    assert open_task("strategyqa").score(verdict, "Nobody knows") == Score(em=1, f1=1, strict=0)
    assert open_task("mmlu").score(letter, "B. eagle") == Score(em=1, f1=1, strict=0)
    assert open_task("mmlu").score(letter, "eagle") == Score(em=0, f1=0, strict=0)


def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(ConfigError, match="unknown task 'hotpot'; known: bamboogle, hotpotqa, mmlu, strategyqa"):
        open_task("hotpot")


@pytest.mark.parametrize("name", ["hotpotqa", "strategyqa", "mmlu", "bamboogle"])
def test_an_unknown_split_names_the_known_ones(name):
    known = ", ".join(open_task(name).splits)
    with pytest.raises(DataError, match=f"{name}: unknown split 'validate'; known: {known}"):
        open_task(name).questions("validate")


def test_the_folder_is_the_one_given_then_the_environment_then_data(save, monkeypatch, tmp_path):
    folder = save("bamboogle/test.csv", "Question,Answer\nWho?,Ann\n")
    assert len(open_task("bamboogle", folder=folder).questions("test")) == 1
    monkeypatch.setenv("FIREACT_DATA", str(folder))
    assert len(open_task("bamboogle").questions("test")) == 1
    monkeypatch.delenv("FIREACT_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^data/bamboogle/test\.csv: there is no such file"):
        open_task("bamboogle").questions("test")


@pytest.mark.parametrize(
    ("name", "split", "file"),
    [
        ("hotpotqa", "train", "hotpotqa/train.json"),
        ("strategyqa", "dev", "strategyqa/strategyqa_dev.json"),
        ("bamboogle", "test", "bamboogle/test.csv"),
    ],
)
def test_a_file_that_is_not_there_is_named_with_the_next_step(tmp_path, name, split, file):
    assert sentence(name, tmp_path, split) == f"{file}: there is no such file{HINT}"


def test_a_folder_without_subjects_is_named_with_the_next_step(tmp_path):
    assert sentence("mmlu", tmp_path, "test") == f"mmlu/test: there is no CSV file in it{HINT}"


def test_a_json_file_that_is_cut_off_is_named(save):
    folder = save("hotpotqa/dev.json", '[{"question": "Wh')
    assert sentence("hotpotqa", folder, "dev").startswith("hotpotqa/dev.json: not valid JSON (Unterminated string")


def test_a_json_file_of_another_shape_is_named(save):
    assert sentence("hotpotqa", save("hotpotqa/dev.json", "{}"), "dev").startswith(
        "hotpotqa/dev.json: expected a list of questions"
    )
    folder = save("hotpotqa/dev.json", '[{"question": "Who?", "answer": "Ann"}, {"question": "Who?", "answer": 3}]')
    assert sentence("hotpotqa", folder, "dev") == (
        "hotpotqa/dev.json: question 1 (from 0) has no text as 'answer'; fetch the file again"
    )


def test_a_verdict_that_is_no_verdict_is_named(save):
    folder = save("strategyqa/strategyqa_dev.json", '[{"qid": "a1", "question": "Is it?", "answer": "maybe"}]')
    assert sentence("strategyqa", folder, "dev").startswith(
        "strategyqa/strategyqa_dev.json: question a1: expected true or false as 'answer', got 'maybe'"
    )


def test_a_csv_row_of_another_shape_is_named(save):
    assert sentence("bamboogle", save("bamboogle/test.csv", "Question,Answer\nWho?\n"), "test").startswith(
        "bamboogle/test.csv: row 2: expected 2 columns, got 1"
    )
    assert sentence("bamboogle", save("bamboogle/test.csv", "\n"), "test").startswith("bamboogle/test.csv: the file is")
    assert sentence("mmlu", save("mmlu/test/law_test.csv", "Q,1,2,3,4,E\n"), "test").startswith(
        "mmlu/test/law_test.csv: question 0 (from 0): expected a letter A to D, got 'E'"
    )


def test_a_file_that_is_not_text_is_named(save):
    folder = save("bamboogle/test.csv", "")
    (folder / "bamboogle/test.csv").write_bytes(b"\xff\xfe")
    assert sentence("bamboogle", folder, "test").startswith("bamboogle/test.csv: cannot be read (not UTF-8)")


def test_hotpotqa_keeps_the_ids_of_its_own_training_file(save):
    row = '{"_id": "5a7a06935542990198eaf050", "question": " Who? ", "answer": "Ann", "type": "bridge", "context": []}'
    (question,) = open_task("hotpotqa", folder=save("hotpotqa/train.json", f"[{row}]")).questions("train")
    assert (question.id, question.text, question.kind) == ("5a7a06935542990198eaf050", "Who?", "bridge")


def test_mmlu_reads_auxiliary_training_files(save):
    folder = save("mmlu/auxiliary_train/science.csv", '"What is\r\nit?"," a ",b,"c\nd",d,C\n')
    (question,) = open_task("mmlu", folder=folder).questions("auxiliary_train")
    assert (question.id, question.kind, question.answer) == ("science-0", "science", "C")
    assert question.full_text == "What is\nit?\nA. a\nB. b\nC. c d\nD. d"


def test_the_tasks_of_the_paper_are_known():
    assert {"hotpotqa", "strategyqa", "mmlu", "bamboogle"} <= set(TASKS)


def test_half_a_surrogate_pair_in_a_question_is_refused(save):
    folder = save("hotpotqa/dev.json", '[{"question": "\\ud800?", "answer": "x"}]')
    with pytest.raises(DataError, match=r"dev\.json: question 0 \(from 0\) holds half a surrogate pair; repair"):
        open_task("hotpotqa", folder=folder).questions("dev")


def test_a_cell_that_is_too_long_is_refused_with_its_line(save):
    folder = save("mmlu/dev/law_dev.csv", f"{'x' * 200_000},a,b,c,d,A\n")
    with pytest.raises(DataError, match=r"law_dev\.csv: line 1: field larger than field limit"):
        open_task("mmlu", folder=folder).questions("dev")
