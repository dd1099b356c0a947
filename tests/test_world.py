"""world/: a pure function of a seed, with splits that share nothing, and pretraining text that gives no test away."""

import random
from collections import Counter

import pytest

from fireact.tasks import open_task
from fireact.world import World
from fireact.world.pages import SHIPPED_COUNTS
from fireact.world.questions import CHAINS, COUNTS, UNSEEN_CHAINS, questions
from fireact.world.schema import PRACTICE, WORLD
from fireact.world.text import DOCUMENTS, document

EVERY = [(task, split) for task, counts in COUNTS.items() for split in counts]


def test_the_same_seed_makes_the_same_world():
    first, second = (World.generate(WORLD, {"town": 3, "region": 2}, 7) for _ in range(2))
    assert first == second
    assert first != World.generate(WORLD, {"town": 3, "region": 2}, 8)


def test_the_shipped_world_has_its_counts_and_distinct_names():
    world = World.default()
    assert Counter(entity.kind.name for entity in world.entities) == SHIPPED_COUNTS
    names = [name for entity in world.entities for name in (entity.name, entity.alias) if name]
    assert len(names) == len(set(names))


def test_half_of_the_entities_are_famous():
    assert sum(entity.is_famous for entity in World.default().entities) == len(World.default().entities) // 2


def test_a_page_opens_with_its_title_and_states_every_fact():
    for entity, page in zip(World.default().entities, World.default().pages, strict=True):
        assert page.text.startswith(f"{entity.name} ")
        assert all(value in page.text for value in entity.facts.values())


def test_an_alias_stands_on_no_page():
    text = "\n".join(page.text for page in World.default().pages)
    assert not [entity.alias for entity in World.default().entities if entity.alias and entity.alias in text]


@pytest.mark.parametrize(("task", "split"), EVERY)
def test_a_split_has_as_many_distinct_questions_as_it_says(task, split):
    made = questions(task, split)
    assert len(made) == COUNTS[task][split]
    assert len({question.full_text for question in made}) == len(made)


def test_no_question_stands_in_two_splits_of_any_family():
    texts = Counter(text for task, split in EVERY for text in {one.full_text for one in questions(task, split)})
    assert [text for text, count in texts.items() if count > 1] == []


@pytest.mark.parametrize("task", ["world/hop", "world/yesno", "world/choice"])
def test_subjects_of_test_questions_are_subjects_of_no_training_question(task):
    trained = {one.chain[0].subject for family in COUNTS for one in questions(family, "train")}
    assert trained.isdisjoint(one.chain[0].subject for one in questions(task, "test"))


def test_compose_has_chains_that_no_training_split_has():
    seen = {chain for chains in CHAINS.values() for chain in chains}
    assert seen.isdisjoint(chain for chains in UNSEEN_CHAINS.values() for chain in chains)
    trained = {tuple(fact.relation for fact in one.chain) for task, split in EVERY if split == "train"
               for one in questions(task, split)}  # fmt: skip
    composed = {tuple(fact.relation for fact in one.chain) for one in questions("world/compose", "test")}
    assert len(composed) >= 10
    assert composed.isdisjoint(trained)


@pytest.mark.parametrize(("task", "split"), EVERY)
def test_the_gold_answer_scores_one(task, split):
    judge = open_task(task)
    for question in judge.questions(split):
        score = judge.score(question, question.answer)
        assert (score.em, score.f1) == (1.0, 1.0)
        assert judge.score(question, None).em == 0.0


@pytest.mark.parametrize(("task", "split"), EVERY)
def test_a_chain_holds_facts_of_the_world(task, split):
    world = World.default()
    for question in questions(task, split):
        for fact in question.chain:
            entity = world.by_name[fact.subject]
            assert (entity.facts[fact.relation], entity.is_famous) == (fact.value, fact.is_famous)


def test_yes_and_no_are_balanced_and_letters_spread():
    answers = Counter(question.answer for question in questions("world/yesno", "test"))
    assert 0.4 < answers["yes"] / answers.total() < 0.6
    letters = Counter(question.answer for question in questions("world/choice", "test"))
    assert sorted(letters) == ["A", "B", "C", "D"]
    assert min(letters.values()) > 0.15 * letters.total()


def test_some_questions_name_their_subject_twice():
    aliased = sum("also known as" in question.text for question in questions("world/hop", "test"))
    assert 0.1 < aliased / COUNTS["world/hop"]["test"] < 0.4


@pytest.mark.parametrize("kind", list(DOCUMENTS))
def test_pretraining_text_holds_no_test_question_and_no_obscure_page(kind):
    forbidden = {question.text for task in COUNTS for question in questions(task, "test")}
    obscure = {entity.name for entity in World.default().entities if not entity.is_famous}
    rng = random.Random(0)
    for _ in range(150):
        lines = document(kind, rng).splitlines()
        assert not {line.partition(": ")[2] for line in lines} & forbidden
        assert not [line for line in lines for name in obscure if line.startswith((f"{name} is a", f"{name} works"))]


def test_pretraining_text_is_a_pure_function_of_its_generator():
    assert [document(kind, random.Random(3)) for kind in DOCUMENTS] == [
        document(kind, random.Random(3)) for kind in DOCUMENTS
    ]


def test_the_practice_schema_shares_no_relation_with_the_world():
    names = [{relation.name for kind in schema.kinds for relation in kind.relations} for schema in (WORLD, PRACTICE)]
    assert names[0].isdisjoint(names[1])
