"""mix: what is filtered, how much of each part is taken, how it is split, and what is refused."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fireact import runs
from fireact.config import Config
from fireact.errors import RunError
from fireact.stages.mix import MixConfig, MixPart, mix, part_amounts, run, shortages
from fireact.trajectory import Action, Question, Score, Step, Trajectory

HOP = "world/hop"
REACT, COT = (HOP, "react"), (HOP, "cot")


def trajectory(number: int, method: str = "react", *, right: bool = True, **fields) -> Trajectory:
    defaults = {
        "id": f"{method}/{number}",
        "question": Question(id=f"q{number}", task=HOP, split="train", text=f"Who is {number}?", answer="Ann"),
        "dialect": "react-text",
        "model": "m",
        "steps": (Step(thought=method, action=Action(tool="finish", argument="Ann")),),
        "answer": "Ann",
        "end": "finished",
        "score": Score(em=float(right), f1=float(right)),
    }
    return Trajectory(method=method, **(defaults | fields))


def numbers(trajectories) -> list[int]:
    return sorted(int(one.question.id[1:]) for one in trajectories)


def everything(mixture) -> tuple[Trajectory, ...]:
    return (*mixture.train, *mixture.validation)


def mixed(trajectories, **settings):
    return mix(trajectories, MixConfig(**({"validation_share": 0} | settings)))


TWENTY = [trajectory(number) for number in range(20)]
COTS = [trajectory(number, "cot") for number in range(10)]


def test_wrong_answers_are_left_out():
    assert numbers(mixed([trajectory(1), trajectory(2, right=False)]).train) == [1]


def test_wrong_answers_may_be_kept():
    assert numbers(mixed([trajectory(1), trajectory(2, right=False)], only_correct=False).train) == [1, 2]


def test_unfinished_episodes_are_left_out_even_where_wrong_ones_are_kept():
    unfinished = [trajectory(2, end="step_limit", answer=None), trajectory(3, end="failed", answer=None)]
    assert numbers(mixed([trajectory(1), *unfinished], only_correct=False).train) == [1]


def test_an_episode_with_an_unreadable_reply_is_left_out():
    unreadable = Step(parse_error="expected an action")
    without_action = Step(thought="hm")
    steps = trajectory(1).steps
    found = mixed(
        [trajectory(1), trajectory(2, steps=(unreadable, *steps)), trajectory(3, steps=(without_action, *steps))]
    )
    assert numbers(found.train) == [1]


def test_exact_duplicates_are_trained_on_once():
    twin = trajectory(1, id="another", seed=5)
    other_words = trajectory(1, id="third", steps=(Step(thought="else", action=Action(tool="finish", argument="Ann")),))
    assert len(mixed([trajectory(1), twin, other_words]).train) == 2


def test_counts_are_recorded_after_every_filter():
    given_ = [*TWENTY, *COTS, trajectory(30, right=False), trajectory(31, end="step_limit", answer=None)]
    counts = mix(given_, MixConfig(parts=(MixPart(task=HOP, method="react", count=10),), validation_share=0.2)).counts
    assert list(counts) == ["read", "finished", "correct", "readable", "unique", "chosen", "train", "validation"]
    assert counts["read"] == {COT: 10, REACT: 22}
    assert counts["finished"] == {COT: 10, REACT: 21}
    assert counts["correct"] == {COT: 10, REACT: 20}
    assert counts["chosen"] == {REACT: 10}
    assert (counts["train"], counts["validation"]) == ({REACT: 8}, {REACT: 2})


def amounts(*parts: tuple[str, int | None, float | None], react: int = 100, cot: int = 50) -> dict[str, int]:
    chosen = [MixPart(task=HOP, method=method, count=count, ratio=ratio) for method, count, ratio in parts]
    return {method: amount for (_, method), amount in part_amounts(chosen, {REACT: react, COT: cot}).items()}


def test_a_part_without_amount_gives_all():
    assert amounts(("react", None, None), ("cot", 20, None)) == {"react": 100, "cot": 20}


def test_a_ratio_is_a_share_of_the_whole_mixture():
    assert amounts(("react", 60, None), ("cot", None, 0.25)) == {"react": 60, "cot": 20}


def test_where_all_parts_have_ratios_the_scarcest_sets_the_size():
    assert amounts(("react", None, 0.8), ("cot", None, 0.2)) == {"react": 100, "cot": 25}
    assert amounts(("react", None, 0.5), ("cot", None, 0.5)) == {"react": 50, "cot": 50}


def test_no_part_gives_more_than_there_is():
    assert amounts(("react", 500, None), ("cot", None, 0.5)) == {"react": 100, "cot": 50}


def test_a_larger_mixture_contains_the_smaller_one():
    small = mixed(TWENTY, parts=(MixPart(task=HOP, method="react", count=5),))
    large = mixed(TWENTY, parts=(MixPart(task=HOP, method="react", count=12),))
    assert len(small.train) == 5
    assert set(numbers(small.train)) < set(numbers(large.train))


def test_a_larger_mixture_trains_on_nothing_that_a_smaller_one_keeps_for_validation():
    sizes = range(1, 21)
    parts = [(MixPart(task=HOP, method="react", count=size),) for size in sizes]
    mixtures = [
        mix(TWENTY, MixConfig(parts=part, validation_share=0.25, seed=1)) for part in parts if part[0].count > 4
    ]
    for small, large in itertools.pairwise(mixtures):
        assert set(numbers(small.train)) <= set(numbers(large.train))
        assert set(numbers(small.validation)) <= set(numbers(large.validation))


def test_a_part_that_falls_short_of_its_ratio_is_named():
    parts = (MixPart(task=HOP, method="react"), MixPart(task=HOP, method="cot", ratio=0.5))
    assert list(shortages(mix([*TWENTY, *COTS[:5]], MixConfig(parts=parts)), parts)) == [
        "mix.parts: world/hop cot is 20.0% of the mixture instead of 50.0%: there are too few of them; "
        "generate more, or give the others counts"
    ]
    assert not list(shortages(mix([*TWENTY, *COTS], MixConfig()), ()))


def test_a_question_is_never_in_train_and_validation():
    mixture = mix([*TWENTY, *COTS], MixConfig(validation_share=0.3))
    assert len(set(numbers(mixture.validation))) == 6
    assert not set(numbers(mixture.train)) & set(numbers(mixture.validation))


def test_one_question_is_held_for_validation_where_a_small_share_is_asked_for():
    assert len(mix(TWENTY, MixConfig(validation_share=0.001)).validation) == 1


@given(st.permutations([*TWENTY, *COTS]), st.integers(0, 3))
def test_the_mixture_depends_on_seed_and_content_and_not_on_order(shuffled, seed):
    config = MixConfig(seed=seed, parts=(MixPart(task=HOP, method="react", count=7), MixPart(task=HOP, method="cot")))
    assert mix(shuffled, config) == mix([*TWENTY, *COTS], config)


@given(st.integers(0, 1000))
def test_the_mixture_is_a_permutation_of_what_was_chosen(seed):
    ids = [one.id for one in everything(mix(TWENTY, MixConfig(seed=seed)))]
    assert sorted(ids) == sorted(one.id for one in TWENTY)


def test_another_seed_gives_another_order():
    assert mixed(TWENTY, seed=1).train != mixed(TWENTY, seed=2).train


def test_the_global_random_state_is_left_alone():
    random.seed(3)
    expected = random.Random(3).random()
    mixed(TWENTY)
    assert random.random() == expected


def test_a_mixture_that_leaves_nothing_is_refused_with_the_counts():
    with pytest.raises(RunError, match=r"nothing to train on \(2 read, 2 finished, 0 correct, .*\); generate more"):
        mixed([trajectory(1, right=False), trajectory(2, right=False)])


def test_a_part_that_nothing_belongs_to_is_refused_with_what_there_is():
    with pytest.raises(RunError, match=r"task 'world/hop' and method 'cto'; there are: world/hop react \(20\)"):
        mixed(TWENTY, parts=(MixPart(task=HOP, method="cto"),))


def test_a_question_of_the_test_is_refused_with_the_next_step():
    test = frozenset({TWENTY[3].question.model_copy(update={"text": "who is  3?", "split": "test"}).words})
    with pytest.raises(RunError, match=r"1 questions .* such as world/hop 'who is 3\?'; .*drop_test_questions=true"):
        mix(TWENTY, MixConfig(), test=test)


def test_questions_of_the_test_can_be_left_out():
    test = frozenset({TWENTY[3].question.words})
    mixture = mix(TWENTY, MixConfig(drop_test_questions=True), test=test)
    assert numbers(everything(mixture)) == [number for number in range(20) if number != 3]
    assert mixture.counts["not in test"] == {REACT: 19}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"method": "react", "count": 1, "ratio": 0.5}], "not both"),
        ([{"method": "react"}, {"method": "react"}], "stands 2 times"),
        ([{"method": "react", "ratio": 0.6}, {"method": "cot", "ratio": 0.6}], "add up to 1 instead of 1.2"),
        ([{"method": "react"}, {"method": "cot", "ratio": 0.6}, {"method": "io", "ratio": 0.4}], "leave no room"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(parts, message):
    with pytest.raises(ValidationError, match=message):
        MixConfig(parts=[{"task": HOP} | part for part in parts])


class Nothing(Config):
    """Stands in for the config of an earlier stage."""


def test_a_run_writes_both_splits_and_the_record(tmp_path):
    runs.open_stage(tmp_path, "unify", Nothing())
    runs.write(runs.output(tmp_path, "unify"), TWENTY)
    summary = run(MixConfig(validation_share=0.1, seed=4), tmp_path)
    record = json.loads((tmp_path / "mix" / "mixture.json").read_text())
    assert summary.counts["train"] == 18
    assert len(list(runs.read(tmp_path / "mix" / "train.jsonl", Trajectory))) == 18
    assert len(list(runs.read(tmp_path / "mix" / "validation.jsonl", Trajectory))) == 2
    assert (record["format"], record["version"], record["seed"]) == ("fireact-mixture", 1, 4)
    assert record["counts"]["train"] == {"world/hop react": 18}


def test_mixing_before_unifying_names_the_command(tmp_path):
    with pytest.raises(RunError, match="run 'fireact unify'"):
        run(MixConfig(), tmp_path)
